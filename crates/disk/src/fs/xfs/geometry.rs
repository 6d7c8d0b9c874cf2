//! The superblock of XFS: sizes, addresses, features (kernel, `fs/xfs/libxfs/xfs_format.h`).

use super::corrupt;
use crate::fs::sums::crc32c_without;
use block::field::{be16_at, be32_at, be64_at, bytes_at};
use block::{Error, ErrorKind, Result};

/// What a feature that changes how files are read means to us.
enum Known {
    /// Read rightly.
    Yes,
    /// Read, and the user is told this sentence.
    Told(&'static str),
    /// Named in the refusal.
    No(&'static str),
}

/// `sb_features_incompat` of version 5, bit by bit. Those that are not here are unknown.
const INCOMPAT: &[(u32, Known)] = &[
    (1 << 0, Known::Yes), // FTYPE: directories say what sort each file is
    (1 << 1, Known::Yes), // SPINODES: chunks of inodes with gaps; inodes are found by number
    (META_UUID, Known::Yes),
    (1 << 3, Known::Yes), // BIGTIME
    (1 << 4, Known::Told("it is marked as in need of xfs_repair")),
    (1 << 5, Known::Yes), // NREXT64: wider counters of extents
    (1 << 6, Known::Yes), // EXCHRANGE: a way to write
    (1 << 7, Known::Yes), // PARENT: attributes of a kind that is not shown
    (1 << 8, Known::Yes), // METADIR: files of the filesystem's own in a tree of their own
    (1 << 9, Known::No("zoned realtime groups")),
    (1 << 10, Known::No("gaps between zones")),
];

/// Metadata carry another ID than the superblock shows.
const META_UUID: u32 = 1 << 2;

/// `sb_features2` of version 4 that are known: lazy counters, attr2, 32-bit projects, types in directories.
const FEATURES2: u32 = 0x2 | 0x8 | 0x80 | FEATURES2_FTYPE;
const FEATURES2_FTYPE: u32 = 0x200;
/// `sb_versionnum`: directories of version 2, of which there is always use; more bits in `sb_features2`;
/// names that differ in case only are one.
const DIRV2: u16 = 0x2000;
const MORE_BITS: u16 = 0x8000;
const ASCII_CI: u16 = 0x4000;

/// Sizes in bytes and addresses.
#[derive(Clone, Debug)]
pub(super) struct Geometry {
    /// Bytes of a block.
    pub(super) block: u64,
    /// Blocks of the volume.
    pub(super) blocks: u64,
    group_blocks: u64,
    /// Bits of a block number that are the block in its group.
    group_log: u32,
    /// Bits of an inode number that are the inode in its block.
    inode_log: u32,
    /// Bytes of an inode.
    pub(super) inode: usize,
    pub(super) root: u64,
    /// Bytes of a block of a directory.
    pub(super) dir_block: u64,
    pub(super) v5: bool,
    /// Entries of directories have a byte for what sort.
    pub(super) ftype: bool,
    pub(super) ascii_ci: bool,
    /// The ID that its log carries.
    pub(super) uuid: [u8; 16],
    /// The one that its metadata carry.
    pub(super) meta_uuid: [u8; 16],
    /// First byte of the log; `None` if it is on another device.
    pub(super) log_start: Option<u64>,
    pub(super) log_len: u64,
    pub(super) log_incompat: u32,
    pub(super) told: Vec<String>,
}

impl Geometry {
    pub(super) fn parse(sb: &[u8]) -> Result<Self> {
        let unsupported = |what: String| Err(Error::new(ErrorKind::Unsupported, what));
        let fields = || -> Option<(u16, u32, u32, u32)> {
            Some((be16_at(sb, 100)?, be32_at(sb, 200)?, be32_at(sb, 216)?, be32_at(sb, 220)?))
        };
        let (version, features2, incompat, log_incompat) = fields().ok_or_else(|| corrupt("superblock"))?;
        let v5 = version & 0xF == 5;
        let mut told = vec![];
        if v5 {
            let named = INCOMPAT.iter().fold(0, |bits, (bit, _)| bits | bit);
            if incompat & !named != 0 {
                return unsupported(format!("unknown features {:#x}", incompat & !named));
            }
            for (_, known) in INCOMPAT.iter().filter(|(bit, _)| incompat & bit != 0) {
                match known {
                    Known::Yes => {}
                    Known::Told(words) => told.push((*words).to_owned()),
                    Known::No(words) => return unsupported((*words).to_owned()),
                }
            }
        } else if version & 0xF != 4 || version & DIRV2 == 0 {
            return unsupported(format!("version {} with its old directories", version & 0xF));
        } else if version & MORE_BITS != 0 && features2 & !FEATURES2 != 0 {
            return unsupported(format!("unknown features {:#x}", features2 & !FEATURES2));
        }
        let ftype =
            if v5 { incompat & 1 != 0 } else { version & MORE_BITS != 0 && features2 & FEATURES2_FTYPE != 0 };
        let mut geometry = Self::sizes(sb).ok_or_else(|| corrupt("superblock"))?;
        geometry.told = told;
        if let Some(meta_uuid) = bytes_at(sb, 248).filter(|_| v5 && incompat & META_UUID != 0) {
            geometry.meta_uuid = meta_uuid;
        }
        (geometry.v5, geometry.ftype, geometry.ascii_ci) = (v5, ftype, version & ASCII_CI != 0);
        geometry.log_incompat = if v5 { log_incompat } else { 0 };
        Ok(geometry)
    }

    fn sizes(sb: &[u8]) -> Option<Self> {
        let block_log = u32::from(*sb.get(120)?);
        let block = 1u64.checked_shl(block_log).filter(|block| (512..=65536).contains(block))?;
        let dir_block = block.checked_shl(u32::from(*sb.get(192)?)).filter(|size| *size <= 65536)?;
        let inode = usize::from(be16_at(sb, 104)?);
        let inode_log = u32::from(*sb.get(123)?);
        let (group_blocks, group_log) = (u64::from(be32_at(sb, 84)?), u32::from(*sb.get(124)?));
        let sane = u64::from(be32_at(sb, 4)?) == block
            && (256..=2048).contains(&inode)
            && inode.is_power_of_two()
            && 1u64.checked_shl(inode_log)?.checked_mul(u64::try_from(inode).ok()?) == Some(block)
            && group_log <= 32
            && group_blocks != 0
            && group_blocks <= 1u64.checked_shl(group_log)?;
        let mut geometry = Self {
            block,
            blocks: be64_at(sb, 8)?,
            group_blocks,
            group_log,
            inode_log,
            inode,
            root: be64_at(sb, 56)?,
            dir_block,
            v5: false,
            ftype: false,
            ascii_ci: false,
            uuid: bytes_at(sb, 32)?,
            meta_uuid: bytes_at(sb, 32)?,
            log_start: None,
            log_len: u64::from(be32_at(sb, 96)?).checked_mul(block)?,
            log_incompat: 0,
            told: vec![],
        };
        let log = be64_at(sb, 48)?;
        geometry.log_start = if log == 0 { None } else { Some(geometry.byte(log, 1)?) };
        sane.then_some(geometry)
    }

    /// The first byte of `count` blocks from block number `number` on: a group and a block in it, each group
    /// taking a power of two. `None` if they are not all in one group of the volume.
    pub(super) fn byte(&self, number: u64, count: u64) -> Option<u64> {
        let group = number.checked_shr(self.group_log)?;
        let within = number.checked_sub(group.checked_shl(self.group_log)?)?;
        if within.checked_add(count)? > self.group_blocks {
            return None;
        }
        let first = group.checked_mul(self.group_blocks)?.checked_add(within)?;
        if first.checked_add(count)? > self.blocks {
            return None;
        }
        first.checked_mul(self.block)
    }

    /// The first byte of an inode.
    pub(super) fn inode_byte(&self, number: u64) -> Option<u64> {
        let block = number.checked_shr(self.inode_log)?;
        let within = number.checked_sub(block.checked_shl(self.inode_log)?)?;
        self.byte(block, 1)?.checked_add(within.checked_mul(u64::try_from(self.inode).ok()?)?)
    }

    /// The number of the first inode in a block of a group.
    pub(super) fn first_inode(&self, group: u32, block: u32) -> Option<u64> {
        let number = u64::from(group).checked_shl(self.group_log)? | u64::from(block);
        number.checked_shl(self.inode_log)
    }

    /// Bytes of a group's first block.
    pub(super) fn group_byte(&self, group: u32, block: u32, count: u64) -> Option<u64> {
        self.byte(u64::from(group).checked_shl(self.group_log)? | u64::from(block), count)
    }

    /// Version 5 has a checksum in all metadata: at byte `at`, of the whole block. `what` it is, for the error.
    pub(super) fn check(&self, block: &[u8], at: usize, what: &str) -> Result<()> {
        let stored = bytes_at(block, at).map(u32::from_le_bytes);
        match !self.v5 || (stored.is_some() && stored == crc32c_without(block, at)) {
            true => Ok(()),
            false => Err(corrupt(&format!("checksum of {what}"))),
        }
    }
}

#[cfg(test)]
#[allow(clippy::indexing_slicing, clippy::arithmetic_side_effects)]
mod tests {
    use super::*;

    /// 4 groups of 1000 blocks of 4 KiB, inodes of 512 bytes.
    fn made(incompat: u32) -> Vec<u8> {
        let mut sb = vec![0; 512];
        let mut put = |at: usize, bytes: &[u8]| sb[at..at + bytes.len()].copy_from_slice(bytes);
        put(4, &4096u32.to_be_bytes());
        put(8, &3900u64.to_be_bytes());
        put(48, &0u64.to_be_bytes());
        put(84, &1000u32.to_be_bytes());
        put(100, &(0xB4A5u16).to_be_bytes());
        put(104, &512u16.to_be_bytes());
        put(120, &[12]);
        put(123, &[3, 10]);
        put(216, &incompat.to_be_bytes());
        sb
    }

    #[test]
    fn groups_take_a_power_of_two() {
        let geometry = Geometry::parse(&made(1)).unwrap();
        assert_eq!(geometry.byte(1024, 1), Some(1000 * 4096));
        assert_eq!(geometry.byte(999, 1), Some(999 * 4096));
        assert_eq!((geometry.byte(999, 2), geometry.byte(1000, 1)), (None, None));
        assert_eq!((geometry.byte(3 * 1024 + 899, 1), geometry.byte(3 * 1024 + 900, 1)).1, None);
        assert_eq!(geometry.byte(u64::MAX, u64::MAX), None);
        assert_eq!(geometry.inode_byte((1024 << 3) | 5), Some(1000 * 4096 + 5 * 512));
        assert_eq!(geometry.first_inode(1, 7), Some((1024 + 7) << 3));
    }

    #[test]
    fn unknown_features_are_refused_by_name() {
        let refused = |incompat| {
            let error = Geometry::parse(&made(incompat)).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Unsupported);
            error.to_string()
        };
        assert!(refused(1 | 1 << 20).contains("0x100000"));
        assert!(refused(1 << 9).contains("zoned"));
        assert_eq!(Geometry::parse(&made(1 << 4)).unwrap().told.len(), 1);
        let mut old = made(0);
        old[100..102].copy_from_slice(&0x0003u16.to_be_bytes());
        assert_eq!(Geometry::parse(&old).unwrap_err().kind(), ErrorKind::Unsupported);
    }

    #[test]
    fn sizes_that_do_not_fit_are_corrupt() {
        for (at, byte) in [(120, 9), (120, 60), (123, 4), (124, 63), (124, 9), (192, 200), (104, 1)] {
            let mut sb = made(1);
            sb[at] = byte;
            assert_eq!(Geometry::parse(&sb).unwrap_err().kind(), ErrorKind::Corrupt, "{at}");
        }
        assert_eq!(Geometry::parse(&made(1)[..200]).unwrap_err().kind(), ErrorKind::Corrupt);
    }
}
