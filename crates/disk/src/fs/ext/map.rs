//! Where the blocks of a file are: the extent tree of ext4, the map of ext2 and ext3. Each question goes
//! down from the inode, as the kernel does, so that no file is too fragmented to be held.

use super::blocks::Blocks;
use super::sums::Sums;
use block::field::u32_at;
use block::{Error, ErrorKind, Result};
use ferrosys::ext::ondisk::{ExtentHeader, ExtentIdx, ExtentLeaf, Inode, InodeFlags};

/// Blocks that a file can have, holes included: their numbers have 32 bits.
pub(super) const MOST_BLOCKS: u64 = 1 << 32;
/// Levels of an extent tree below the inode.
const DEEPEST: u16 = 5;
/// Bytes of a header, an index entry and a leaf entry.
const ENTRY: usize = 12;
/// Blocks that an inode of ext2 names itself; then come one, two and three levels of blocks of numbers.
const DIRECT: u64 = 12;

/// A file, and how the checksums of its blocks begin.
#[derive(Clone)]
pub(super) struct Node {
    pub(super) inode: Inode,
    pub(super) sums: Sums,
}

/// Blocks of a file that lie side by side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Run {
    /// The block of the disk where they begin. `None`: they read as zeroes.
    pub(super) start: Option<u64>,
    /// How many, at least 1.
    pub(super) count: u64,
}

/// The blocks of a file from block `at` of it on.
pub(super) fn find(blocks: &Blocks, node: &Node, at: u64) -> Result<Run> {
    if at >= MOST_BLOCKS {
        return Err(corrupt("a file beyond what can be mapped"));
    }
    let run = if node.inode.flags.contains(InodeFlags::EXTENTS) {
        in_extents(blocks, node, at)
    } else {
        in_numbers(blocks, &node.inode, at)
    }?;
    if run.count == 0 {
        return Err(corrupt("an empty extent"));
    }
    Ok(run)
}

fn in_extents(blocks: &Blocks, file: &Node, at: u64) -> Result<Run> {
    let mut node = file.inode.block.to_vec();
    let (mut end, mut level) = (MOST_BLOCKS, None);
    loop {
        let header = node.first_chunk().ok_or_else(|| corrupt("an extent node"))?;
        let header = ExtentHeader::from_bytes(header).map_err(crate::fs::cursor::failed)?;
        let fits = level.map_or(header.depth <= DEEPEST, |above| Some(header.depth) == above);
        let (entries, _) = node.get(ENTRY..).unwrap_or(&[]).as_chunks::<ENTRY>();
        let entries = entries.get(..header.entries.into()).filter(|_| fits);
        let entries = entries.ok_or_else(|| corrupt("an extent tree"))?;
        // Both sorts of entries begin with the first block of the file that they are about.
        let first = |entry: &[u8; ENTRY]| u64::from(u32_at(entry, 0).unwrap_or(0));
        let behind = entries.partition_point(|entry| first(entry) <= at);
        if let Some(next) = entries.get(behind) {
            end = end.min(first(next));
        }
        let hole = Run { start: None, count: end.saturating_sub(at) };
        let Some(entry) = behind.checked_sub(1).and_then(|before| entries.get(before)) else {
            return Ok(hole);
        };
        if header.depth > 0 {
            level = Some(header.depth.checked_sub(1));
            let child = ExtentIdx::from_bytes(entry).leaf;
            node = blocks.block(child)?;
            file.sums.check_extents(child, &node)?;
            continue;
        }
        let leaf = ExtentLeaf::from_bytes(entry);
        let inside = at.saturating_sub(leaf.block.into());
        let Some(count) = u64::from(leaf.len).checked_sub(inside).filter(|count| *count > 0) else {
            return Ok(hole);
        };
        let start = leaf.start.checked_add(inside).filter(|_| leaf.initialized);
        return Ok(Run { start, count });
    }
}

fn in_numbers(blocks: &Blocks, inode: &Inode, at: u64) -> Result<Run> {
    let Some(mut inside) = at.checked_sub(DIRECT) else {
        return Ok(row(inode.block.get(..48).unwrap_or(&[]), at));
    };
    let in_block = blocks.size.get() / 4;
    let mut span = 1_u64;
    for level in 0..3_usize {
        span = span.saturating_mul(in_block);
        if let Some(beyond) = inside.checked_sub(span) {
            inside = beyond;
            continue;
        }
        let place = level.checked_mul(4).and_then(|place| place.checked_add(48));
        let mut number = u64::from(place.and_then(|place| u32_at(&inode.block, place)).unwrap_or(0));
        loop {
            if number == 0 {
                return Ok(Run { start: None, count: span.saturating_sub(inside) });
            }
            let numbers = blocks.block(number)?;
            span = span.checked_div(in_block).unwrap_or(1);
            if span <= 1 {
                return Ok(row(&numbers, inside));
            }
            let index = inside.checked_div(span).and_then(|index| usize::try_from(index).ok());
            let place = index.and_then(|index| index.checked_mul(4));
            number = u64::from(place.and_then(|place| u32_at(&numbers, place)).unwrap_or(0));
            inside = inside.checked_rem(span).unwrap_or(0);
        }
    }
    Err(corrupt("a file beyond what can be mapped"))
}

/// The run at place `at` of a row of block numbers: neighbours, or none at all.
fn row(numbers: &[u8], at: u64) -> Run {
    let (numbers, _) = numbers.as_chunks::<4>();
    let rest = usize::try_from(at).ok().and_then(|at| numbers.get(at..)).unwrap_or(&[]);
    let mut rest = rest.iter().map(|number| u64::from(u32::from_le_bytes(*number)));
    let start = rest.next().filter(|start| *start != 0);
    let alike = rest.zip(1_u64..).take_while(|(number, n)| match start {
        None => *number == 0,
        Some(start) => start.checked_add(*n) == Some(*number),
    });
    let count = u64::try_from(alike.count()).unwrap_or(0).saturating_add(1);
    Run { start, count }
}

fn corrupt(what: &str) -> Error {
    Error::new(ErrorKind::Corrupt, format!("{what} makes no sense"))
}
