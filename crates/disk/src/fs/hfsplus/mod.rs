//! HFS+ and HFSX: folders and files by number in a B-tree, content in two forks.
//!
//! Read here. The crate `fstool` takes the whole catalog into memory to open a volume, replays a journal by
//! writing, and knows files by path only; of it are the tables of letters.

mod names;
mod packed;
mod record;
mod tree;
mod volume;

use super::bytes::{self, Fields, corrupt};
use super::recent::{Add, Listings};
use super::{Case, DirEntry, Each, FileKind, FileSystem, Info, Metadata, NodeId, Stream, Xattr};
use crate::probe;
use block::{Error, ErrorKind, Result, Source};
use packed::Packing;
use record::Record;
use volume::{PACKING, RESOURCES, Volume};

/// The number of the topmost folder, and of what it would lie in.
const ROOT: u32 = 2;
const ABOVE_ROOT: u32 = 1;
/// The folders, at the root, of files and of folders that have several names.
const LINKED_FILES: &str = "\0\0\0\0HFS+ Private Data";
const LINKED_FOLDERS: &str = ".HFS+ Private Directory Data\r";
/// The name of the stream that is the resource fork.
const RSRC: &[u8] = b"rsrc";
/// A target is a path; more is damage.
const LONGEST_TARGET: u64 = 64 << 10;

/// What is called with the name of each child, its node and its record.
type Child<'a> = &'a mut dyn FnMut(&[u16], NodeId, &Record) -> Result<()>;

/// A node: its number, and where in the catalog its record is.
struct HfsPlus {
    info: Info,
    volume: Volume,
    root: NodeId,
    /// Where files and folders with several names lie.
    linked_files: Option<NodeId>,
    linked_folders: Option<NodeId>,
    listings: Listings,
}

/// Opens one.
pub(super) fn open(source: Source, _: &probe::Content) -> Result<Box<dyn FileSystem>> {
    let volume = Volume::open(source)?;
    let case = if volume.is_sensitive { Case::Sensitive } else { Case::Insensitive };
    let info = Info {
        type_name: "hfsplus",
        engine: "selfsame",
        case,
        condition: volume.condition,
        missing: volume.missing.clone(),
    };
    let listings = Listings::new(case);
    let root = NodeId::inode(ROOT.into());
    let mut hfs = HfsPlus { info, volume, root, linked_files: None, linked_folders: None, listings };
    let (mut root, mut files, mut folders) = (None, None, None);
    hfs.children(ABOVE_ROOT, &mut |_, node, record| {
        root = Some(node).filter(|_| record.id == ROOT).or(root);
        Ok(())
    })?;
    hfs.children(ROOT, &mut |name, node, record| {
        let is = |known: &str| record.is_folder && known.encode_utf16().eq(name.iter().copied());
        files = Some(node).filter(|_| is(LINKED_FILES)).or(files);
        folders = Some(node).filter(|_| is(LINKED_FOLDERS)).or(folders);
        Ok(())
    })?;
    hfs.root = root.ok_or_else(|| corrupt("no topmost folder"))?;
    (hfs.linked_files, hfs.linked_folders) = (files, folders);
    Ok(Box::new(hfs))
}

impl HfsPlus {
    /// Calls `each` for what lies in the folder of this number.
    fn children(&self, folder: u32, each: Child<'_>) -> Result<()> {
        let parent = |record: &[u8]| Fields::new(record, "a key of the catalog").be32(2);
        self.volume.catalog.walk(&|record| Ok(parent(record)?.cmp(&folder)), &mut |spot, record| {
            if parent(record)? != folder {
                return Ok(false);
            }
            if let Some(found) = Record::read(tree::body(record)?)? {
                let name = tree::name(Fields::new(record, "a key of the catalog"), 6)?;
                each(&name, NodeId { inode: found.id.into(), tree: tree::pack(spot) }, &found)?;
            }
            Ok(true)
        })
    }

    /// The record of a node, and the folder that it lies in.
    fn record(&self, node: NodeId) -> Result<(Record, u32)> {
        let spot = tree::unpack(node.tree).ok_or_else(|| corrupt("no such file"))?;
        let leaf = self.volume.catalog.node(spot.node)?;
        let record = leaf.record(spot.index)?;
        let parent = Fields::new(record, "a key of the catalog").be32(2)?;
        let found = Record::read(tree::body(record)?)?.filter(|found| u64::from(found.id) == node.inode);
        Ok((found.ok_or_else(|| corrupt("the catalog has another file at this place"))?, parent))
    }

    fn list(&self, dir: NodeId, add: Add<'_>) -> Result<()> {
        let number = u32::try_from(dir.inode).map_err(|_| corrupt("no such folder"))?;
        if !self.record(dir)?.0.is_folder {
            return Err(Error::new(ErrorKind::NotFound, "not a directory"));
        }
        self.children(number, &mut |name, node, record| {
            if Some(node) == self.linked_files || Some(node) == self.linked_folders {
                return Ok(());
            }
            let linked = match (self.linked_files, self.linked_folders) {
                (Some(files), _) if record.is_link() => self.linked(files, "iNode", record.special)?,
                (_, Some(folders)) if record.is_folder_link() => {
                    self.linked(folders, "dir_", record.special)?
                }
                _ => None,
            };
            let (node, kind) = match linked {
                Some(linked) => (linked, self.record(linked)?.0.kind()),
                None => (node, record.kind()),
            };
            add(DirEntry { name: names::shown(name), node, kind: Some(kind) })
        })
    }

    /// The file or folder itself that a name of several leads to.
    fn linked(&self, dir: NodeId, prefix: &str, number: u32) -> Result<Option<NodeId>> {
        let inside = |add: Add<'_>| {
            let folder = u32::try_from(dir.inode).map_err(|_| corrupt("no such folder"))?;
            self.children(folder, &mut |name, node, record| {
                add(DirEntry { name: names::shown(name), node, kind: Some(record.kind()) })
            })
        };
        self.listings.lookup(dir, format!("{prefix}{number}").as_bytes(), inside)
    }

    /// How a file is compressed, if it is.
    fn packing(&self, record: &Record) -> Result<Option<Packing>> {
        if !record.is_compressed() {
            return Ok(None);
        }
        let attributes = self.volume.attributes(record.id, Some(PACKING))?;
        attributes.first().map(|attribute| Packing::read(&attribute.value)).transpose()
    }
}

impl FileSystem for HfsPlus {
    fn info(&self) -> &Info {
        &self.info
    }

    fn root(&self) -> NodeId {
        self.root
    }

    fn read_dir(&self, dir: NodeId, each: Each<'_>) -> Result<()> {
        self.listings.read_dir(dir, each, |add| self.list(dir, add))
    }

    fn lookup(&self, dir: NodeId, name: &[u8]) -> Result<Option<NodeId>> {
        self.listings.lookup(dir, &names::typed(name), |add| self.list(dir, add))
    }

    fn metadata(&self, node: NodeId) -> Result<Metadata> {
        let (record, parent) = self.record(node)?;
        let size = match (&record.forks, self.packing(&record)?) {
            (_, Some(packing)) => packing.size,
            (Some((content, _)), None) if matches!(record.kind(), FileKind::File | FileKind::Symlink) => {
                content.size
            }
            _ => 0,
        };
        let linked = self.linked_files.is_some_and(|dir| dir.inode == u64::from(parent));
        Ok(record.metadata(size, linked))
    }

    fn open(&self, node: NodeId, stream: Option<&[u8]>) -> Result<Source> {
        let (record, _) = self.record(node)?;
        let Some((content, resources)) = record.forks.as_ref().filter(|_| record.kind() == FileKind::File)
        else {
            return Err(Error::new(ErrorKind::NotFound, "no such content"));
        };
        if record.is_link() || record.is_folder_link() {
            return Err(corrupt("a hard link whose file is missing"));
        }
        let packing = self.packing(&record)?;
        match (stream, packing) {
            (None, Some(packing)) => packing.open(|| self.volume.fork(resources, record.id, RESOURCES)),
            (None, None) => self.volume.content(content, record.id),
            (Some(RSRC), packing)
                if resources.size > 0 && !packing.as_ref().is_some_and(Packing::is_in_resources) =>
            {
                self.volume.fork(resources, record.id, RESOURCES)
            }
            (Some(_), _) => Err(Error::new(ErrorKind::NotFound, "no such stream")),
        }
    }

    fn read_link(&self, node: NodeId) -> Result<Vec<u8>> {
        let (record, _) = self.record(node)?;
        let content = record.forks.as_ref().filter(|_| record.kind() == FileKind::Symlink);
        let Some((content, _)) = content else {
            return Err(Error::new(ErrorKind::NotFound, "not a symbolic link"));
        };
        if content.size > LONGEST_TARGET {
            return Err(corrupt(format!("a link with a target of {} bytes", content.size)));
        }
        bytes::read(&*self.volume.content(content, record.id)?, 0, content.size, "the target of a link")
    }

    fn streams(&self, node: NodeId) -> Result<Vec<Stream>> {
        let (record, _) = self.record(node)?;
        let size = record.forks.as_ref().map_or(0, |(_, resources)| resources.size);
        if size == 0 || self.packing(&record)?.is_some_and(|packing| packing.is_in_resources()) {
            return Ok(vec![]);
        }
        Ok(vec![Stream { name: RSRC.to_vec(), size }])
    }

    fn xattrs(&self, node: NodeId) -> Result<Vec<Xattr>> {
        let number = u32::try_from(node.inode).map_err(|_| corrupt("no such file"))?;
        let mut attributes = self.volume.attributes(number, None)?;
        attributes.retain(|attribute| attribute.name != PACKING);
        // Linux gives those of macOS a namespace of their own.
        let spaces = [&b"user."[..], b"trusted.", b"security.", b"system."];
        for Xattr { name, .. } in &mut attributes {
            if !spaces.iter().any(|space| name.starts_with(space)) {
                *name = [b"osx.", &name[..]].concat();
            }
        }
        Ok(attributes)
    }
}
