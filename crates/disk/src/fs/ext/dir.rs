//! Names in the blocks of a directory. The index that large ones have hides in entries without an inode.

use crate::fs::cursor::failed;
use crate::fs::{DirEntry, Each, FileKind, NodeId};
use block::{Error, ErrorKind, Result};
use ferrosys::ext::ondisk::{DirEntry as Entry, FileType};

/// Calls `each` for the names in `bytes`, a whole block or the part of an inode that has them. `false` if it
/// wants no more.
pub(super) fn names(bytes: &[u8], block: usize, inodes: u32, filetype: bool, each: Each<'_>) -> Result<bool> {
    let mut rest = bytes;
    while !rest.is_empty() {
        let (entry, len) = Entry::read_from(rest, block).map_err(failed)?;
        rest = rest.get(len..).filter(|_| len > 0).unwrap_or(&[]);
        if entry.inode == 0 || matches!(&entry.name[..], b"." | b"..") {
            continue;
        }
        if entry.inode > inodes {
            let words = format!("a name leads to inode {}, and there are {inodes}", entry.inode);
            return Err(Error::new(ErrorKind::Corrupt, words));
        }
        let kind = match entry.file_type {
            _ if !filetype => None,
            FileType::RegFile => Some(FileKind::File),
            FileType::Dir => Some(FileKind::Directory),
            FileType::Fifo => Some(FileKind::Fifo),
            FileType::Socket => Some(FileKind::Socket),
            FileType::Symlink => Some(FileKind::Symlink),
            // Which device it is, the inode knows.
            FileType::Unknown | FileType::CharDev | FileType::BlockDev => None,
        };
        let node = NodeId::inode(entry.inode.into());
        if !each(DirEntry { name: entry.name, node, kind })? {
            return Ok(false);
        }
    }
    Ok(true)
}
