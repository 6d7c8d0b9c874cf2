//! What is logged of blocks and inodes of XFS, and how it goes into them.

use super::inode::{CORE_V2, CORE_V3, CRC};
use super::items::Item;
use crate::fs::sums::crc32c_without;
use block::field::{be16_at, be64_at, bytes_at, u16_at, u32_at, u64_at};

/// Bytes that are logged of an inode before version 3: up to the list of unlinked ones.
const LOGGED_V2: usize = 96;
/// Bytes for which a bit of a buffer's map stands.
const CHUNK: usize = 128;

/// Parts of an inode that an item has.
const DATA_FORK: u32 = 0x2 | 0x4 | DATA_ROOT;
const DATA_ROOT: u32 = 0x8;
const DEVICE: u32 = 0x10;
const ATTR_FORK: u32 = 0x40 | 0x80 | ATTR_ROOT;
const ATTR_ROOT: u32 = 0x100;

pub(super) fn put(bytes: &mut [u8], at: usize, value: &[u8]) -> Option<()> {
    bytes.get_mut(at..)?.get_mut(..value.len())?.copy_from_slice(value);
    Some(())
}

/// Puts the checksum where it belongs.
pub(super) fn sum(bytes: &mut [u8], at: usize) -> Option<()> {
    let sum = crc32c_without(bytes, at)?;
    put(bytes, at, &sum.to_le_bytes())
}

/// An inode of version 3 that is not in use.
pub(super) fn fresh(inode: &mut [u8], number: u64, generation: u32, uuid: &[u8; 16]) -> Option<()> {
    inode.fill(0);
    put(inode, 0, b"IN")?;
    put(inode, 4, &[3])?;
    put(inode, 92, &generation.to_be_bytes())?;
    put(inode, 96, &[0xFF; 4])?;
    put(inode, 152, &number.to_be_bytes())?;
    put(inode, 160, uuid)?;
    sum(inode, CRC)
}

/// Puts what was logged of a buffer into it: each piece goes where the next bit of the map is set.
pub(super) fn overlay_chunks(item: &Item<'_>, bytes: &mut [u8]) -> Option<()> {
    let words = usize::try_from(u32_at(item.format, 16)?).ok()?;
    let map = item.format.get(20..)?.get(..words.checked_mul(4)?)?;
    let is_set = |chunk: usize| map.get(chunk / 8).is_some_and(|byte| byte & (1 << (chunk % 8)) != 0);
    let mut chunk = 0usize;
    for piece in item.data {
        chunk = (chunk..map.len().checked_mul(8)?).find(|chunk| is_set(*chunk))?;
        put(bytes, chunk.checked_mul(CHUNK)?, piece)?;
        chunk = chunk.checked_add(piece.len().div_ceil(CHUNK))?;
    }
    Some(())
}

/// Puts what was logged of an inode into it; false if it is newer already.
pub(super) fn overlay_inode(item: &Item<'_>, inode: &mut [u8], lsn: u64, v5: bool) -> Option<bool> {
    let fields = u32_at(item.format, 4)?;
    let (core, mut forks) = item.data.split_first()?;
    if u16_at(core, 0)? != be16_at(inode, 0)? || be16_at(inode, 0)? != 0x494E {
        return None;
    }
    let start = if v5 { CORE_V3 } else { CORE_V2 };
    if v5 {
        let there = be64_at(inode, 112)?;
        if there != 0 && there != u64::MAX && there >= lsn {
            return Some(false);
        }
    } else {
        // Before, a counter of 16 bits says so, until it begins anew.
        let (there, logged) = (be16_at(inode, 30)?, u16_at(core, 30)?);
        if logged < there && !(there == u16::MAX && logged < u16::MAX / 2) {
            return Some(false);
        }
    }
    let next_unlinked: [u8; 4] = bytes_at(inode, 96)?;
    put(inode, 0, &turned(core.get(..if v5 { CORE_V3 } else { LOGGED_V2 })?)?)?;
    put(inode, 96, &next_unlinked)?;
    let offset = usize::from(*inode.get(82)?).checked_mul(8)?;
    let area = inode.get_mut(start..)?;
    let (data, attr) = area.split_at_mut_checked(if offset == 0 { area.len() } else { offset })?;
    if fields & DATA_FORK != 0 {
        let (fork, rest) = forks.split_first()?;
        overlay_fork(data, fork, fields & DATA_ROOT != 0, v5)?;
        forks = rest;
    } else if fields & DEVICE != 0 {
        put(data, 0, &u32_at(item.format, 24)?.to_be_bytes())?;
    }
    if fields & ATTR_FORK != 0 {
        overlay_fork(attr, forks.first()?, fields & ATTR_ROOT != 0, v5)?;
    }
    if v5 {
        put(inode, 112, &lsn.to_be_bytes())?;
        sum(inode, CRC)?;
    }
    Some(true)
}

/// The root of a tree was logged as it is in memory, with another header and other room for its keys.
fn overlay_fork(fork: &mut [u8], logged: &[u8], is_root: bool, v5: bool) -> Option<()> {
    if !is_root {
        return put(fork, 0, logged);
    }
    let head = if v5 { 72 } else { 24 };
    let room = |len: usize, head: usize| len.checked_sub(head)?.checked_div(16)?.checked_mul(8);
    let count = usize::from(be16_at(logged, 6)?).checked_mul(8)?;
    let keys = logged.get(head..)?.get(..count)?;
    let pointers = logged.get(head.checked_add(room(logged.len(), head)?)?..)?.get(..count)?;
    let behind = room(fork.len(), 4)?.checked_add(4)?;
    put(fork, 0, logged.get(4..8)?)?;
    put(fork, 4, keys)?;
    put(fork, behind, pointers)
}

/// The core of an inode in the order of the disk: bytes of each number turned round.
fn turned(core: &[u8]) -> Option<Vec<u8>> {
    let mut turned = core.to_vec();
    let flags2 = if core.len() == CORE_V3 { u64_at(core, 120)? } else { 0 };
    let (big_times, wide) = (flags2 & (1 << 3) != 0, flags2 & (1 << 4) != 0);
    let times: &[usize] = if big_times { &[8] } else { &[4, 4] };
    let mut widths = vec![2, 2, 1, 1, 2, 4, 4, 4, 2, 2];
    widths.extend_from_slice(if wide { &[8] } else { &[1, 1, 1, 1, 1, 1, 2] });
    (0..3).for_each(|_| widths.extend_from_slice(times));
    widths.extend_from_slice(&[8, 8, 4, 4, 2, 1, 1, 4, 2, 2, 4]);
    if core.len() == CORE_V3 {
        widths.extend_from_slice(&[4, 4, 8, 8, 8, 4]);
        widths.extend_from_slice(&[1; 12]);
        widths.extend_from_slice(times);
        widths.push(8);
    }
    let mut rest = &mut turned[..];
    for width in widths {
        let (number, behind) = rest.split_at_mut_checked(width)?;
        number.reverse();
        rest = behind;
    }
    Some(turned)
}

/// Where a block of version 5 keeps the number of its last change, its ID and its checksum.
pub(super) struct Stamp {
    pub(super) lsn: usize,
    uuid: Option<usize>,
    pub(super) sum: usize,
}

impl Stamp {
    /// Does the block hold this change already? One with another ID is left from something else.
    pub(super) fn is_newer(&self, bytes: &[u8], lsn: u64, uuid: &[u8; 16]) -> bool {
        let ours = self.uuid.is_none_or(|at| bytes_at(bytes, at).as_ref() == Some(uuid));
        ours && be64_at(bytes, self.lsn).is_some_and(|there| there != 0 && there != u64::MAX && there >= lsn)
    }
}

/// By the magic at the beginning, or behind two pointers.
pub(super) fn stamp(bytes: &[u8]) -> Option<Stamp> {
    let (lsn, uuid, sum) = match &bytes_at::<4>(bytes, 0)? {
        b"XFSB" => return Some(Stamp { lsn: 240, uuid: None, sum: 224 }),
        b"XAGF" => (208, 64, 216),
        b"XAGI" => (320, 296, 312),
        b"XAFL" => (24, 8, 32),
        b"AB3B" | b"AB3C" | b"IAB3" | b"FIB3" | b"RMB3" | b"R3FC" => (24, 32, 52),
        b"BMA3" => (32, 40, 64),
        b"XDB3" | b"XDD3" | b"XDF3" => (16, 24, 4),
        b"XSLM" => (48, 16, 12),
        _ => match be16_at(bytes, 8)? {
            0x3DF1 | 0x3DFF | 0x3EBE | 0x3BEE => (24, 32, 12),
            _ => return None,
        },
    };
    Some(Stamp { lsn, uuid: Some(uuid), sum })
}

#[cfg(test)]
#[allow(clippy::indexing_slicing, clippy::arithmetic_side_effects)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_a_core_are_turned_one_by_one() {
        let mut core = vec![0; CORE_V3];
        core[2..4].copy_from_slice(&0o100_644u16.to_le_bytes());
        core[82] = 7;
        core[32..36].copy_from_slice(&1u32.to_le_bytes());
        core[56..64].copy_from_slice(&77u64.to_le_bytes());
        core[152..160].copy_from_slice(&99u64.to_le_bytes());
        core[160] = 5;
        let disk = turned(&core).unwrap();
        assert_eq!((be16_at(&disk, 2), be64_at(&disk, 56)), (Some(0o100_644), Some(77)));
        assert_eq!((be64_at(&disk, 152), disk[160], disk[82], disk[35]), (Some(99), 5, 7, 1));
        // Nanoseconds in 64 bits and wide counters.
        core[120] = 0x18;
        core[32..40].copy_from_slice(&5u64.to_le_bytes());
        core[24..32].copy_from_slice(&6u64.to_le_bytes());
        let disk = turned(&core).unwrap();
        assert_eq!((be64_at(&disk, 32), be64_at(&disk, 24)), (Some(5), Some(6)));
        assert!(turned(&core[..95]).is_none() && turned(&core[..LOGGED_V2]).is_some());
    }

    #[test]
    fn chunks_go_where_the_map_says() {
        let mut format = vec![0; 24];
        format[16] = 1;
        format[20] = 0b1010;
        let data = vec![vec![1; 128], vec![2; 128]];
        let item = Item { kind: 0, format: &format, data: &data };
        let mut bytes = vec![0; 512];
        overlay_chunks(&item, &mut bytes).unwrap();
        assert_eq!((bytes[127], bytes[128], bytes[256], bytes[384]), (0, 1, 0, 2));
        // More pieces than bits, or a place beyond the end.
        let more = [data.clone(), data.clone()].concat();
        assert!(overlay_chunks(&Item { kind: 0, format: &format, data: &more }, &mut bytes).is_none());
        assert!(overlay_chunks(&item, &mut bytes[..400]).is_none());
    }

    #[test]
    fn a_block_with_another_id_is_never_newer() {
        let mut block = vec![0; 512];
        block[..4].copy_from_slice(b"XDB3");
        block[16..24].copy_from_slice(&9u64.to_be_bytes());
        let stamp = stamp(&block).unwrap();
        assert!(stamp.is_newer(&block, 9, &[0; 16]) && !stamp.is_newer(&block, 10, &[0; 16]));
        assert!(!stamp.is_newer(&block, 9, &[1; 16]));
    }
}
