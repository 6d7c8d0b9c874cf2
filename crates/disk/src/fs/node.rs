//! What a file is, in words that every filesystem can answer in.

use block::Result;
use std::fmt;

/// A file of one filesystem, as its reader calls it: an inode, a record and its sequence number, a subvolume
/// and an object. Of no meaning elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId {
    /// The inode, or what comes nearest.
    pub inode: u64,
    /// What else it takes: subvolume, generation; 0 where nothing.
    pub tree: u64,
}

impl NodeId {
    /// Where the inode alone says it.
    pub const fn inode(inode: u64) -> Self {
        Self { inode, tree: 0 }
    }
}

/// What sort of file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FileKind {
    /// Bytes.
    File,
    /// A directory.
    Directory,
    /// A symbolic link; also a reparse point that leads elsewhere.
    Symlink,
    /// A named pipe.
    Fifo,
    /// A character device: major, minor.
    CharDevice(u32, u32),
    /// A block device: major, minor.
    BlockDevice(u32, u32),
    /// A socket.
    Socket,
    /// Something that only its own system understands, such as most reparse points.
    Other,
}

impl FileKind {
    /// The first letter of `ls -l`.
    pub const fn letter(self) -> char {
        match self {
            Self::File => '-',
            Self::Directory => 'd',
            Self::Symlink => 'l',
            Self::Fifo => 'p',
            Self::CharDevice(..) => 'c',
            Self::BlockDevice(..) => 'b',
            Self::Socket => 's',
            Self::Other => '?',
        }
    }

    /// From the upper four bits of a POSIX mode, which all Unix filesystems keep alike; `device` is asked for
    /// major and minor only where they matter.
    pub fn of_mode(mode: u32, device: impl FnOnce() -> (u32, u32)) -> Self {
        match mode & 0o170_000 {
            0o100_000 => Self::File,
            0o040_000 => Self::Directory,
            0o120_000 => Self::Symlink,
            0o010_000 => Self::Fifo,
            0o140_000 => Self::Socket,
            0o020_000 => {
                let (major, minor) = device();
                Self::CharDevice(major, minor)
            }
            0o060_000 => {
                let (major, minor) = device();
                Self::BlockDevice(major, minor)
            }
            _ => Self::Other,
        }
    }
}

/// A time: seconds since 1970 UTC and nanoseconds behind them. Filesystems that keep local time without a
/// zone (FAT, exFAT without offset) are read as if it was UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time {
    /// Seconds since 1970-01-01T00:00:00Z; negative before.
    pub seconds: i64,
    /// Less than 1,000,000,000.
    pub nanos: u32,
}

impl Time {
    /// The times of Windows: 100 ns since 1601. `None` for 0, which means none.
    pub fn of_filetime(filetime: u64) -> Option<Self> {
        /// Seconds between 1601 and 1970.
        const BEFORE_UNIX: i64 = 11_644_473_600;
        let seconds = i64::try_from(filetime / 10_000_000).ok()?.checked_sub(BEFORE_UNIX)?;
        let nanos = u32::try_from(filetime % 10_000_000).ok()?.checked_mul(100)?;
        (filetime != 0).then_some(Self { seconds, nanos })
    }
}

/// What is known of a file besides its bytes. `None`: this filesystem does not keep it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Metadata {
    /// What sort.
    pub kind: FileKind,
    /// Bytes of its content; of a symbolic link those of its target.
    pub size: u64,
    /// Bytes that it takes on the disk.
    pub allocated: Option<u64>,
    /// Names that it has; 1 where there are no hard links.
    pub links: u32,
    /// The twelve lower bits of a POSIX mode.
    pub mode: Option<u16>,
    /// Owner.
    pub uid: Option<u32>,
    /// Group.
    pub gid: Option<u32>,
    /// Attributes of DOS and Windows: bit 0 read-only, 1 hidden, 2 system, 5 archive.
    pub attributes: Option<u32>,
    /// Content changed.
    pub modified: Option<Time>,
    /// Content read.
    pub accessed: Option<Time>,
    /// Metadata changed.
    pub changed: Option<Time>,
    /// Made.
    pub created: Option<Time>,
}

impl Metadata {
    /// With a kind and a size, and nothing else known.
    pub fn new(kind: FileKind, size: u64) -> Self {
        Self {
            kind,
            size,
            allocated: None,
            links: 1,
            mode: None,
            uid: None,
            gid: None,
            attributes: None,
            modified: None,
            accessed: None,
            changed: None,
            created: None,
        }
    }
}

/// One name in a directory. `.` and `..` are not among them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirEntry {
    /// One component, in the bytes of the filesystem; UTF-16 names as UTF-8 (unpaired surrogates as WTF-8).
    pub name: Vec<u8>,
    /// The file.
    pub node: NodeId,
    /// What sort, where the directory says so or it costs nothing to know.
    pub kind: Option<FileKind>,
}

/// A stream besides the content: an alternate data stream of NTFS, a resource fork.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stream {
    /// Its name.
    pub name: Vec<u8>,
    /// Bytes.
    pub size: u64,
}

/// An extended attribute, with the prefix of its namespace as Linux has it: `user.comment`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Xattr {
    /// Its name.
    pub name: Vec<u8>,
    /// Its value.
    pub value: Vec<u8>,
}

/// Whether two names that differ in case only are one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Case {
    /// `a` and `A` are two files.
    Sensitive,
    /// They are one, and it keeps the name that it was made with.
    Insensitive,
}

impl Case {
    /// Are these names one?
    pub fn same(self, one: &[u8], other: &[u8]) -> bool {
        if one == other {
            return true;
        }
        let fold = |name| {
            let name = std::str::from_utf8(name).ok()?;
            Some(name.chars().flat_map(char::to_uppercase).collect::<String>())
        };
        self == Self::Insensitive && fold(one).is_some_and(|one| fold(other) == Some(one))
    }
}

/// In what condition the files are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    /// Closed properly.
    Clean,
    /// Not closed properly; its journal or log was replayed in memory, so that the newest files are there.
    Replayed,
    /// Not closed properly, and shown as it lies on the disk: the newest changes may be missing.
    Stale,
}

/// What a filesystem is, and what of it this reader does not show. Always told to the user.
#[derive(Clone, Debug)]
pub struct Info {
    /// As blkid calls it: `ext4`.
    pub type_name: &'static str,
    /// Whose reader.
    pub engine: &'static str,
    /// Names.
    pub case: Case,
    /// Replayed, or not.
    pub condition: Condition,
    /// Sentences: features that are not covered, and what that hides.
    pub missing: Vec<String>,
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Clean => "clean",
            Self::Replayed => "not cleanly unmounted; its journal was replayed in memory",
            Self::Stale => "not cleanly unmounted; the newest changes may be missing",
        })
    }
}

/// What a listing calls for each name; `false` ends it.
pub type Each<'a> = &'a mut dyn FnMut(DirEntry) -> Result<bool>;
