//! squashfs 4: inodes and names in compressed tables, found by their places, and read when they are asked for.
//!
//! The crate `backhand` unpacks; the tables are read here, because its own reader takes all of them into memory
//! first, has no way into the middle of a file, and refuses an image with a link of 256 bytes.

mod content;
mod inode;
mod packed;
mod xattr;

use super::bytes::{self, Fields, corrupt};
use super::recent::{Add, Listings};
use super::{Case, Condition, DirEntry, Each, FileKind, FileSystem, Info, Metadata, NodeId, Xattr};
use crate::probe;
use block::{Error, ErrorKind, Result, Source};
use content::{Content, End};
use inode::{Body, Inode};
use packed::{Packed, Place};
use std::sync::Arc;

/// A table that is not there.
const NONE: u64 = u64::MAX;

struct Squashfs {
    info: Info,
    packed: Arc<Packed>,
    root: NodeId,
    fragments: u32,
    owners: u16,
    inode_table: u64,
    directory_table: u64,
    fragment_table: u64,
    owner_table: u64,
    xattr_table: u64,
    listings: Listings,
}

/// Opens one.
pub(super) fn open(source: Source, _: &probe::Content) -> Result<Box<dyn FileSystem>> {
    let head = bytes::read(&*source, 0, 96, "its superblock")?;
    let f = Fields::new(&head, "its superblock");
    let version = (f.u16(28)?, f.u16(30)?);
    if f.slice(0, 4)? != b"hsqs" || version.0 != 4 {
        let words = format!("version {}.{} or big-endian; 4.0 can be read", version.0, version.1);
        return Err(Error::new(ErrorKind::Unsupported, words));
    }
    let block_size = u64::from(f.u32(12)?);
    if !block_size.is_power_of_two() || !(4096..=1 << 20).contains(&block_size) {
        return Err(corrupt(format!("blocks of {block_size} bytes")));
    }
    let mut missing = vec![];
    if f.u64(40)? > source.size() {
        missing.push("it is longer than what it lies on: files at its end are cut off".to_owned());
    }
    let squashfs = Squashfs {
        info: Info {
            type_name: "squashfs",
            engine: "selfsame, backhand",
            case: Case::Sensitive,
            condition: Condition::Clean,
            missing,
        },
        packed: Arc::new(Packed::new(Arc::clone(&source), f.u16(20)?, block_size)?),
        root: NodeId::inode(f.u64(32)?),
        fragments: f.u32(16)?,
        owners: f.u16(26)?,
        inode_table: f.u64(64)?,
        directory_table: f.u64(72)?,
        fragment_table: f.u64(80)?,
        owner_table: f.u64(48)?,
        xattr_table: f.u64(56)?,
        listings: Listings::new(Case::Sensitive),
    };
    // Without the root nothing is worth opening.
    squashfs.directory(squashfs.root)?;
    Ok(Box::new(squashfs))
}

impl Squashfs {
    fn inode(&self, node: NodeId) -> Result<Inode> {
        Inode::read(&self.packed, Place::of_reference(self.inode_table, node.inode))
    }

    /// Where the names of a directory are, and bytes of them.
    fn directory(&self, node: NodeId) -> Result<(Place, u32)> {
        match self.inode(node)?.body {
            Body::Directory { reference, len } => {
                Ok((Place::of_reference(self.directory_table, reference), len))
            }
            _ => Err(Error::new(ErrorKind::NotFound, "not a directory")),
        }
    }

    /// Every name of a directory: runs of names whose inodes lie in one block, each run with a head.
    fn names(&self, dir: NodeId, add: Add<'_>) -> Result<()> {
        let (mut place, len) = self.directory(dir)?;
        let mut left = u64::from(len);
        while left > 0 {
            let head = self.packed.bytes(&mut place, 12)?;
            let head = Fields::new(&head, "a directory");
            let (count, block) = (u64::from(head.u32(0)?).saturating_add(1), head.u32(4)?);
            // The kernel writes no longer run.
            if count > 256 {
                return Err(corrupt(format!("a run of {count} names in a directory")));
            }
            left = left.saturating_sub(12);
            for _ in 0..count {
                let entry = self.packed.bytes(&mut place, 8)?;
                let entry = Fields::new(&entry, "a directory");
                let len = u64::from(entry.u16(6)?).saturating_add(1);
                let name = self.packed.bytes(&mut place, bytes::narrow(len))?;
                let node = NodeId::inode((u64::from(block) << 16) | u64::from(entry.u16(0)?));
                let kind = match entry.u16(4)? {
                    1 => Some(FileKind::Directory),
                    2 => Some(FileKind::File),
                    3 => Some(FileKind::Symlink),
                    6 => Some(FileKind::Fifo),
                    7 => Some(FileKind::Socket),
                    _ => None, // of a device the numbers are in the inode
                };
                add(DirEntry { name, node, kind })?;
                left = left.saturating_sub(len.saturating_add(8));
            }
        }
        Ok(())
    }

    fn owner(&self, index: u16) -> Option<u32> {
        let entry = (index < self.owners).then(|| self.packed.entry(self.owner_table, index.into(), 4));
        Fields::new(&entry?.ok()?, "an owner").u32(0).ok()
    }
}

impl FileSystem for Squashfs {
    fn info(&self) -> &Info {
        &self.info
    }

    fn root(&self) -> NodeId {
        self.root
    }

    fn read_dir(&self, dir: NodeId, each: Each<'_>) -> Result<()> {
        self.listings.read_dir(dir, each, |add| self.names(dir, add))
    }

    fn lookup(&self, dir: NodeId, name: &[u8]) -> Result<Option<NodeId>> {
        self.listings.lookup(dir, name, |add| self.names(dir, add))
    }

    fn metadata(&self, node: NodeId) -> Result<Metadata> {
        let inode = self.inode(node)?;
        let mut known = inode.metadata();
        (known.uid, known.gid) = (self.owner(inode.owner), self.owner(inode.group));
        Ok(known)
    }

    fn open(&self, node: NodeId, stream: Option<&[u8]>) -> Result<Source> {
        let inode = self.inode(node)?;
        let (Body::File { start, fragment, list }, None) = (inode.body, stream) else {
            return Err(Error::new(ErrorKind::NotFound, "no such content"));
        };
        let end = match fragment {
            Some((index, offset)) if index < self.fragments => {
                Some(End::of_entry(&self.packed.entry(self.fragment_table, index, 16)?, offset)?)
            }
            Some((index, _)) => return Err(corrupt(format!("fragment {index} of {}", self.fragments))),
            None => None,
        };
        Ok(Arc::new(Content::new(Arc::clone(&self.packed), inode.size, start, end, list)?))
    }

    fn read_link(&self, node: NodeId) -> Result<Vec<u8>> {
        let inode = self.inode(node)?;
        let Body::Symlink(mut place) = inode.body else {
            return Err(Error::new(ErrorKind::NotFound, "not a symbolic link"));
        };
        self.packed.bytes(&mut place, bytes::narrow(inode.size))
    }

    fn xattrs(&self, node: NodeId) -> Result<Vec<Xattr>> {
        match self.inode(node)?.xattr {
            Some(index) if self.xattr_table != NONE => xattr::read(&self.packed, self.xattr_table, index),
            _ => Ok(vec![]),
        }
    }
}
