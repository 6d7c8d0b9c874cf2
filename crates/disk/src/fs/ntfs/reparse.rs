//! Reparse points: what makes a file something that another part of Windows, or of WSL, understands.

use super::names::outside;
use crate::fs::FileKind;
use block::field::{u16_at, u32_at};

/// Bytes that one has at most.
pub(super) const REPARSE_MAX: u64 = 64 << 10;

const MOUNT_POINT: u32 = 0xA000_0003;
const SYMLINK: u32 = 0xA000_000C;
const LX_SYMLINK: u32 = 0xA000_001D;
const AF_UNIX: u32 = 0x8000_0023;
const LX_FIFO: u32 = 0x8000_0024;
const LX_CHR: u32 = 0x8000_0025;
const LX_BLK: u32 = 0x8000_0026;
const DEDUP: u32 = 0x8000_0013;
const WOF: u32 = 0x8000_0017;
/// Of a family of sixteen: files that are, or can be, somewhere else than here.
const CLOUD: u32 = 0x9000_001A;
const CLOUD_MASK: u32 = 0xFFFF_0FFF;
/// A tag that stands for another file.
const NAME_SURROGATE: u32 = 0x2000_0000;

/// Do these attributes of a file in the cloud say that it has no bytes here?
pub(crate) const fn is_away(attributes: u32) -> bool {
    const OFFLINE: u32 = 0x1000;
    const RECALL_ON_OPEN: u32 = 0x4_0000;
    const RECALL_ON_DATA_ACCESS: u32 = 0x40_0000;
    attributes & (OFFLINE | RECALL_ON_OPEN | RECALL_ON_DATA_ACCESS) != 0
}

/// What a tag means for us.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Reparse {
    /// It leads elsewhere: the target as it is shown.
    Link(Vec<u8>),
    /// A socket, a pipe or a device of WSL; of devices major and minor are kept elsewhere.
    Special(FileKind),
    /// Compressed by Windows from outside: how.
    Wof(Vec<u8>),
    /// A file in the cloud, or a directory of such; perhaps here too.
    Cloud,
    /// A file whose bytes are shared with others by Windows Server.
    Dedup,
    /// Any other; `true`: instead of the file, not beside it.
    Other(u32, bool),
}

impl Reparse {
    /// From a REPARSE_POINT attribute. `None` if it is damaged.
    pub(crate) fn parse(value: &[u8]) -> Option<Self> {
        let (tag, length) = (u32_at(value, 0)?, usize::from(u16_at(value, 4)?));
        let data = value.get(8..)?;
        let data = data.get(..length.min(data.len()))?;
        Some(match tag {
            // Where names are, behind the head of four numbers, and of links a fifth.
            MOUNT_POINT => Self::Link(windows_target(data, 8)?),
            SYMLINK => Self::Link(windows_target(data, 12)?),
            LX_SYMLINK => Self::Link(data.get(4..)?.to_vec()),
            AF_UNIX => Self::Special(FileKind::Socket),
            LX_FIFO => Self::Special(FileKind::Fifo),
            LX_CHR => Self::Special(FileKind::CharDevice(0, 0)),
            LX_BLK => Self::Special(FileKind::BlockDevice(0, 0)),
            WOF => Self::Wof(data.to_vec()),
            DEDUP => Self::Dedup,
            _ if tag & CLOUD_MASK == CLOUD => Self::Cloud,
            _ => Self::Other(tag, tag & NAME_SURROGATE != 0),
        })
    }
}

/// The target as people are shown it, or the one that the system follows where there is no other; with
/// slashes.
fn windows_target(data: &[u8], names: usize) -> Option<Vec<u8>> {
    let name = |at: usize| {
        let (offset, length) = (u16_at(data, at)?, u16_at(data, at.checked_add(2)?)?);
        data.get(names..)?.get(offset.into()..)?.get(..length.into())
    };
    let target = match name(4)? {
        [] => outside(name(0)?).strip_prefix(b"\\??\\").map(<[u8]>::to_vec),
        print => Some(outside(print)),
    };
    let mut target = target.or_else(|| name(0).map(outside))?;
    target.iter_mut().filter(|byte| **byte == b'\\').for_each(|byte| *byte = b'/');
    Some(target)
}

/// What services for Unix (Interix), and ntfs-3g with them, keep in the content of a system file: `None` if
/// it is none of it. `content`: its beginning; `size`: all of it.
pub(super) fn interix(content: &[u8], size: u64, hidden: bool) -> Option<(FileKind, Vec<u8>)> {
    let number = |at: usize| u32_at(content, at);
    let kind = match size {
        0 if !hidden => FileKind::Fifo,
        1 if !hidden => FileKind::Socket,
        24 if content.starts_with(b"IntxCHR\0") => FileKind::CharDevice(number(8)?, number(16)?),
        24 if content.starts_with(b"IntxBLK\0") => FileKind::BlockDevice(number(8)?, number(16)?),
        _ => {
            let target = content.strip_prefix(b"IntxLNK\x01").filter(|target| !target.is_empty())?;
            return Some((FileKind::Symlink, outside(target)));
        }
    };
    Some((kind, vec![]))
}

/// Bytes that such content has at most.
pub(super) const INTERIX_MAX: u64 = 8 + 2 * 4096;

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects, clippy::indexing_slicing)]
mod tests {
    use super::*;

    fn utf16(text: &str) -> Vec<u8> {
        text.encode_utf16().flat_map(u16::to_le_bytes).collect()
    }

    fn point(tag: u32, data: &[u8]) -> Vec<u8> {
        let length = u16::try_from(data.len()).unwrap();
        [&tag.to_le_bytes()[..], &length.to_le_bytes(), &[0, 0], data].concat()
    }

    /// Both names of a link, the one for the system first.
    fn names(substitute: &str, print: &str, flags: &[u8]) -> Vec<u8> {
        let (substitute, print) = (utf16(substitute), utf16(print));
        let (s, p) = (u16::try_from(substitute.len()).unwrap(), u16::try_from(print.len()).unwrap());
        let head = [0, s, s, p].map(u16::to_le_bytes).concat();
        [&head, flags, &substitute, &print].concat()
    }

    #[test]
    fn links() {
        let link = |tag, data: Vec<u8>| match Reparse::parse(&point(tag, &data)) {
            Some(Reparse::Link(target)) => String::from_utf8(target).unwrap(),
            other => panic!("{other:?}"),
        };
        assert_eq!(link(MOUNT_POINT, names("\\??\\C:\\Users", "C:\\Users", &[])), "C:/Users");
        assert_eq!(link(MOUNT_POINT, names("\\??\\Volume{1}\\", "", &[])), "Volume{1}/");
        assert_eq!(link(SYMLINK, names("..\\gr\u{FC}n", "..\\gr\u{FC}n", &[1, 0, 0, 0])), "../gr\u{FC}n");
        assert_eq!(link(SYMLINK, names("rel\\x", "", &[1, 0, 0, 0])), "rel/x");
        assert_eq!(link(LX_SYMLINK, b"\x02\0\0\0/etc/a\\b".to_vec()), "/etc/a\\b");
    }

    #[test]
    fn what_is_cut_short_is_none() {
        let whole = point(SYMLINK, &names("a", "b", &[0; 4]));
        for len in 0..whole.len() {
            assert_eq!(Reparse::parse(&whole[..len]), None, "{len}");
        }
    }

    #[test]
    fn tags() {
        let parse = |tag| Reparse::parse(&point(tag, &[])).unwrap();
        assert_eq!(parse(0x9000_601A), Reparse::Cloud);
        assert_eq!(parse(0x8000_001B), Reparse::Other(0x8000_001B, false));
        assert_eq!(parse(0xA000_0019), Reparse::Other(0xA000_0019, true));
        assert_eq!(parse(AF_UNIX), Reparse::Special(FileKind::Socket));
    }

    #[test]
    fn special_files_of_interix() {
        let kind = |content: &[u8], hidden| interix(content, u64::try_from(content.len()).unwrap(), hidden);
        assert_eq!(kind(b"", false), Some((FileKind::Fifo, vec![])));
        assert_eq!((kind(b"", true), kind(b"some text", false)), (None, None));
        let device = [&b"IntxBLK\0"[..], &8_u64.to_le_bytes(), &1_u64.to_le_bytes()].concat();
        assert_eq!(kind(&device, true), Some((FileKind::BlockDevice(8, 1), vec![])));
        let link = [&b"IntxLNK\x01"[..], &utf16("a/b")].concat();
        assert_eq!(kind(&link, false), Some((FileKind::Symlink, b"a/b".to_vec())));
    }
}
