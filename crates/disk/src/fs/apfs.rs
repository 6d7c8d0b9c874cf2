//! Files of APFS: a container with one volume or several, read by `ferrosys`. The newest whole checkpoint is what
//! is shown; a container needs no replay.

use super::cursor::{Cursor, failed, failed_as};
use super::names::Names;
use super::pool::Pool;
use super::{Case, Condition, DirEntry, Each, FileKind, FileSystem, Info, Metadata, NodeId, Time, Xattr};
use crate::probe::Content;
use block::{ByteRange, Error, ErrorKind, ReadAt, Result, Source};
use ferrosys::apfs::ondisk::{inode_number, split_device};
use ferrosys::apfs::{Container, Node, OpenOptions, ReadError, Reader, VolumeEntry, VolumeSelector};
use ferrosys::{Limits, OpenOptions as Common, ReadPolicy, Timestamp};
use std::collections::HashSet;
use std::sync::Arc;

/// Where the volumes are directories, this one holds them.
const CONTAINER: NodeId = NodeId { inode: 0, tree: 0 };
/// Bytes of an extended attribute: a resource fork may be as large as a file.
const LARGEST_ATTRIBUTE: u64 = 16 << 20;
/// Records of a tree that are gathered at once.
const MOST_NAMES: usize = 2 << 20;

type Readers = Pool<Reader<Cursor>>;

struct Volume {
    /// As its directory is called.
    name: Vec<u8>,
    readers: Arc<Readers>,
}

struct Apfs {
    info: Info,
    /// Those that can be read. [`NodeId::tree`] counts them from 1.
    volumes: Vec<Volume>,
    /// The container holds nothing else, so its directory would only be in the way.
    alone: bool,
    names: Names,
    concurrency: usize,
}

/// Opens one.
pub(super) fn open(source: Source, content: &Content) -> Result<Box<dyn FileSystem>> {
    let limits = Limits::new().max_file_bytes(LARGEST_ATTRIBUTE).max_walk_entries(MOST_NAMES);
    let common = |policy| Common::new().policy(policy).limits(limits);
    let strict = common(ReadPolicy::Strict);
    let (mut missing, mut options) = (vec![], strict);
    let container = match Container::open_with(Cursor::new(&source), &strict) {
        Ok(container) => container,
        Err(error) => {
            options = common(ReadPolicy::Lenient);
            let lenient = Container::open_with(Cursor::new(&source), &options).map_err(refused)?;
            missing.push(format!("it is damaged, and what makes no sense is left out: {error}"));
            lenient
        }
    };
    let (mut volumes, mut insensitive, mut taken) = (vec![], true, HashSet::new());
    for volume in container.volumes() {
        let shown = String::from_utf8_lossy(volume.name()).into_owned();
        match readers(&source, volume, options) {
            Ok((readers, snapshots)) => {
                if snapshots > 0 {
                    missing.push(format!("{snapshots} snapshots of volume \"{shown}\" are not shown"));
                }
                insensitive &= volume.superblock.is_case_insensitive();
                volumes.push(Volume { name: directory(volume, &mut taken), readers });
            }
            Err(error) => missing.push(format!("volume \"{shown}\" cannot be read: {error}")),
        }
    }
    for volume in container.unreadable_volumes() {
        missing.push(format!("a volume, number {}, cannot be read: {}", volume.slot, volume.error));
    }
    if volumes.is_empty() {
        let none = if missing.is_empty() { "it has no volume".into() } else { missing.join("; ") };
        return Err(Error::new(ErrorKind::Unsupported, none));
    }
    let listed = container.volumes().len().saturating_add(container.unreadable_volumes().len());
    let info = Info {
        type_name: content.type_name,
        engine: "ferrosys",
        case: if insensitive { Case::Insensitive } else { Case::Sensitive },
        condition: Condition::Clean,
        missing,
    };
    let (alone, concurrency) = (listed == 1, source.concurrency());
    Ok(Box::new(Apfs { info, volumes, alone, names: Names::default(), concurrency }))
}

/// Readers of a volume, and how many snapshots it has.
fn readers(source: &Source, volume: &VolumeEntry, common: Common) -> Result<(Arc<Readers>, usize)> {
    let options = OpenOptions::new().common(common).volume(VolumeSelector::Slot(volume.slot));
    let source = Source::clone(source);
    let open = move || Reader::open_with(Cursor::new(&source), &options).map_err(refused);
    let pool = Pool::new(open)?;
    let snapshots = pool.with(|reader| {
        reader.root().map_err(failed)?;
        Ok(reader.snapshots().map_or(0, |snapshots| snapshots.len()))
    })?;
    Ok((Arc::new(pool), snapshots))
}

/// The name of a volume's directory: its own, unless that cannot be one or another volume has it.
fn directory(volume: &VolumeEntry, taken: &mut HashSet<Vec<u8>>) -> Vec<u8> {
    let plain: Vec<u8> = volume.name().iter().map(|byte| if *byte == b'/' { b':' } else { *byte }).collect();
    let numbered = [&plain[..], format!(" ({})", volume.slot).as_bytes()].concat();
    let name = match &plain[..] {
        b"" | b"." | b".." => numbered,
        _ if taken.contains(&plain) => numbered,
        _ => plain,
    };
    taken.insert(name.clone());
    name
}

/// Why it does not open: another feature, or damage.
fn refused(error: ReadError) -> Error {
    use ReadError as E;
    match &error {
        E::UnsupportedCheckpoint
        | E::UnsupportedFeatures { .. }
        | E::Encrypted { .. }
        | E::EncryptionChanging { .. }
        | E::RevertPending { .. }
        | E::UnhashedNames { .. } => failed_as(ErrorKind::Unsupported, error),
        _ => failed(error),
    }
}

impl Apfs {
    fn volume(&self, node: NodeId) -> Result<&Volume> {
        let at = node.tree.checked_sub(1).and_then(|at| usize::try_from(at).ok());
        let volume = at.and_then(|at| self.volumes.get(at));
        volume.ok_or_else(|| Error::new(ErrorKind::Usage, "it is not a file of a volume"))
    }

    /// Calls with a reader of the volume of a node, and what it knows of it.
    fn with<T>(
        &self,
        node: NodeId,
        call: impl FnOnce(&mut Reader<Cursor>, Node) -> std::result::Result<T, ReadError>,
    ) -> Result<T> {
        self.volume(node)?.readers.with(|reader| {
            let known = reader.inode(node.inode).map_err(failed)?;
            call(reader, known).map_err(refused_or_failed)
        })
    }

    /// The topmost directories of the volumes, as names.
    fn roots(&self) -> impl Iterator<Item = DirEntry> + '_ {
        self.volumes.iter().zip(1..).map(|(volume, tree)| DirEntry {
            name: volume.name.clone(),
            node: NodeId { inode: inode_number::ROOT, tree },
            kind: Some(FileKind::Directory),
        })
    }
}

/// Why a file cannot be read.
fn refused_or_failed(error: ReadError) -> Error {
    match &error {
        ReadError::UnsupportedCompression { .. } => failed_as(ErrorKind::Unsupported, error),
        _ => failed(error),
    }
}

impl FileSystem for Apfs {
    fn info(&self) -> &Info {
        &self.info
    }

    fn root(&self) -> NodeId {
        if self.alone { NodeId { inode: inode_number::ROOT, tree: 1 } } else { CONTAINER }
    }

    fn read_dir(&self, dir: NodeId, each: Each<'_>) -> Result<()> {
        let entries = if dir == CONTAINER {
            self.roots().collect()
        } else {
            self.with(dir, |reader, node| reader.read_dir(&node))?
                .into_iter()
                .map(|entry| DirEntry {
                    name: entry.name,
                    node: NodeId { inode: entry.file_id, tree: dir.tree },
                    // The upper four bits of a mode, moved down; a device's numbers are elsewhere.
                    kind: match FileKind::of_mode(u32::from(entry.entry_type & 0xF) << 12, || (0, 0)) {
                        FileKind::CharDevice(..) | FileKind::BlockDevice(..) | FileKind::Other => None,
                        kind => Some(kind),
                    },
                })
                .collect::<Vec<_>>()
        };
        for entry in entries {
            if !each(entry)? {
                break;
            }
        }
        Ok(())
    }

    fn lookup(&self, dir: NodeId, name: &[u8]) -> Result<Option<NodeId>> {
        let found = self.names.lookup(self, dir, name)?;
        if found.is_some() || dir == CONTAINER {
            return Ok(found);
        }
        // Two spellings of an accent are one name here, and a volume beside others may have its own rule.
        let entry = self.with(dir, |reader, node| reader.find_entry(&node, name))?;
        Ok(entry.map(|entry| NodeId { inode: entry.file_id, tree: dir.tree }))
    }

    fn metadata(&self, node: NodeId) -> Result<Metadata> {
        if node == CONTAINER {
            return Ok(Metadata::new(FileKind::Directory, 0));
        }
        let known = self.with(node, |_, node| Ok(node))?;
        let device = known.device.map_or((0, 0), split_device);
        let links = u32::try_from(known.links()).unwrap_or(1);
        Ok(Metadata {
            allocated: known.stream.filter(|_| known.compression.is_none()).map(|stream| stream.allocated),
            // Of a directory it is kept how many names are in it.
            links: if known.is_dir() { links.saturating_add(2) } else { links },
            mode: Some(known.value.mode & 0o7777),
            uid: Some(known.value.owner),
            gid: Some(known.value.group),
            modified: Some(time(known.modify_time())),
            accessed: Some(time(known.access_time())),
            changed: Some(time(known.change_time())),
            created: Some(time(known.birth_time())),
            ..Metadata::new(FileKind::of_mode(known.value.mode.into(), || device), known.size())
        })
    }

    fn open(&self, node: NodeId, stream: Option<&[u8]>) -> Result<Source> {
        let known = self.with(node, |_, node| Ok(node))?;
        if stream.is_some() {
            return Err(Error::new(ErrorKind::NotFound, "there are no streams besides the content"));
        }
        if !known.is_file() {
            return Err(Error::new(ErrorKind::Usage, "it is not a file with content"));
        }
        if let Some(Err(error)) = known.compression {
            return Err(refused_or_failed(error));
        }
        let readers = Arc::clone(&self.volume(node)?.readers);
        Ok(Arc::new(File { readers, size: known.size(), node: known, concurrency: self.concurrency }))
    }

    fn read_link(&self, node: NodeId) -> Result<Vec<u8>> {
        self.with(node, |reader, node| reader.link_target(&node))
    }

    fn xattrs(&self, node: NodeId) -> Result<Vec<Xattr>> {
        if node == CONTAINER {
            return Ok(vec![]);
        }
        let found = self.with(node, |reader, node| reader.xattrs(&node))?;
        let shown = |name: Vec<u8>| {
            // Names have no namespace there; what Linux wrote has its own in front already.
            let spaces: [&[u8]; 4] = [b"user.", b"security.", b"system.", b"trusted."];
            match spaces.iter().any(|space| name.starts_with(space)) {
                true => name,
                false => [b"user.", &name[..]].concat(),
            }
        };
        Ok(found.into_iter().map(|xattr| Xattr { name: shown(xattr.name), value: xattr.value }).collect())
    }
}

/// The content of a file.
struct File {
    readers: Arc<Readers>,
    node: Node,
    size: u64,
    concurrency: usize,
}

impl ReadAt for File {
    fn size(&self) -> u64 {
        self.size
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<()> {
        let len = u64::try_from(buf.len()).unwrap_or(u64::MAX);
        let range = ByteRange::within(self.size, offset, len)?;
        if buf.is_empty() {
            return Ok(());
        }
        let read = self
            .readers
            .with(|reader| reader.read_into(&self.node, offset, buf).map_err(refused_or_failed))?;
        if read < buf.len() {
            return Err(Error::new(ErrorKind::Corrupt, "it ends before its size").with_range(range));
        }
        Ok(())
    }

    fn concurrency(&self) -> usize {
        self.concurrency
    }
}

fn time(time: Timestamp) -> Time {
    Time { seconds: time.secs, nanos: Some(time.nanos).filter(|nanos| *nanos < 1_000_000_000).unwrap_or(0) }
}
