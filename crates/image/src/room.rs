//! What the filesystem of a folder can take, asked before the first byte is written.

use block::{Error, Folder, Result};
use rustix::fs::{StatFs, fstatfs};

/// What a filesystem can take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Room {
    /// Bytes that are free for the user who asks.
    pub free: u64,
    /// The longest file, in bytes; `None`: longer than any disk.
    pub max_file: Option<u64>,
    /// A file may have holes that take no room.
    pub holes: bool,
    /// As `mount` calls it, or its magic number.
    pub filesystem: String,
    /// It is gone with the next power cut.
    pub memory: bool,
}

/// A row for each filesystem that is not [`Kind::ORDINARY`] or whose name is worth saying.
struct Kind {
    /// `f_type` of statfs(2), from the kernel's `magic.h` and the filesystems' own headers.
    magic: u32,
    name: &'static str,
    max_file: Option<u64>,
    holes: bool,
    memory: bool,
}

impl Kind {
    const fn ordinary(magic: u32, name: &'static str) -> Self {
        Self { magic, name, max_file: None, holes: true, memory: false }
    }

    const fn memory(magic: u32, name: &'static str) -> Self {
        Self { memory: true, ..Self::ordinary(magic, name) }
    }

    const fn without_holes(magic: u32, name: &'static str, max_file: Option<u64>) -> Self {
        Self { holes: false, max_file, ..Self::ordinary(magic, name) }
    }
}

/// The length of a file is a field of 32 bits.
const FAT_MAX: Option<u64> = Some(u32::MAX as u64);

/// The root of live systems and of containers: is what its upper layer is, which it does not tell.
const OVERLAY: u32 = 0x794C_7630;

const KINDS: &[Kind] = &[
    Kind::ordinary(0xEF53, "ext"),
    Kind::ordinary(0x5846_5342, "xfs"),
    Kind::ordinary(0x9123_683E, "btrfs"),
    Kind::ordinary(0xCA45_1A4E, "bcachefs"),
    Kind::ordinary(0x2FC1_2FC1, "zfs"),
    Kind::ordinary(0xF2F5_2010, "f2fs"),
    Kind::ordinary(0x5265_4973, "reiserfs"),
    Kind::ordinary(0x3153_464A, "jfs"),
    Kind::ordinary(0x7366_746E, "ntfs3"),
    Kind::ordinary(0x5346_544E, "ntfs"),
    Kind::ordinary(0x6969, "nfs"),
    Kind::ordinary(0xFF53_4D42, "cifs"),
    Kind::ordinary(0xFE53_4D42, "smb2"),
    Kind::ordinary(0x6573_5546, "fuse"),
    Kind::without_holes(0x4D44, "vfat", FAT_MAX),
    Kind::without_holes(0x2011_BAB0, "exfat", None),
    Kind::without_holes(0x4244, "hfs", Some(i32::MAX as u64)),
    Kind::without_holes(0x482B, "hfsplus", None),
    Kind::memory(0x0102_1994, "tmpfs"),
    Kind::memory(0x8584_58F6, "ramfs"),
    Kind::ordinary(OVERLAY, "overlay"),
];

/// Of the filesystem that a folder lies on.
pub fn room(folder: &dyn Folder) -> Result<Room> {
    let found = fstatfs(folder.fd()).map_err(|errno| {
        Error::io(errno.into(), format!("asking the filesystem of {}", folder.path().display()))
    })?;
    let memory = rustix::system::sysinfo();
    let ram = (memory.totalram as u64).saturating_mul(memory.mem_unit.into());
    Ok(room_of(&found, ram))
}

/// `ram`: bytes of memory that this machine has.
fn room_of(found: &StatFs, ram: u64) -> Room {
    // The magic is 32 bits; the field's width and sign differ from one machine to the next.
    let magic = u32::try_from(found.f_type & 0xFFFF_FFFF).unwrap_or_default();
    let kind = KINDS.iter().find(|kind| kind.magic == magic);
    let bytes = u64::try_from(found.f_bsize).unwrap_or_default();
    Room {
        free: found.f_bavail.saturating_mul(bytes),
        max_file: kind.and_then(|kind| kind.max_file),
        holes: kind.is_none_or(|kind| kind.holes),
        filesystem: kind.map_or_else(|| format!("{magic:#x}"), |kind| kind.name.to_owned()),
        // No larger than the memory, an upper layer is taken for memory: the live system's tmpfs.
        memory: kind.is_some_and(|kind| kind.memory)
            || (magic == OVERLAY && found.f_blocks.saturating_mul(bytes) <= ram),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::statfs;

    fn room_at(path: &str) -> Result<Room> {
        room(&crate::LocalFiles::default().folder(path.as_ref()).unwrap())
    }

    fn of(magic: u32) -> Room {
        let mut found = statfs("/").unwrap();
        (found.f_type, found.f_bsize, found.f_blocks, found.f_bavail) = (magic.into(), 4096, 1000, 10);
        room_of(&found, 4096 * 1000)
    }

    #[test]
    fn fat_is_short_and_without_holes() {
        let fat = of(0x4D44);
        assert_eq!((fat.free, fat.max_file, fat.holes), (40960, Some((4 << 30) - 1), false));
        assert_eq!((of(0x2011_BAB0).max_file, of(0x2011_BAB0).holes), (None, false));
        let other = of(0x1234_5678);
        assert_eq!((other.max_file, other.holes, other.memory), (None, true, false));
        assert_eq!(other.filesystem, "0x12345678");
    }

    #[test]
    fn what_is_only_memory_says_so() {
        assert!(of(0x0102_1994).memory && of(0x8584_58F6).memory && of(OVERLAY).memory);
        assert!(!of(0xEF53).memory);
        let mut disk = statfs("/").unwrap();
        (disk.f_type, disk.f_bsize, disk.f_blocks) = (OVERLAY.into(), 4096, 1001);
        assert!(!room_of(&disk, 4096 * 1000).memory);
        assert!(!room_at("/proc").unwrap().memory);
    }

    /// `df` and `stat -f` are not ours.
    #[test]
    fn says_what_df_says() {
        let output = std::process::Command::new("df").args(["--output=avail", "-B1", "/"]).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let avail: u64 = text.lines().nth(1).unwrap().trim().parse().unwrap();
        let free = room_at("/").unwrap().free;
        assert!(free.abs_diff(avail) < 1 << 30, "{free} {avail}");
    }
}
