//! Files of FAT12, FAT16 and FAT32 (Microsoft, "FAT: General Overview of On-Disk Format" 1.03). A file is
//! known by the place of its directory entry. Damage in one place hides nothing elsewhere.

use super::clusters::{Clusters, ENTRY, Storage, Width, corrupt, entries_in};
use super::names::Names;
use super::{Case, Condition, DirEntry, Each, FileKind, FileSystem, Info, Metadata, NodeId, dos};
use crate::fat::{Fat as Volume, Width as VolumeWidth};
use crate::probe::{Content, StateKind};
use block::{ByteRange, Error, ErrorKind, Result, Source};
use ferrosys::fat::ShortNameCharset;
use ferrosys::fat::ondisk::{Attributes, DirEntry as Entry, LfnEntry, lfn_checksum};
use std::num::NonZeroU64;
use std::sync::Arc;

/// No entry is where the boot sector is.
const ROOT: NodeId = NodeId::inode(0);
/// Attributes that are told: read-only, hidden, system, archive.
const TOLD: u8 = 0x27;

struct Fat {
    info: Info,
    clusters: Clusters,
    /// The root directory of FAT12 and FAT16.
    root: ByteRange,
    /// That of FAT32.
    root_cluster: Option<u32>,
    names: Names,
}

/// Opens one.
pub(super) fn open(source: Source, content: &Content) -> Result<Box<dyn FileSystem>> {
    let Some(volume) = Volume::open(&*source)? else {
        return Err(Error::new(ErrorKind::Unsupported, "its boot sector is not as FAT has it"));
    };
    let width = match volume.width {
        VolumeWidth::Fat12 => Width::Fat12,
        VolumeWidth::Fat16 => Width::Fat16,
        VolumeWidth::Fat32 => Width::Fat32,
    };
    let clusters = Clusters {
        tables: std::iter::once(volume.table).chain(volume.copy).collect(),
        width,
        heap: volume.data,
        size: NonZeroU64::new(volume.cluster).ok_or_else(|| corrupt("clusters without bytes"))?,
        count: volume.clusters,
        source: Source::clone(&source),
    };
    let dirty = content.states.iter().any(|state| state.kind == StateKind::Dirty);
    let info = Info {
        type_name: content.type_name,
        engine: "selfsame",
        case: Case::Insensitive,
        condition: if dirty { Condition::Stale } else { Condition::Clean },
        missing: vec![],
    };
    let root_cluster = (width == Width::Fat32).then_some(volume.root_cluster);
    let fat = Fat { info, clusters, root: volume.root, root_cluster, names: Names::default() };
    Ok(Box::new(fat))
}

impl Fat {
    /// The entry that a node is.
    fn entry(&self, node: NodeId) -> Result<Entry> {
        let mut bytes = [0; ENTRY];
        self.clusters.source.read_at(node.inode, &mut bytes)?;
        Entry::read_from(&bytes).map_err(super::cursor::failed)
    }

    /// The cluster that an entry begins with; 0 where it has none.
    fn first(&self, entry: &Entry) -> u32 {
        // The upper half means something else where clusters have 16 bits.
        let high = if self.root_cluster.is_some() { entry.first_cluster_hi } else { 0 };
        (u32::from(high) << 16) | u32::from(entry.first_cluster_lo)
    }
}

impl FileSystem for Fat {
    fn info(&self) -> &Info {
        &self.info
    }

    fn root(&self) -> NodeId {
        ROOT
    }

    fn read_dir(&self, dir: NodeId, each: Each<'_>) -> Result<()> {
        let first = match (dir, self.root_cluster) {
            (ROOT, None) => None,
            (ROOT, Some(cluster)) => Some(cluster),
            _ => {
                let entry = self.entry(dir)?;
                if !entry.attributes.contains(Attributes::DIRECTORY) {
                    return Err(Error::new(ErrorKind::Usage, "it is not a directory"));
                }
                Some(self.first(&entry))
            }
        };
        let mut long = Long::default();
        let mut slot = |at, bytes: &[u8; ENTRY]| {
            let Some(name) = long.name(bytes) else { return Ok(bytes.first() != Some(&0)) };
            let entry = Entry::read_from(bytes).map_err(super::cursor::failed)?;
            let is_dir = entry.attributes.contains(Attributes::DIRECTORY);
            let kind = Some(if is_dir { FileKind::Directory } else { FileKind::File });
            each(DirEntry { name, node: NodeId::inode(at), kind })
        };
        match first {
            None => entries_in(&*self.clusters.source, self.root, &mut slot).map(|_| ()),
            Some(first) => self.clusters.entries(Storage::Chain(first), None, &mut slot),
        }
    }

    fn lookup(&self, dir: NodeId, name: &[u8]) -> Result<Option<NodeId>> {
        self.names.lookup(self, dir, name)
    }

    fn metadata(&self, node: NodeId) -> Result<Metadata> {
        if node == ROOT {
            return Ok(Metadata::new(FileKind::Directory, 0));
        }
        let entry = self.entry(node)?;
        let is_dir = entry.attributes.contains(Attributes::DIRECTORY);
        let (kind, size): (_, u64) =
            if is_dir { (FileKind::Directory, 0) } else { (FileKind::File, entry.size.into()) };
        let allocated = size.checked_next_multiple_of(self.clusters.size.get()).filter(|_| !is_dir);
        Ok(Metadata {
            allocated,
            attributes: Some((entry.attributes.bits() & TOLD).into()),
            modified: dos::time(entry.write_date, entry.write_time, 0),
            accessed: dos::time(entry.access_date, 0, 0),
            created: dos::time(entry.create_date, entry.create_time, entry.create_time_tenth),
            ..Metadata::new(kind, size)
        })
    }

    fn open(&self, node: NodeId, stream: Option<&[u8]>) -> Result<Source> {
        if stream.is_some() {
            return Err(Error::new(ErrorKind::NotFound, "there are no streams besides the content"));
        }
        let entry = if node == ROOT { None } else { Some(self.entry(node)?) };
        let entry = entry.filter(|entry| !entry.attributes.contains(Attributes::DIRECTORY));
        let entry = entry.ok_or_else(|| Error::new(ErrorKind::Usage, "it is not a file with content"))?;
        let storage = Some(self.first(&entry)).filter(|first| *first != 0).map(Storage::Chain);
        let size = entry.size.into();
        Ok(Arc::new(self.clusters.file(storage, size, size)?))
    }

    fn read_link(&self, _: NodeId) -> Result<Vec<u8>> {
        Err(Error::new(ErrorKind::Usage, "it is not a symbolic link"))
    }
}

/// A long name as it is gathered: its last part comes first.
#[derive(Default)]
struct Long {
    /// The parts, in the order of the directory.
    parts: Vec<[u16; 13]>,
    /// The number of the next one.
    next: u8,
    checksum: u8,
}

impl Long {
    /// The name of the file whose entry this is; `None` if it is none of a file, but perhaps a part of a name.
    fn name(&mut self, bytes: &[u8; ENTRY]) -> Option<Vec<u8>> {
        let entry = Entry::read_from(bytes).ok()?;
        match entry.name.first() {
            Some(0 | 0xE5) => {
                *self = Self::default();
                return None;
            }
            _ if entry.attributes.is_long_name() => {
                self.add(&LfnEntry::read_from(bytes).ok()?);
                return None;
            }
            _ => {}
        }
        let long = std::mem::take(self);
        if entry.attributes.contains(Attributes::VOLUME_ID) || entry.name.first() == Some(&b'.') {
            return None;
        }
        Some(long.of(&entry.name).unwrap_or_else(|| short_name(&entry)))
    }

    fn add(&mut self, part: &LfnEntry) {
        const LAST: u8 = 0x40;
        const LONGEST: u8 = 20;
        let number = part.order & 0x1F;
        if part.order & LAST != 0 && (1..=LONGEST).contains(&number) {
            *self = Self { parts: vec![], next: number, checksum: part.checksum };
        } else if number == 0 || number != self.next || part.checksum != self.checksum {
            *self = Self::default();
            return;
        }
        self.parts.push(part.name);
        self.next = self.next.saturating_sub(1);
    }

    /// The name, if it is whole and of the entry with this short name.
    fn of(self, short: &[u8; 11]) -> Option<Vec<u8>> {
        if self.parts.is_empty() || self.next != 0 || lfn_checksum(short) != self.checksum {
            return None;
        }
        let name = dos::name(self.parts.iter().rev().flatten().copied().take_while(|unit| *unit != 0));
        (!name.is_empty()).then_some(name)
    }
}

/// `SHIMX64.EFI` of the eleven bytes; the two halves in small letters where the entry says so. Nothing on the
/// disk says which code page it was: that of DOS in America, as Linux takes it.
fn short_name(entry: &Entry) -> Vec<u8> {
    let mut name = entry.name;
    if let [first @ 0x05, ..] = &mut name {
        // So that a name which begins with this letter is not one that was deleted.
        *first = 0xE5;
    }
    let half = |bytes: &[u8], flag: u8| {
        let end = bytes.iter().rposition(|byte| *byte != b' ').map_or(0, |last| last.saturating_add(1));
        let text = ShortNameCharset::Cp437.decode(bytes.get(..end).unwrap_or(&[]));
        match std::str::from_utf8(&text) {
            Ok(text) if entry.case_flags & flag != 0 => text.to_lowercase().into_bytes(),
            _ => text,
        }
    };
    let (base, extension) = name.split_at(8);
    let (mut base, extension) = (half(base, 0x08), half(extension, 0x10));
    if !extension.is_empty() {
        base.push(b'.');
        base.extend_from_slice(&extension);
    }
    base
}
