//! Records of the catalog: files, folders, and which name belongs to which number.

use super::super::bytes::{Fields, corrupt};
use super::super::{FileKind, Metadata, Time};
use block::Result;

/// Seconds between 1904 and 1970.
const BEFORE_UNIX: i64 = 2_082_844_800;
/// In the flags of the owner: its content is compressed.
const COMPRESSED: u8 = 0x20;

/// Bytes of a fork and the first eight pieces of where they lie: first block and how many.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fork {
    pub(super) size: u64,
    pub(super) blocks: u32,
    pub(super) extents: [(u32, u32); 8],
}

impl Fork {
    pub(super) fn read(f: Fields<'_>, at: usize) -> Result<Self> {
        let f = f.part(at, 80)?;
        Ok(Self { size: f.be64(0)?, blocks: f.be32(12)?, extents: extents(f, 16)? })
    }
}

/// Eight pieces.
pub(super) fn extents(f: Fields<'_>, at: usize) -> Result<[(u32, u32); 8]> {
    let mut extents = [(0, 0); 8];
    for (number, extent) in (0_usize..).zip(&mut extents) {
        let at = at.saturating_add(number.saturating_mul(8));
        *extent = (f.be32(at)?, f.be32(at.saturating_add(4))?);
    }
    Ok(extents)
}

/// A file or folder.
pub(super) struct Record {
    pub(super) id: u32,
    pub(super) is_folder: bool,
    dates: [u32; 4],
    uid: u32,
    gid: u32,
    flags: u8,
    mode: u16,
    /// Device, or number of a linked file, or how many links one has.
    pub(super) special: u32,
    /// What sort the Finder says it is, and who made it.
    pub(super) made: [u8; 8],
    /// Content and resources; of a folder nothing.
    pub(super) forks: Option<(Fork, Fork)>,
}

impl Record {
    /// `None`: the record says which name belongs to a number.
    pub(super) fn read(body: &[u8]) -> Result<Option<Self>> {
        let f = Fields::new(body, "a record of the catalog");
        let is_folder = match f.be16(0)? {
            1 => true,
            2 => false,
            3 | 4 => return Ok(None),
            other => return Err(corrupt(format!("a record of kind {other} in the catalog"))),
        };
        let made = f.slice(48, 8)?.first_chunk().copied().unwrap_or_default();
        let forks = if is_folder { None } else { Some((Fork::read(f, 88)?, Fork::read(f, 168)?)) };
        Ok(Some(Self {
            id: f.be32(8)?,
            is_folder,
            dates: [f.be32(12)?, f.be32(16)?, f.be32(20)?, f.be32(24)?],
            uid: f.be32(32)?,
            gid: f.be32(36)?,
            flags: f.u8(41)?,
            mode: f.be16(42)?,
            special: f.be32(44)?,
            made,
            forks,
        }))
    }

    pub(super) fn kind(&self) -> FileKind {
        let device = || (self.special >> 24, self.special & 0xFF_FFFF);
        match FileKind::of_mode(self.mode.into(), device) {
            _ if self.is_folder => FileKind::Directory,
            _ if &self.made == b"slnkrhap" => FileKind::Symlink,
            // Nothing that Unix wrote, or nonsense.
            FileKind::Other | FileKind::Directory => FileKind::File,
            kind => kind,
        }
    }

    /// A name of a file that lies in the folder of those with several names.
    pub(super) fn is_link(&self) -> bool {
        &self.made == b"hlnkhfs+" && !self.is_folder
    }

    /// The same of a folder.
    pub(super) fn is_folder_link(&self) -> bool {
        &self.made == b"fdrpMACS" && !self.is_folder
    }

    pub(super) fn is_compressed(&self) -> bool {
        self.flags & COMPRESSED != 0 && !self.is_folder
    }

    /// `linked`: it has as many names as it says.
    pub(super) fn metadata(&self, size: u64, linked: bool) -> Metadata {
        let mut known = Metadata::new(self.kind(), size);
        let time = |date: &u32| {
            (*date != 0).then(|| Time { seconds: i64::from(*date).saturating_sub(BEFORE_UNIX), nanos: 0 })
        };
        let [created, modified, changed, accessed] = &self.dates;
        (known.created, known.modified) = (time(created), time(modified));
        (known.changed, known.accessed) = (time(changed), time(accessed));
        // Before Mac OS X nobody wrote these.
        if self.mode != 0 {
            (known.mode, known.uid, known.gid) = (Some(self.mode & 0o7777), Some(self.uid), Some(self.gid));
        }
        if linked {
            known.links = self.special.max(1);
        }
        known
    }
}
