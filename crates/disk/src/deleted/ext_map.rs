//! Where the blocks of an inode are: by extents, or by lists of lists.

use super::content::{Place, Run, push};
use super::ext::Volume;
use block::Result;
use block::field::{bytes_at, u16_at, u32_at};

const FLAG_EXTENTS: u32 = 0x8_0000;
/// Runs of one file.
const RUNS: usize = 200_000;
/// Lists and nodes of one file that are read.
const NODES: usize = 50_000;
/// What the kernel has.
const DEPTH: u16 = 5;

/// Reads a block as it was when the inode was; `None` if that is not known any more.
type AsOf<'a> = &'a dyn Fn(u64) -> Result<Option<Vec<u8>>>;

/// Where a file is.
pub(super) struct Mapped {
    /// All of it, from its first byte on.
    pub(super) runs: Vec<Run>,
    /// Blocks that it takes, with those of the map itself.
    pub(super) taken: u64,
    /// It has blocks behind its end or blocks that were not written to: writing was not done.
    pub(super) is_growing: bool,
    /// Everything was there and made sense.
    is_sound: bool,
}

impl Mapped {
    /// `None` if the inode says nothing that makes sense.
    pub(super) fn of(volume: &Volume, inode: &[u8], size: u64, as_of: AsOf<'_>) -> Result<Option<Self>> {
        let (Some(flags), Some(i_block)) = (u32_at(inode, 32), bytes_at::<60>(inode, 40)) else {
            return Ok(None);
        };
        let map = Self { runs: vec![], taken: 0, is_growing: false, is_sound: true };
        let mut walk =
            Walk { volume, as_of, map, at: 0, gap: Place::Zero, end: size.div_ceil(volume.block), nodes: 0 };
        if flags & FLAG_EXTENTS != 0 {
            if u16_at(&i_block, 0) != Some(0xF30A) {
                return Ok(None);
            }
            walk.node(&i_block, DEPTH)?;
        } else {
            for at in 0..12usize {
                walk.block(u32_at(&i_block, at.saturating_mul(4)).unwrap_or(0).into());
            }
            for (level, at) in [(1, 48), (2, 52), (3, 56)] {
                walk.list(u32_at(&i_block, at).unwrap_or(0).into(), level)?;
            }
        }
        walk.fill(walk.end, walk.gap);
        let mut map = walk.map;
        // Without its tail a file is not this file: what lies behind it in the last block is nobody's.
        let mut left = size;
        for run in &mut map.runs {
            run.len = run.len.min(left);
            left = left.saturating_sub(run.len);
        }
        map.runs.retain(|run| run.len > 0);
        Ok(Some(map))
    }

    /// Is every part of it known?
    pub(super) fn is_whole(&self) -> bool {
        self.is_sound && self.runs.iter().all(|run| run.place != Place::Unknown)
    }
}

struct Walk<'a> {
    volume: &'a Volume<'a>,
    as_of: AsOf<'a>,
    map: Mapped,
    /// The block of the file that comes next.
    at: u64,
    /// What lies between here and the next extent: a hole, or what a node that is not known any more said.
    gap: Place,
    /// Blocks that it has.
    end: u64,
    nodes: usize,
}

impl Walk<'_> {
    /// The next blocks, up to this one.
    fn fill(&mut self, to: u64, place: Place) {
        let count = to.min(self.end).saturating_sub(self.at);
        push(&mut self.map.runs, count.saturating_mul(self.volume.block), place);
        self.at = self.at.max(to);
        if self.map.runs.len() > RUNS {
            self.map.is_sound = false;
        }
    }

    /// Another list or node may be read.
    fn may_go_on(&mut self) -> bool {
        self.nodes = self.nodes.saturating_add(1);
        if self.nodes > NODES || self.map.runs.len() > RUNS {
            self.map.is_sound = false;
        }
        self.nodes <= NODES && self.map.runs.len() <= RUNS
    }

    /// Blocks of the disk that can be a file's.
    fn has(&self, start: u64, count: u64) -> bool {
        start > self.volume.first_block
            && start.checked_add(count).is_some_and(|end| end <= self.volume.blocks)
    }

    /// The next block, by its number in a list.
    fn block(&mut self, number: u64) {
        let next = self.at.saturating_add(1);
        if number == 0 {
            return self.fill(next, Place::Zero);
        }
        self.map.taken = self.map.taken.saturating_add(1);
        self.map.is_growing |= self.at >= self.end;
        let place = if self.has(number, 1) {
            Place::At(number.saturating_mul(self.volume.block))
        } else {
            Place::Unknown
        };
        self.fill(next, place);
    }

    /// The next blocks, by a list of lists of this level.
    fn list(&mut self, number: u64, level: u32) -> Result<()> {
        let each = self.volume.block / 4;
        let spans = each.checked_pow(level).unwrap_or(u64::MAX);
        let behind = self.at.saturating_add(spans);
        if number == 0 || !self.may_go_on() {
            let place = if number == 0 { Place::Zero } else { Place::Unknown };
            self.fill(behind, place);
            return Ok(());
        }
        self.map.taken = self.map.taken.saturating_add(1);
        let bytes = if self.has(number, 1) { (self.as_of)(number)? } else { None };
        let Some(bytes) = bytes else {
            self.fill(behind, Place::Unknown);
            return Ok(());
        };
        for entry in bytes.as_chunks::<4>().0 {
            let number = u32::from_le_bytes(*entry).into();
            if level > 1 {
                self.list(number, level.saturating_sub(1))?;
            } else {
                self.block(number);
            }
        }
        Ok(())
    }

    /// A node of the tree of extents.
    fn node(&mut self, bytes: &[u8], most: u16) -> Result<()> {
        let field = |at| u16_at(bytes, at).unwrap_or(0);
        let (magic, entries, max, depth) = (field(0), field(2), field(4), field(6));
        if magic != 0xF30A || entries > max || depth > most || !self.may_go_on() {
            return self.lose();
        }
        for entry in bytes.as_chunks::<12>().0.iter().skip(1).take(entries.into()) {
            let word = |at| u32_at(entry, at).map_or(0, u64::from);
            let half = |at| u16_at(entry, at).map_or(0, u64::from);
            let first = word(0);
            if first < self.at {
                return self.lose();
            }
            self.fill(first, self.gap);
            self.gap = Place::Zero;
            if depth == 0 {
                let (len, start) = (half(4), half(6) << 32 | word(8));
                self.extent(len, start);
                continue;
            }
            let child = word(4) | half(8) << 32;
            self.map.taken = self.map.taken.saturating_add(1);
            let node = if self.has(child, 1) { (self.as_of)(child)? } else { None };
            match node.filter(|node| u16_at(node, 6).is_some_and(|below| below.checked_add(1) == Some(depth)))
            {
                Some(node) => self.node(&node, depth.saturating_sub(1))?,
                None => self.lose()?,
            }
        }
        Ok(())
    }

    /// A node makes no sense or is not there: how far it reached shows where the next one begins.
    fn lose(&mut self) -> Result<()> {
        self.map.is_sound = false;
        self.gap = Place::Unknown;
        Ok(())
    }

    fn extent(&mut self, len: u64, start: u64) {
        /// Longer ones are blocks that were reserved and not written to.
        const WRITTEN: u64 = 32768;
        let (count, written) = if len > WRITTEN { (len.saturating_sub(WRITTEN), false) } else { (len, true) };
        let end = self.at.saturating_add(count);
        self.map.taken = self.map.taken.saturating_add(count);
        self.map.is_growing |= end > self.end || !written;
        let place = match (self.has(start, count), written) {
            (true, true) => Place::At(start.saturating_mul(self.volume.block)),
            (true, false) => Place::Zero,
            (false, _) => Place::Unknown,
        };
        self.fill(end, place);
    }
}

#[cfg(test)]
#[allow(clippy::indexing_slicing, clippy::arithmetic_side_effects)]
mod tests {
    use super::super::ext::sample;
    use super::super::reads::Reads;
    use super::*;
    use block::Source;
    use std::sync::Arc;
    use testkit::Memory;

    /// An inode of which this is the map.
    fn inode(is_extents: bool, map: &[u8]) -> Vec<u8> {
        let mut inode = vec![0; 128];
        inode[34] = if is_extents { 8 } else { 0 };
        inode[40..40 + map.len()].copy_from_slice(map);
        inode
    }

    /// A node: its depth, and entries of first block, length or child, start.
    fn node(depth: u16, entries: &[(u32, u16, u32)]) -> Vec<u8> {
        let count = u16::try_from(entries.len()).unwrap();
        let mut bytes: Vec<u8> =
            [0xF30A, count, 4, depth, 0, 0].iter().flat_map(|n| n.to_le_bytes()).collect();
        for (first, len, start) in entries {
            bytes.extend(first.to_le_bytes());
            if depth == 0 {
                bytes.extend([len.to_le_bytes(), [0, 0]].concat());
                bytes.extend(start.to_le_bytes());
            } else {
                bytes.extend(start.to_le_bytes());
                bytes.extend([0; 4]);
            }
        }
        bytes
    }

    /// The map of a file, where block 500 is this.
    fn mapped(inode: &[u8], size: u64, block: Option<Vec<u8>>) -> Option<Mapped> {
        let disk: Source = Arc::new(Memory::new(vec![0; 1 << 20]));
        let reads = Reads::new(&disk);
        let as_of = |number: u64| Ok(block.clone().filter(|_| number == 500));
        Mapped::of(&sample(&reads), inode, size, &as_of).unwrap()
    }

    fn runs(map: &Mapped) -> Vec<(u64, Option<u64>)> {
        let place = |run: &Run| match run.place {
            Place::At(at) => Some(at / 1024),
            Place::Zero => Some(0),
            Place::Unknown => None,
        };
        map.runs.iter().map(|run| (run.len, place(run))).collect()
    }

    #[test]
    fn extents_and_holes() {
        let map = mapped(&inode(true, &node(0, &[(0, 2, 100), (5, 1, 200)])), 5500, None).unwrap();
        assert_eq!(runs(&map), [(2048, Some(100)), (3072, Some(0)), (380, Some(200))]);
        assert!(map.is_whole() && !map.is_growing && map.taken == 3);
        // Behind its end, and not written to: writing was not done.
        let behind = mapped(&inode(true, &node(0, &[(0, 3, 100)])), 1024, None).unwrap();
        let reserved = mapped(&inode(true, &node(0, &[(0, 32769, 100)])), 1024, None).unwrap();
        assert!(behind.is_growing && reserved.is_growing && runs(&reserved) == [(1024, Some(0))]);
    }

    #[test]
    fn what_is_lost_is_not_a_hole() {
        let tree = inode(true, &node(1, &[(0, 0, 500), (8, 0, 600)]));
        let leaf = node(0, &[(0, 8, 100)]);
        let map = mapped(&tree, 12 << 10, Some(leaf.clone())).unwrap();
        assert_eq!(runs(&map), [(8192, Some(100)), (4096, None)]);
        assert!(!map.is_whole());
        let map = mapped(&tree, 12 << 10, None).unwrap();
        assert_eq!(runs(&map), [(12 << 10, None)]);
        // A leaf that is none, one that goes back, a node below itself.
        for bad in [vec![0; 1024], node(0, &[(4, 1, 100), (2, 1, 101)]), node(1, &[(0, 0, 500)])] {
            assert!(!mapped(&tree, 12 << 10, Some(bad)).unwrap().is_whole());
        }
        // A block beyond the volume.
        assert_eq!(
            runs(&mapped(&inode(true, &node(0, &[(0, 1, 1000)])), 1024, None).unwrap()),
            [(1024, None)]
        );
        assert!(mapped(&inode(true, &[0; 12]), 1024, None).is_none());
    }

    #[test]
    fn lists_of_blocks() {
        let mut direct: Vec<u8> = (100u32..112).flat_map(u32::to_le_bytes).collect();
        direct.extend(500u32.to_le_bytes());
        let mut list = vec![0; 1024];
        list[..8].copy_from_slice(&[200, 0, 0, 0, 201, 0, 0, 0]);
        let map = mapped(&inode(false, &direct), 14 << 10, Some(list)).unwrap();
        assert_eq!(runs(&map), [(12 << 10, Some(100)), (2048, Some(200))]);
        assert_eq!((map.taken, map.is_whole()), (15, true));
        let lost = mapped(&inode(false, &direct), 14 << 10, None).unwrap();
        assert_eq!(runs(&lost), [(12 << 10, Some(100)), (2048, None)]);
    }
}
