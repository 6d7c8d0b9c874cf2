//! What a disk, partition or volume holds, in words: names, labels and UUIDs as blkid prints them.
//!
//! One table, `KINDS`, one row a kind; a new one is a file and a row. The order is that of blkid: what
//! contains others (RAID, volumes, encryption) comes before filesystems that shine through it.

mod apple;
mod bitlocker;
mod btrfs;
mod cache;
mod cdrom;
mod content;
mod exfat;
mod ext;
mod f2fs;
mod fakeraid;
mod fat;
mod luks;
mod lvm;
mod md;
mod ntfs;
mod ntfs_files;
mod older;
mod readonly;
pub(crate) mod sum;
mod swap;
mod ufs;
mod uuid;
mod window;
mod xfs;
mod xfs_log;
mod zfs;

pub(crate) use ntfs_files::mapping;

pub use content::{Content, Severity, State, StateKind, Usage};

use block::{ByteRange, ReadAt, Result};
use window::Window;

/// A row: looks for one family and says what it found.
type Kind = fn(&Window) -> Option<Content>;

/// Every family, in order of precedence.
const KINDS: &[Kind] = &[
    md::probe,
    fakeraid::ddf,
    fakeraid::isw,
    cache::bcache,
    cache::bcachefs,
    cache::drbd,
    lvm::probe,
    luks::probe,
    cache::vdo,
    bitlocker::probe,
    apple::filevault,
    fat::probe,
    swap::suspended,
    swap::probe,
    xfs::probe,
    xfs::external_log,
    ext::probe,
    older::reiserfs,
    older::jfs,
    cdrom::udf,
    cdrom::iso9660,
    zfs::probe,
    apple::hfsplus,
    apple::hfs,
    ufs::probe,
    older::hpfs,
    ntfs::probe,
    ntfs::refs,
    readonly::cramfs,
    readonly::romfs,
    older::minix,
    readonly::squashfs,
    btrfs::probe,
    older::nilfs,
    exfat::probe,
    f2fs::probe,
    apple::apfs,
    readonly::erofs,
];

/// Those of which a whole disk is a member, whatever its partition table says.
const ARRAYS: &[Kind] = &[md::probe, fakeraid::ddf, fakeraid::isw];

/// What `source`, a partition or disk by itself, holds; `None` if nothing that is known. Reads 2 MiB at
/// most. What lies on a bad or absent place is not recognised; any other failure to read is an error.
pub fn identify(source: &dyn ReadAt) -> Result<Option<Content>> {
    // Smaller ones hold nothing, as blkid has it (the shadow of an extended partition).
    if source.size() <= 1024 {
        return Ok(None);
    }
    first_of(KINDS, Window::new(source))
}

/// The array that a whole disk with a partition table belongs to, if it does: its superblock lies at an
/// end of the disk, where no partition has it. `partitions`: where those lie. Fails as [`identify`] does.
pub fn disk_member(source: &dyn ReadAt, partitions: &[ByteRange]) -> Result<Option<Content>> {
    first_of(ARRAYS, Window::around(source, partitions))
}

fn first_of(kinds: &[Kind], window: Window) -> Result<Option<Content>> {
    let mut found = kinds.iter().filter_map(|probe| probe(&window));
    let content = found.next().map(|first| {
        let also = found.map(|other| other.title).collect();
        Content { also, ..first }
    });
    window.finish()?;
    Ok(content)
}
