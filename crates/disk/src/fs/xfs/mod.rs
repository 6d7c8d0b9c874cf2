//! Files of XFS, versions 4 and 5, addressed by inode; its log is replayed in memory.
//!
//! Every structure is read here: the formats are few, and reading by inode keeps large directories quick. All
//! metadata of version 5 are checked against their checksums, as Linux does.

mod attr;
mod dir;
mod geometry;
mod hash;
mod inode;
mod items;
mod log;
mod logged;
mod map;
mod replay;

use super::{Case, DirEntry, Each, FileKind, FileSystem, Info, Metadata, NodeId, Xattr};
use crate::probe::Content;
use block::{Error, ErrorKind, Result, Source};
use geometry::Geometry;
use inode::{FORMAT_LOCAL, Inode};
use map::Map;
use std::sync::Arc;

/// The volume as its log leaves it, and its sizes.
struct Volume {
    source: Source,
    geometry: Geometry,
}

impl Volume {
    fn new(source: Source) -> Result<Self> {
        let mut sb = vec![0; 512];
        source.read_at(0, &mut sb)?;
        Ok(Self { source, geometry: Geometry::parse(&sb)? })
    }

    fn read(&self, at: u64, len: usize) -> Result<Vec<u8>> {
        let mut bytes = vec![0; len];
        self.source.read_at(at, &mut bytes)?;
        Ok(bytes)
    }
}

/// An open one.
struct Xfs {
    volume: Arc<Volume>,
    info: Info,
}

/// What is wrong, of which structure.
fn corrupt(what: &str) -> Error {
    Error::new(ErrorKind::Corrupt, format!("{what} is wrong"))
}

/// Opens one, with its log replayed.
pub(super) fn open(source: Source, _: &Content) -> Result<Box<dyn FileSystem>> {
    let before = Volume::new(Arc::clone(&source))?;
    let replay::Outcome { source, condition, mut missing } = replay::replayed(&before)?;
    // What was replayed may be the superblock.
    let volume = Volume::new(source)?;
    missing.extend(volume.geometry.told.iter().cloned());
    let case = if volume.geometry.ascii_ci { Case::Insensitive } else { Case::Sensitive };
    let info = Info { type_name: "xfs", engine: "selfsame", case, condition, missing };
    let xfs = Xfs { volume: Arc::new(volume), info };
    xfs.directory(xfs.root())?;
    Ok(Box::new(xfs))
}

impl Xfs {
    fn inode(&self, node: NodeId) -> Result<Inode> {
        Inode::read(&self.volume, node.inode)
    }

    fn directory(&self, node: NodeId) -> Result<Inode> {
        let inode = self.inode(node)?;
        match inode.metadata.kind {
            FileKind::Directory => Ok(inode),
            _ => Err(inode.corrupt("kind, which is no directory,")),
        }
    }
}

impl FileSystem for Xfs {
    fn info(&self) -> &Info {
        &self.info
    }

    fn root(&self) -> NodeId {
        NodeId::inode(self.volume.geometry.root)
    }

    fn read_dir(&self, dir: NodeId, each: Each<'_>) -> Result<()> {
        dir::each(&self.volume, &self.directory(dir)?, &mut |entry| {
            let node = NodeId::inode(entry.inode);
            each(DirEntry { name: entry.name.to_vec(), node, kind: entry.kind })
        })
    }

    fn lookup(&self, dir: NodeId, name: &[u8]) -> Result<Option<NodeId>> {
        let inode = self.directory(dir)?;
        if !self.volume.geometry.ascii_ci {
            return Ok(dir::lookup(&self.volume, &inode, name)?.map(NodeId::inode));
        }
        // The hashes are of lower case then, and seldom enough to look at every name.
        let mut found = None;
        dir::each(&self.volume, &inode, &mut |entry| {
            if entry.name == name || (found.is_none() && entry.name.eq_ignore_ascii_case(name)) {
                found = Some(NodeId::inode(entry.inode));
            }
            Ok(entry.name != name)
        })?;
        Ok(found)
    }

    fn metadata(&self, node: NodeId) -> Result<Metadata> {
        Ok(self.inode(node)?.metadata)
    }

    fn open(&self, node: NodeId, stream: Option<&[u8]>) -> Result<Source> {
        let inode = self.inode(node)?;
        if stream.is_some() {
            return Err(Error::new(ErrorKind::NotFound, "XFS has no streams"));
        }
        if inode.metadata.kind != FileKind::File {
            return Err(Error::new(ErrorKind::Usage, "only files have content"));
        }
        if inode.realtime {
            let words = "its content is on the realtime device, which is not read";
            return Err(Error::new(ErrorKind::Unsupported, words));
        }
        if inode.content.format == FORMAT_LOCAL {
            return Err(inode.corrupt("kind of content"));
        }
        Ok(Arc::new(Map::new(&self.volume, &inode.content, inode.metadata.size)?))
    }

    fn read_link(&self, node: NodeId) -> Result<Vec<u8>> {
        let inode = self.inode(node)?;
        match inode.metadata.kind {
            FileKind::Symlink => dir::link(&self.volume, &inode),
            _ => Err(Error::new(ErrorKind::Usage, "it is no symbolic link")),
        }
    }

    fn xattrs(&self, node: NodeId) -> Result<Vec<Xattr>> {
        attr::all(&self.volume, &self.inode(node)?)
    }
}
