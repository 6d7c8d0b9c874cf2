//! Inodes: a common head, and fourteen kinds of what follows, seven of them longer forms of the others.

use super::super::bytes::{Fields, corrupt};
use super::super::{FileKind, Metadata, Time};
use super::packed::{Packed, Place};
use block::Result;

/// No fragment, no attributes.
const NONE: u32 = u32::MAX;
/// The longest target that Linux makes; more is damage.
const LONGEST_TARGET: u64 = 65535;

/// What is known of a file.
pub(super) struct Inode {
    /// Twelve bits.
    mode: u16,
    /// Places in the table of owners.
    pub(super) owner: u16,
    pub(super) group: u16,
    modified: u32,
    links: u32,
    /// Bytes of content or of a target.
    pub(super) size: u64,
    /// Its number in the table of attributes.
    pub(super) xattr: Option<u32>,
    pub(super) body: Body,
}

/// What depends on the kind.
pub(super) enum Body {
    /// Where its names begin, counted from the table of directories, and bytes of them.
    Directory {
        reference: u64,
        len: u32,
    },
    /// Where its first block begins, which fragment holds its end and where in it, and where the list of
    /// block lengths is.
    File {
        start: u64,
        fragment: Option<(u32, u32)>,
        list: Place,
    },
    /// Where the target is.
    Symlink(Place),
    CharDevice(u32),
    BlockDevice(u32),
    Fifo,
    Socket,
}

impl Inode {
    pub(super) fn read(packed: &Packed, mut place: Place) -> Result<Self> {
        let head = packed.bytes(&mut place, 16)?;
        let head = Fields::new(&head, "an inode");
        let kind = head.u16(0)?;
        let len = match kind {
            1 | 2 => 16,
            3..=5 => 8,
            6 | 7 => 4,
            8 => 24,
            9 => 40,
            10 => 8, // its attributes come behind the target
            11 | 12 => 12,
            13 | 14 => 8,
            other => return Err(corrupt(format!("an inode of kind {other}"))),
        };
        let body = packed.bytes(&mut place, len)?;
        let f = Fields::new(&body, "an inode");
        let fragment = |at: usize| -> Result<_> {
            let (index, offset) = (f.u32(at)?, f.u32(at.saturating_add(4))?);
            Ok((index != NONE).then_some((index, offset)))
        };
        let directory = |block: u32, offset: u16, len: u32| Body::Directory {
            reference: (u64::from(block) << 16) | u64::from(offset),
            // It counts three more, for the names that every directory has.
            len: len.saturating_sub(3),
        };
        let (links, size, xattr, body) = match kind {
            1 => (f.u32(4)?, 0, NONE, directory(f.u32(0)?, f.u16(10)?, f.u16(8)?.into())),
            8 => (f.u32(0)?, 0, f.u32(20)?, directory(f.u32(8)?, f.u16(18)?, f.u32(4)?)),
            2 => {
                let file = Body::File { start: f.u32(0)?.into(), fragment: fragment(4)?, list: place };
                (1, f.u32(12)?.into(), NONE, file)
            }
            9 => {
                let file = Body::File { start: f.u64(0)?, fragment: fragment(28)?, list: place };
                (f.u32(24)?, f.u64(8)?, f.u32(36)?, file)
            }
            3 | 10 => {
                let (target, size) = (place, u64::from(f.u32(4)?));
                if size > LONGEST_TARGET {
                    return Err(corrupt(format!("a link with a target of {size} bytes")));
                }
                let mut xattr = NONE;
                if kind == 10 {
                    packed.bytes(&mut place, usize::try_from(size).unwrap_or(0))?;
                    xattr = Fields::new(&packed.bytes(&mut place, 4)?, "a link").u32(0)?;
                }
                (f.u32(0)?, size, xattr, Body::Symlink(target))
            }
            4 => (f.u32(0)?, 0, NONE, Body::BlockDevice(f.u32(4)?)),
            11 => (f.u32(0)?, 0, f.u32(8)?, Body::BlockDevice(f.u32(4)?)),
            5 => (f.u32(0)?, 0, NONE, Body::CharDevice(f.u32(4)?)),
            12 => (f.u32(0)?, 0, f.u32(8)?, Body::CharDevice(f.u32(4)?)),
            6 => (f.u32(0)?, 0, NONE, Body::Fifo),
            13 => (f.u32(0)?, 0, f.u32(4)?, Body::Fifo),
            7 => (f.u32(0)?, 0, NONE, Body::Socket),
            _ => (f.u32(0)?, 0, f.u32(4)?, Body::Socket),
        };
        Ok(Self {
            mode: head.u16(2)? & 0o7777,
            owner: head.u16(4)?,
            group: head.u16(6)?,
            modified: head.u32(8)?,
            links,
            size,
            xattr: (xattr != NONE).then_some(xattr),
            body,
        })
    }

    /// All but the owners, which are in a table.
    pub(super) fn metadata(&self) -> Metadata {
        let kind = match self.body {
            Body::Directory { .. } => FileKind::Directory,
            Body::File { .. } => FileKind::File,
            Body::Symlink(_) => FileKind::Symlink,
            Body::CharDevice(device) => FileKind::CharDevice(major(device), minor(device)),
            Body::BlockDevice(device) => FileKind::BlockDevice(major(device), minor(device)),
            Body::Fifo => FileKind::Fifo,
            Body::Socket => FileKind::Socket,
        };
        let mut known = Metadata::new(kind, self.size);
        known.links = self.links;
        known.mode = Some(self.mode);
        known.modified = Some(Time { seconds: self.modified.into(), nanos: 0 });
        known
    }
}

fn major(device: u32) -> u32 {
    (device >> 8) & 0xFFF
}

fn minor(device: u32) -> u32 {
    (device & 0xFF) | ((device >> 12) & 0xF_FF00)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn device_numbers_have_two_halves_of_a_minor() {
        assert_eq!((major(0x0801), minor(0x0801)), (8, 1));
        assert_eq!((major(0x0010_0800), minor(0x0010_0800)), (8, 0x100));
    }
}
