//! The hashes of names in large directories of XFS: leaves, with a tree above them where there are many.

use super::map::Map;
use super::{Volume, corrupt};
use block::Result;
use block::field::{be16_at, be32_at};

/// Blocks on the way from the root to a leaf.
const MOST_LEVELS: usize = 8;
/// Entries of one hash, and the leaves that they may fill.
const MOST_LEAVES: usize = 64;
/// An entry that was removed.
const STALE: u32 = 0;

/// Of a name (`xfs_da_hashname`).
pub(super) fn of(name: &[u8]) -> u32 {
    name.iter().fold(0, |hash: u32, byte| hash.rotate_left(7) ^ u32::from(*byte))
}

/// A block of the tree of a directory or of attributes: its fields behind what all begin with.
pub(super) struct Block {
    bytes: Vec<u8>,
    /// The block to the right; 0 if none.
    pub(super) right: u32,
    pub(super) magic: u16,
    /// Bytes of what all begin with.
    pub(super) head: usize,
    pub(super) count: u16,
}

impl Block {
    /// At block `number` of the fork, `size` bytes.
    pub(super) fn read(volume: &Volume, map: &Map, number: u32, size: u64) -> Result<Self> {
        let geometry = &volume.geometry;
        let at = u64::from(number).saturating_mul(geometry.block);
        let bytes = map.bytes(at, size)?;
        let head = if geometry.v5 { 56 } else { 12 };
        let fields = || Some((be32_at(&bytes, 0)?, be16_at(&bytes, 8)?, be16_at(&bytes, head)?));
        let (right, magic, count) = fields().ok_or_else(|| corrupt("tree of names"))?;
        geometry.check(&bytes, 12, "a tree of names")?;
        Ok(Self { bytes, right, magic, head, count })
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Is it a node, with keys and blocks below?
    pub(super) fn is_node(&self) -> bool {
        matches!(self.magic, 0xFEBE | 0x3EBE)
    }

    /// Pairs of a hash and a number behind it, `skip` bytes behind the head.
    pub(super) fn pairs(&self, skip: usize) -> Result<Vec<(u32, u32)>> {
        let len = usize::from(self.count).saturating_mul(8);
        let start = self.head.saturating_add(skip);
        let pairs = self.bytes.get(start..).and_then(|rest| rest.get(..len));
        let pairs = pairs.ok_or_else(|| corrupt("tree of names"))?.as_chunks::<8>().0;
        let halves = pairs.iter().filter_map(|pair| Some((be32_at(pair, 0)?, be32_at(pair, 4)?)));
        Ok(halves.collect())
    }

    /// Bytes of a node's or a leaf's fields between head and pairs.
    pub(super) fn skip(&self) -> usize {
        if self.head == 56 { 8 } else { 4 }
    }
}

/// Where the entries are whose names have this hash, in units of eight bytes.
pub(super) fn addresses(volume: &Volume, map: &Map, hash: u32) -> Result<Vec<u32>> {
    let size = volume.geometry.dir_block;
    let root = super::dir::LEAVES.checked_div(volume.geometry.block);
    let mut number = root.and_then(|root| u32::try_from(root).ok()).unwrap_or(0);
    let mut block = Block::read(volume, map, number, size)?;
    let mut levels = 0;
    while block.is_node() {
        // The first one whose greatest hash is not less.
        let below = block.pairs(block.skip())?.into_iter().find(|(greatest, _)| *greatest >= hash);
        let Some((_, below)) = below else { return Ok(vec![]) };
        levels = usize::saturating_add(levels, 1);
        if levels > MOST_LEVELS {
            return Err(corrupt("tree of names"));
        }
        number = below;
        block = Block::read(volume, map, number, size)?;
    }
    let mut found = vec![];
    for _ in 0..MOST_LEAVES {
        if !matches!(block.magic, 0xD2F1 | 0xD2FF | 0x3DF1 | 0x3DFF) {
            return Err(corrupt("leaf of names"));
        }
        // The count is followed by that of removed ones.
        let pairs = block.pairs(block.skip())?;
        let from = pairs.partition_point(|(other, _)| *other < hash);
        let same = pairs.get(from..).unwrap_or(&[]).iter().take_while(|(other, _)| *other == hash);
        found.extend(same.map(|(_, address)| *address).filter(|address| *address != STALE));
        // It goes on to the right only if the last one here has it.
        if pairs.last().is_some_and(|(last, _)| *last > hash) || block.right == 0 {
            break;
        }
        block = Block::read(volume, map, block.right, size)?;
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Against the loop of the kernel, which takes four bytes at once.
    #[test]
    fn hashes_of_names_of_all_lengths() {
        let kernel = |name: &[u8]| {
            let (fours, rest) = name.as_chunks::<4>();
            let mut hash = 0u32;
            for [a, b, c, d] in fours {
                let [a, b, c, d] = [a, b, c, d].map(|byte| u32::from(*byte));
                hash = (a << 21) ^ (b << 14) ^ (c << 7) ^ d ^ hash.rotate_left(28);
            }
            let rest: Vec<_> = rest.iter().map(|byte| u32::from(*byte)).collect();
            match rest[..] {
                [a, b, c] => (a << 14) ^ (b << 7) ^ c ^ hash.rotate_left(21),
                [a, b] => (a << 7) ^ b ^ hash.rotate_left(14),
                [a] => a ^ hash.rotate_left(7),
                _ => hash,
            }
        };
        for name in [&b""[..], b"a", b"ab", b"abc", b"abcd", b"a longer name, \xff\x80 with all bytes"] {
            assert_eq!(of(name), kernel(name));
        }
    }
}
