//! What a file is, in the kernel's words.

use super::tree::{Node, Tree};
use block::Result;
use disk::fs::{FileKind, Metadata, Time};
use fuser::{FileAttr, FileType, INodeNo};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Whose the files of filesystems without owners are, and the images.
#[derive(Clone, Copy, Debug)]
pub struct Owner {
    /// The mounting user.
    pub uid: u32,
    /// And group.
    pub gid: u32,
}

/// Where a filesystem keeps no modes.
const FOLDER_MODE: u16 = 0o755;
const FILE_MODE: u16 = 0o644;
/// Raw regions are for their owner alone, as backups are.
const IMAGE_MODE: u16 = 0o400;
/// Bytes that reads are best multiples of.
const BLOCK: u32 = 128 << 10;

/// Of the file with this number.
pub(super) fn attributes(tree: &Tree, number: u64) -> Result<FileAttr> {
    Ok(match tree.node(number)? {
        Node::Top | Node::Images | Node::Empty => {
            of(tree, number, &Metadata { links: 2, ..Metadata::new(FileKind::Directory, 0) })
        }
        Node::Image(image) => {
            let mode = Some(IMAGE_MODE);
            of(tree, number, &Metadata { mode, ..Metadata::new(FileKind::File, image.source.size()) })
        }
        Node::File(files, node) => of(tree, number, &files.metadata(node)?),
    })
}

pub(super) fn of(tree: &Tree, number: u64, known: &Metadata) -> FileAttr {
    let time = |time: Option<Time>| time.map_or(UNIX_EPOCH, system_time);
    let modified = time(known.modified);
    FileAttr {
        ino: INodeNo(number),
        size: known.size,
        blocks: known.allocated.unwrap_or(known.size).div_ceil(512),
        atime: known.accessed.map_or(modified, system_time),
        mtime: modified,
        ctime: known.changed.map_or(modified, system_time),
        crtime: time(known.created),
        kind: kind(known.kind),
        perm: known.mode.map_or_else(|| usual_mode(known.kind), |mode| mode & 0o7777),
        nlink: known.links.max(1),
        uid: known.uid.unwrap_or(tree.owner.uid),
        gid: known.gid.unwrap_or(tree.owner.gid),
        rdev: device(known.kind),
        blksize: BLOCK,
        flags: 0,
    }
}

fn usual_mode(kind: FileKind) -> u16 {
    match kind {
        FileKind::Directory => FOLDER_MODE,
        FileKind::Symlink => 0o777,
        _ => FILE_MODE,
    }
}

/// What only its own system understands is a file here: it can be seen, and mostly not opened.
pub(super) fn kind(kind: FileKind) -> FileType {
    match kind {
        FileKind::File | FileKind::Other => FileType::RegularFile,
        FileKind::Directory => FileType::Directory,
        FileKind::Symlink => FileType::Symlink,
        FileKind::Fifo => FileType::NamedPipe,
        FileKind::CharDevice(..) => FileType::CharDevice,
        FileKind::BlockDevice(..) => FileType::BlockDevice,
        FileKind::Socket => FileType::Socket,
    }
}

/// As FUSE has it: Linux's 32 bits, twelve of them the major number.
fn device(kind: FileKind) -> u32 {
    match kind {
        FileKind::CharDevice(major, minor) | FileKind::BlockDevice(major, minor) => {
            (minor & 0xFF) | (major & 0xFFF) << 8 | (minor & 0xF_FF00) << 12
        }
        _ => 0,
    }
}

fn system_time(time: Time) -> SystemTime {
    let whole = Duration::from_secs(time.seconds.unsigned_abs());
    let seconds = match time.seconds < 0 {
        true => UNIX_EPOCH.checked_sub(whole),
        false => UNIX_EPOCH.checked_add(whole),
    };
    let nanos = Duration::from_nanos(time.nanos.into());
    seconds.and_then(|seconds| seconds.checked_add(nanos)).unwrap_or(UNIX_EPOCH)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_before_1970_and_beyond_all_are_times() {
        let at = |seconds, nanos| system_time(Time { seconds, nanos });
        assert_eq!(at(-1, 500_000_000), UNIX_EPOCH - Duration::from_millis(500));
        assert_eq!(at(1, 7), UNIX_EPOCH + Duration::new(1, 7));
        for seconds in [i64::MIN, i64::MAX] {
            at(seconds, 999_999_999);
        }
    }

    #[test]
    fn device_numbers_are_the_kernels() {
        assert_eq!(device(FileKind::BlockDevice(8, 1)), 0x801);
        assert_eq!(device(FileKind::CharDevice(0x123, 0x4_5678)), 0x4561_2378);
        assert_eq!(device(FileKind::File), 0);
    }
}
