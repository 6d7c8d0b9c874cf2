//! The journal of ext3 and ext4 (JBD2; kernel, `include/linux/jbd2.h`): the block bitmaps that wait in it.
//!
//! It is walked as far as the kernel would replay it, and a transaction further where its end is missing.
//! Neither sums nor revocations are looked at: either could only take bitmaps away.

use super::ext::{Group, Superblock};
use super::volume::{OrCorrupt, Volume, be16, be32, corrupt, le16, le32, units, unsupported};
use block::{ByteRange, Result};
use std::collections::{HashMap, HashSet};

const MAGIC: u64 = 0xC03B_3998;
const DESCRIPTOR: u64 = 1;
const COMMIT: u64 = 2;
const SUPERBLOCK_V1: u64 = 3;
const SUPERBLOCK_V2: u64 = 4;
const REVOKE: u64 = 5;
const INCOMPAT_64BIT: u64 = 0x2;
const INCOMPAT_CSUM_V2: u64 = 0x8;
const INCOMPAT_CSUM_V3: u64 = 0x10;
/// revoke, 64bit, async_commit and both kinds of sums: all but fast commits.
const INCOMPAT_KNOWN: u64 = 0x1F;
const TAG_ESCAPED: u64 = 1;
const TAG_SAME_UUID: u64 = 2;
const TAG_LAST: u64 = 8;
const EXTENTS_FL: u64 = 0x8_0000;
const EXTENT_MAGIC: u64 = 0xF30A;
/// A longer run of an extent is one that was not written yet.
const EXTENT_INIT_MAX: u64 = 1 << 15;
/// Blocks of a journal, 4 GiB of 4 KiB.
const BLOCKS_MAX: usize = 1 << 20;
/// Nodes of its extent tree.
const NODES_MAX: usize = 4096;
/// Bytes of bitmaps that are kept.
const BITMAPS_MAX: usize = 64 << 20;
const CUT: &str = "its journal is cut short";

/// Every bitmap of a group that the journal holds, by its block; of several for one the union.
pub(super) fn bitmaps(
    volume: &Volume<'_>,
    sb: &Superblock,
    groups: &[Group],
) -> Result<HashMap<u64, Vec<u8>>> {
    if sb.journal_inum == 0 {
        return Err(unsupported("its journal is on another device"));
    }
    let journal = Journal { volume, block: sb.block, blocks: file_blocks(volume, sb, groups)? };
    let header = journal.read(0)?;
    let kind = kind(&header, None).or_corrupt("its journal is none")?;
    let field = |at| be32(&header, at).or_corrupt(CUT);
    let (s_maxlen, s_first, s_sequence, s_start) = (field(16)?, field(20)?, field(24)?, field(28)?);
    let incompat = match kind {
        SUPERBLOCK_V1 => 0,
        SUPERBLOCK_V2 => field(40)?,
        _ => return Err(corrupt("its journal is none")),
    };
    if incompat & !INCOMPAT_KNOWN != 0 {
        return Err(unsupported("its journal has features that are not known here, such as fast commits"));
    }
    let there = u64::try_from(journal.blocks.len()).unwrap_or(0);
    if field(12)? != sb.block || s_first == 0 || s_first >= s_maxlen || s_maxlen > there {
        return Err(corrupt("its journal contradicts itself"));
    }
    let mut found =
        Found { of: groups.iter().map(|group| group.block_bitmap).collect(), sb, bitmaps: HashMap::new() };
    let ring = Ring { first: s_first, end: s_maxlen };
    let (mut at, mut sequence) = (s_start, s_sequence);
    // No turn comes back to where it began: what is older has other sequence numbers.
    let mut left = s_maxlen;
    while s_start != 0 && left > 0 {
        let head = journal.read(at)?;
        at = ring.next(at);
        left = left.saturating_sub(1);
        match self::kind(&head, Some(sequence)) {
            Some(DESCRIPTOR) => {
                for tag in tags(&head, incompat).or_corrupt(CUT)? {
                    found.take(&journal, tag, at)?;
                    at = ring.next(at);
                    left = left.saturating_sub(1);
                }
            }
            Some(COMMIT) => sequence = sequence.wrapping_add(1) & u64::from(u32::MAX),
            Some(REVOKE) => {}
            _ => break,
        }
    }
    Ok(found.bitmaps)
}

/// The type of a block that begins with a header of this sequence number.
fn kind(block: &[u8], sequence: Option<u64>) -> Option<u64> {
    let same = sequence.is_none_or(|sequence| be32(block, 8) == Some(sequence));
    (be32(block, 0)? == MAGIC && same).then(|| be32(block, 4)).flatten()
}

/// The ring of blocks behind the journal's superblock.
struct Ring {
    first: u64,
    end: u64,
}

impl Ring {
    fn next(&self, at: u64) -> u64 {
        let next = at.saturating_add(1);
        if next >= self.end { self.first } else { next }
    }
}

struct Journal<'a> {
    volume: &'a Volume<'a>,
    /// Bytes of a block.
    block: u64,
    /// Where each of its blocks is on the volume.
    blocks: Vec<u64>,
}

impl Journal<'_> {
    fn read(&self, number: u64) -> Result<Vec<u8>> {
        let place =
            usize::try_from(number).ok().and_then(|number| self.blocks.get(number)).or_corrupt(CUT)?;
        self.volume.read(units(self.block, *place, 1)?.start(), self.block)
    }
}

/// Where a block in the journal belongs.
struct Tag {
    block: u64,
    flags: u64,
}

/// The tags of a descriptor block.
fn tags(descriptor: &[u8], incompat: u64) -> Option<Vec<Tag>> {
    let (v3, wide) = (incompat & INCOMPAT_CSUM_V3 != 0, incompat & INCOMPAT_64BIT != 0);
    let size: usize = match (v3, incompat & INCOMPAT_CSUM_V2 != 0, wide) {
        (true, _, _) => 16,
        (false, sums, wide) => {
            [8usize, 10, 12, 14].into_iter().nth(usize::from(sums) | (usize::from(wide) << 1))?
        }
    };
    let tail = if incompat & (INCOMPAT_CSUM_V2 | INCOMPAT_CSUM_V3) != 0 { 4 } else { 0 };
    let end = descriptor.len().checked_sub(tail)?;
    let (mut tags, mut at) = (vec![], 12usize);
    while at.checked_add(size)? <= end {
        let tag = descriptor.get(at..)?;
        let flags = if v3 { be32(tag, 4)? } else { be16(tag, 6)? };
        let high = if wide { be32(tag, 8)? } else { 0 };
        tags.push(Tag { block: be32(tag, 0)? | high.checked_shl(32)?, flags });
        at = at.checked_add(size)?;
        if flags & TAG_SAME_UUID == 0 {
            at = at.checked_add(16)?;
        }
        if flags & TAG_LAST != 0 {
            break;
        }
    }
    Some(tags)
}

/// What the walk collects.
struct Found<'a> {
    of: HashSet<u64>,
    sb: &'a Superblock,
    bitmaps: HashMap<u64, Vec<u8>>,
}

impl Found<'_> {
    /// Looks at the block of the journal to which `tag` belongs.
    fn take(&mut self, journal: &Journal<'_>, tag: Tag, at: u64) -> Result<()> {
        let superblock = 1024u64.checked_div(self.sb.block);
        if self.of.contains(&tag.block) {
            let mut bytes = journal.read(at)?;
            if let Some(start) = bytes.get_mut(..4).filter(|_| tag.flags & TAG_ESCAPED != 0) {
                start.copy_from_slice(&[0xC0, 0x3B, 0x39, 0x98]);
            }
            if self.bitmaps.len().saturating_mul(bytes.len()) > BITMAPS_MAX {
                return Err(unsupported("its journal holds very many bitmaps"));
            }
            let all = self.bitmaps.entry(tag.block).or_insert_with(|| vec![0; bytes.len()]);
            all.iter_mut().zip(bytes).for_each(|(all, bits)| *all |= bits);
        } else if superblock == Some(tag.block) {
            let bytes = journal.read(at)?;
            let from = if self.sb.block == 1024 { 0 } else { 1024 };
            let newer = bytes.get(from..).and_then(Superblock::parse).or_corrupt(CUT)?;
            if newer.blocks != self.sb.blocks {
                return Err(unsupported("its journal changes its size"));
            }
        }
        Ok(())
    }
}

/// The blocks of the journal's inode, those that follow each other as one run.
pub(super) fn file_runs(volume: &Volume<'_>, sb: &Superblock, groups: &[Group]) -> Result<Vec<ByteRange>> {
    let mut runs: Vec<ByteRange> = vec![];
    for block in file_blocks(volume, sb, groups)? {
        let end = block.checked_add(1).or_corrupt("its journal cannot be found")?;
        match runs.last_mut() {
            Some(last) if last.end() == block => *last = ByteRange::span(last.start(), end),
            _ => runs.push(ByteRange::span(block, end)),
        }
    }
    Ok(runs)
}

/// The blocks of the journal's inode, in order.
fn file_blocks(volume: &Volume<'_>, sb: &Superblock, groups: &[Group]) -> Result<Vec<u64>> {
    let wrong = "its journal cannot be found";
    let number = sb.journal_inum.checked_sub(1).or_corrupt(wrong)?;
    let place = number.checked_div(sb.inodes_per_group).zip(number.checked_rem(sb.inodes_per_group));
    let (group, index) = place.or_corrupt(wrong)?;
    let group = usize::try_from(group).ok().and_then(|group| groups.get(group)).or_corrupt(wrong)?;
    let table = units(sb.block, group.inode_table, 1)?.start();
    let at = index.checked_mul(sb.inode_size).and_then(|at| at.checked_add(table)).or_corrupt(wrong)?;
    let inode = volume.read(at, 128)?;
    let field = |at| le32(&inode, at).or_corrupt(wrong);
    let i_size = field(4)?.checked_add(field(108)?.checked_shl(32).unwrap_or(0)).or_corrupt(wrong)?;
    let count = i_size.checked_div(sb.block).and_then(|count| usize::try_from(count).ok());
    let count = count.filter(|count| *count <= BLOCKS_MAX).or_corrupt(wrong)?;
    let i_block = inode.get(40..100).or_corrupt(wrong)?;
    let mut file = FileBlocks { volume, block: sb.block, count, blocks: vec![], nodes: 0 };
    if field(32)? & EXTENTS_FL != 0 {
        file.extents(i_block, 6)?;
    } else {
        for slot in 0..15usize {
            let depth = u32::try_from(slot.saturating_sub(11)).unwrap_or(0);
            let block = slot.checked_mul(4).and_then(|at| le32(i_block, at)).or_corrupt(wrong)?;
            file.indirect(block, depth)?;
        }
    }
    if file.blocks.len() < count || file.blocks.contains(&0) {
        return Err(corrupt("its journal has holes"));
    }
    Ok(file.blocks)
}

/// The blocks of a file that has no holes, as they are found.
struct FileBlocks<'a> {
    volume: &'a Volume<'a>,
    block: u64,
    count: usize,
    blocks: Vec<u64>,
    nodes: usize,
}

impl FileBlocks<'_> {
    fn node(&mut self, block: u64) -> Result<Vec<u8>> {
        self.nodes = self.nodes.saturating_add(1);
        (self.nodes <= NODES_MAX).then_some(()).or_corrupt("its journal lies in very many pieces")?;
        self.volume.read(units(self.block, block, 1)?.start(), self.block)
    }

    /// A node of an extent tree, of at most this depth.
    fn extents(&mut self, node: &[u8], most: u64) -> Result<()> {
        let wrong = "the extents of its journal are damaged";
        let entries = le16(node, 2).and_then(|count| usize::try_from(count).ok()).or_corrupt(wrong)?;
        let depth = le16(node, 6).filter(|depth| *depth < most).or_corrupt(wrong)?;
        (le16(node, 0) == Some(EXTENT_MAGIC)).then_some(()).or_corrupt(wrong)?;
        for entry in node.get(12..).unwrap_or(&[]).chunks_exact(12).take(entries) {
            let first = le32(entry, 0).or_corrupt(wrong)?;
            let have = u64::try_from(self.blocks.len()).unwrap_or(u64::MAX);
            (first == have).then_some(()).or_corrupt(wrong)?;
            let half = |at| le16(entry, at).or_corrupt(wrong);
            if depth > 0 {
                let block = le32(entry, 4).or_corrupt(wrong)? | half(8)?.checked_shl(32).unwrap_or(0);
                let node = self.node(block)?;
                self.extents(&node, depth)?;
                continue;
            }
            let ee_len = half(4)?;
            let start = le32(entry, 8).or_corrupt(wrong)? | half(6)?.checked_shl(32).unwrap_or(0);
            let end = start.checked_add(ee_len).filter(|_| ee_len <= EXTENT_INIT_MAX).or_corrupt(wrong)?;
            let room = self.count.saturating_sub(self.blocks.len());
            self.blocks.extend((start..end).take(room));
        }
        Ok(())
    }

    /// A block of the file, or one with the numbers of others.
    fn indirect(&mut self, block: u64, depth: u32) -> Result<()> {
        if self.blocks.len() >= self.count {
            return Ok(());
        }
        if depth == 0 || block == 0 {
            self.blocks.push(block);
            return Ok(());
        }
        for number in self.node(block)?.chunks_exact(4) {
            self.indirect(le32(number, 0).unwrap_or(0), depth.saturating_sub(1))?;
        }
        Ok(())
    }
}
