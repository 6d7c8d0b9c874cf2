//! Names in the blocks of a directory. The index that large ones have hides in entries without an inode.

use super::superblock::Geometry;
use crate::fs::cursor::failed;
use crate::fs::{DirEntry, FileKind, NodeId};
use block::{Error, ErrorKind, Result};
use ferrosys::ext::ondisk::{DirEntry as Entry, FileType};

/// The names in `bytes`, a whole block or the part of an inode that has them, up to where they make no sense.
pub(super) fn names(bytes: &[u8], geometry: &Geometry) -> (Vec<DirEntry>, Result<()>) {
    let block = usize::try_from(geometry.block.get()).unwrap_or(0);
    let (mut found, mut rest) = (vec![], bytes);
    while !rest.is_empty() {
        let (entry, len) = match Entry::read_from(rest, block) {
            Ok(read) => read,
            Err(error) => return (found, Err(failed(error))),
        };
        rest = rest.get(len..).filter(|_| len > 0).unwrap_or(&[]);
        if entry.inode == 0 || matches!(&entry.name[..], b"." | b"..") {
            continue;
        }
        if entry.inode > geometry.inodes {
            let words = format!("a name leads to inode {}, and there are {}", entry.inode, geometry.inodes);
            return (found, Err(Error::new(ErrorKind::Corrupt, words)));
        }
        let kind = match entry.file_type {
            _ if !geometry.filetype => None,
            FileType::RegFile => Some(FileKind::File),
            FileType::Dir => Some(FileKind::Directory),
            FileType::Fifo => Some(FileKind::Fifo),
            FileType::Socket => Some(FileKind::Socket),
            FileType::Symlink => Some(FileKind::Symlink),
            // Which device it is, the inode knows.
            FileType::Unknown | FileType::CharDev | FileType::BlockDev => None,
        };
        found.push(DirEntry { name: entry.name, node: NodeId::inode(entry.inode.into()), kind });
    }
    (found, Ok(()))
}
