//! Inodes of XFS: what is known of a file, and its two forks.

use super::{Volume, corrupt};
use crate::fs::{FileKind, Metadata, Time};
use block::field::{be16_at, be32_at, be64_at};
use block::{Error, ErrorKind, Result};

/// What an inode's fork holds: `enum xfs_dinode_fmt`.
pub(super) const FORMAT_LOCAL: u8 = 1;
pub(super) const FORMAT_EXTENTS: u8 = 2;
pub(super) const FORMAT_BTREE: u8 = 3;

/// Bytes in front of the forks, of inodes before and since version 3.
pub(super) const CORE_V2: usize = 100;
pub(super) const CORE_V3: usize = 176;
/// Where the checksum is.
pub(super) const CRC: usize = 100;

/// `di_flags`: content on the realtime device.
const FLAG_REALTIME: u16 = 1;
/// `di_flags2`: times as nanoseconds in 64 bits; counters of extents that are wider.
const FLAG2_BIGTIME: u64 = 1 << 3;
const FLAG2_NREXT64: u64 = 1 << 4;
/// A file of the filesystem's own, whose count of links is something else.
const FLAG2_METADATA: u64 = 1 << 5;

/// The content of a file, or its attributes.
pub(super) struct Fork {
    pub(super) format: u8,
    /// Extents that it has.
    pub(super) extents: u64,
    /// What of it is in the inode.
    pub(super) bytes: Vec<u8>,
}

/// A file.
pub(super) struct Inode {
    pub(super) number: u64,
    pub(super) metadata: Metadata,
    pub(super) realtime: bool,
    pub(super) content: Fork,
    pub(super) attributes: Option<Fork>,
}

impl Inode {
    pub(super) fn read(volume: &Volume, number: u64) -> Result<Self> {
        let geometry = &volume.geometry;
        let at = geometry.inode_byte(number).ok_or_else(|| corrupt(&format!("number of inode {number}")))?;
        let bytes = volume.read(at, geometry.inode)?;
        let what = format!("inode {number}");
        let version = *bytes.get(4).ok_or_else(|| corrupt(&what))?;
        if !bytes.starts_with(b"IN") || version != if geometry.v5 { 3 } else { version.clamp(1, 2) } {
            return Err(corrupt(&what));
        }
        geometry.check(&bytes, CRC, &what)?;
        if be16_at(&bytes, 2) == Some(0) {
            return Err(Error::new(ErrorKind::NotFound, format!("inode {number} is not in use")));
        }
        Self::parse(&bytes, number, geometry.block).ok_or_else(|| corrupt(&what))
    }

    fn parse(bytes: &[u8], number: u64, block: u64) -> Option<Self> {
        let v3 = *bytes.get(4)? == 3;
        let flags2 = if v3 { be64_at(bytes, 120)? } else { 0 };
        if v3 && be64_at(bytes, 152)? != number {
            return None;
        }
        let core = if v3 { CORE_V3 } else { CORE_V2 };
        let (front, behind) = match usize::from(*bytes.get(82)?).checked_mul(8)? {
            0 => (bytes.get(core..)?, None),
            offset => {
                let (front, behind) = bytes.get(core..)?.split_at_checked(offset)?;
                (front, Some(behind))
            }
        };
        let (extents, attr_extents) = match flags2 & FLAG2_NREXT64 != 0 {
            true => (be64_at(bytes, 24)?, be32_at(bytes, 76)?),
            false => (u64::from(be32_at(bytes, 76)?), u32::from(be16_at(bytes, 80)?)),
        };
        let mode = u32::from(be16_at(bytes, 2)?);
        let size = be64_at(bytes, 56).filter(|size| *size <= i64::MAX.unsigned_abs())?;
        let kind = FileKind::of_mode(mode, || {
            let number = be32_at(front, 0).unwrap_or(0);
            (number >> 18, number & 0x3_FFFF)
        });
        let time = |at| time(bytes, at, flags2 & FLAG2_BIGTIME != 0);
        let links = match *bytes.get(4)? {
            1 => u32::from(be16_at(bytes, 6)?),
            _ if flags2 & FLAG2_METADATA != 0 => 1,
            _ => be32_at(bytes, 16)?,
        };
        let metadata = Metadata {
            allocated: be64_at(bytes, 64)?.checked_mul(block),
            links,
            mode: u16::try_from(mode & 0o7777).ok(),
            uid: be32_at(bytes, 8),
            gid: be32_at(bytes, 12),
            accessed: Some(time(32)?),
            modified: Some(time(40)?),
            changed: Some(time(48)?),
            created: if v3 { Some(time(144)?) } else { None },
            ..Metadata::new(kind, size)
        };
        let attributes = behind.map(|fork| {
            let format = *bytes.get(83)?;
            Some(Fork { format, extents: attr_extents.into(), bytes: fork.to_vec() })
        });
        Some(Self {
            number,
            metadata,
            realtime: be16_at(bytes, 90)? & FLAG_REALTIME != 0,
            content: Fork { format: *bytes.get(5)?, extents, bytes: front.to_vec() },
            attributes: match attributes {
                Some(fork) => Some(fork?),
                None => None,
            },
        })
    }

    /// As an error that names it.
    pub(super) fn corrupt(&self, what: &str) -> Error {
        corrupt(&format!("{what} of inode {}", self.number))
    }
}

/// Two halves, seconds and nanoseconds; or nanoseconds since the least time that the halves could say.
fn time(bytes: &[u8], at: usize, big: bool) -> Option<Time> {
    const SECOND: u64 = 1_000_000_000;
    if big {
        let nanos = be64_at(bytes, at)?;
        let seconds = i64::try_from(nanos / SECOND).ok()?.checked_add(i64::from(i32::MIN))?;
        return Some(Time { seconds, nanos: u32::try_from(nanos % SECOND).ok()? });
    }
    let seconds = be32_at(bytes, at)?.cast_signed();
    let nanos = be32_at(bytes, at.checked_add(4)?)?;
    // A number that is no part of a second would be shown as one of a day.
    Some(Time { seconds: seconds.into(), nanos: if u64::from(nanos) < SECOND { nanos } else { 0 } })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_both_kinds() {
        let mut bytes = [0; 8];
        bytes[..4].copy_from_slice(&(-5i32).to_be_bytes());
        bytes[4..].copy_from_slice(&7u32.to_be_bytes());
        assert_eq!(time(&bytes, 0, false), Some(Time { seconds: -5, nanos: 7 }));
        let big = (2_147_483_648u64 + 10_000_000_000) * 1_000_000_000 + 3;
        assert_eq!(time(&big.to_be_bytes(), 0, true), Some(Time { seconds: 10_000_000_000, nanos: 3 }));
        assert_eq!(time(&bytes, 1, false), None);
    }
}
