//! XFS, versions 4 and 5: what the tree of free space of each allocation group does not list (kernel,
//! `fs/xfs/libxfs/xfs_format.h`).
//!
//! There are two trees of the same runs, by place and by length: they must agree. Blocks of the free list belong
//! to neither, and so are in use.

use super::Mapped;
use super::runs::Runs;
use super::volume::{OrCorrupt, Volume, be16, be32, be64, byte, corrupt, units, unsupported};
use crate::probe::Content;
use block::{ByteRange, Result};

/// ftype, sparse inodes, meta_uuid, bigtime, nrext64, exchange, parent, metadir. Not "needs repair", and not zoned.
const INCOMPAT_KNOWN: u64 = 0x1EF;
/// Trees of free inodes, of reverse mappings and of reference counts, counters of inodes.
const RO_COMPAT_KNOWN: u64 = 0xF;
const LEVELS_MAX: u64 = 12;
/// Groups that are looked at: 256 TiB of 1 TiB each, 4 TiB of 16 MiB.
const GROUPS_MAX: u64 = 1 << 18;
const ODD: &str = "its superblock contradicts itself";
const DAMAGED: &str = "a tree of its free space is damaged";

struct Superblock {
    /// Bytes of a block.
    block: u64,
    blocks: u64,
    /// Blocks of a group, but of the last one.
    group: u64,
    groups: u64,
    /// Bytes of a sector.
    sector: u64,
    version5: bool,
}

impl Superblock {
    fn parse(sb: &[u8]) -> Option<Self> {
        let sb_versionnum = be16(sb, 100)?;
        let parsed = Self {
            block: be32(sb, 4)?,
            blocks: be64(sb, 8)?,
            group: be32(sb, 84)?,
            groups: be32(sb, 88)?,
            sector: be16(sb, 102)?,
            version5: sb_versionnum & 0xF == 5,
        };
        let most = parsed.group.checked_mul(parsed.groups)?;
        let least = parsed.groups.checked_sub(1)?.checked_mul(parsed.group)?;
        let sane = parsed.block.is_power_of_two()
            && (512..=65536).contains(&parsed.block)
            && parsed.sector.is_power_of_two()
            && (512..=32768).contains(&parsed.sector)
            && parsed.groups <= GROUPS_MAX
            && least < parsed.blocks
            && parsed.blocks <= most;
        sane.then_some(parsed)
    }
}

/// The internal log; none if it is on another device.
pub(super) fn journal(volume: &Volume<'_>) -> Result<Vec<ByteRange>> {
    let bytes = volume.read(0, 512)?;
    let sb = Superblock::parse(&bytes).or_corrupt(ODD)?;
    let place = || {
        let (sb_logstart, sb_logblocks) = (be64(&bytes, 48)?, be32(&bytes, 96)?);
        // A block number is a group and a block in it, each group taking a power of two.
        let sb_agblklog = u32::try_from(byte(&bytes, 124)?).ok()?;
        let group = sb_logstart.checked_shr(sb_agblklog)?;
        let within = sb_logstart.checked_sub(group.checked_shl(sb_agblklog)?)?;
        // The log lies in one group.
        let fits = group < sb.groups && within.checked_add(sb_logblocks)? <= sb.group;
        let first = group.checked_mul(sb.group)?.checked_add(within)?;
        (fits || sb_logstart == 0).then_some((sb_logstart, first, sb_logblocks))
    };
    match place().or_corrupt(ODD)? {
        (0, _, _) => Ok(vec![]),
        (_, first, count) => Ok(vec![units(sb.block, first, count)?]),
    }
}

/// A run of free blocks of a group.
type Free = (u64, u64);

pub(super) fn map(volume: &Volume<'_>, _: &Content) -> Result<Mapped> {
    let bytes = volume.read(0, 512)?;
    let sb = Superblock::parse(&bytes).or_corrupt(ODD)?;
    let field = |at| be32(&bytes, at).or_corrupt(ODD);
    if sb.version5 && (field(216)? & !INCOMPAT_KNOWN != 0 || field(212)? & !RO_COMPAT_KNOWN != 0) {
        return Err(unsupported("it has features that are not known here"));
    }
    if byte(&bytes, 126) != Some(0) {
        return Err(corrupt("it was not made to the end"));
    }
    let end = units(sb.block, 0, sb.blocks)?.end();
    let mut used = Runs::default();
    let mut at = 0;
    for group in 0..sb.groups {
        let start = group.checked_mul(sb.group).or_corrupt(ODD)?;
        let blocks = sb.group.min(sb.blocks.saturating_sub(start));
        let base = units(sb.block, start, 0)?.start();
        let agf = volume.read(base.saturating_add(sb.sector), 512)?;
        let group = Group { volume, sb: &sb, base, blocks };
        for (first, count) in group.free(&agf)? {
            let free = units(sb.block, first, count)?.moved(0, base);
            used.add(ByteRange::span(at, free.start()))?;
            at = free.end();
        }
    }
    used.add(ByteRange::span(at, end))?;
    Ok(Mapped { used, end, more: None })
}

struct Group<'a> {
    volume: &'a Volume<'a>,
    sb: &'a Superblock,
    /// First byte.
    base: u64,
    blocks: u64,
}

impl Group<'_> {
    /// Its free runs in order, by the block with its counters.
    fn free(&self, agf: &[u8]) -> Result<Vec<Free>> {
        let field = |at| be32(agf, at).or_corrupt(DAMAGED);
        if agf.get(..4) != Some(&b"XAGF"[..]) || field(12)? != self.blocks {
            return Err(corrupt("a group of it has no counters"));
        }
        let magics = if self.sb.version5 { [*b"AB3B", *b"AB3C"] } else { [*b"ABTB", *b"ABTC"] };
        let [by_place, by_length] = magics;
        let free = self.tree(field(16)?, field(28)?, by_place)?;
        let mut other = self.tree(field(20)?, field(32)?, by_length)?;
        other.sort_unstable();
        // The first sectors of a group are its superblock, its counters and its free list.
        let mut at = self.sb.sector.saturating_mul(4).div_ceil(self.sb.block.max(1));
        let mut total = 0u64;
        for (first, count) in &free {
            let end = first.checked_add(*count).filter(|end| *end <= self.blocks && *count > 0);
            if *first < at {
                return Err(corrupt(DAMAGED));
            }
            at = end.or_corrupt(DAMAGED)?;
            total = total.saturating_add(*count);
        }
        if free != other || total != field(52)? {
            return Err(corrupt("a group of it contradicts itself about what is free"));
        }
        Ok(free)
    }

    /// The runs of a tree, as they come.
    fn tree(&self, root: u64, levels: u64, magic: [u8; 4]) -> Result<Vec<Free>> {
        if !(1..=LEVELS_MAX).contains(&levels) {
            return Err(corrupt(DAMAGED));
        }
        let header: usize = if self.sb.version5 { 56 } else { 16 };
        let room = usize::try_from(self.sb.block).unwrap_or(0).saturating_sub(header);
        let mut free = vec![];
        let (mut waiting, mut seen) = (vec![(root, levels)], 0u64);
        while let Some((block, level)) = waiting.pop() {
            seen = seen.saturating_add(1);
            if seen > self.blocks || block >= self.blocks {
                return Err(corrupt(DAMAGED));
            }
            let at = units(self.sb.block, block, 1)?.moved(0, self.base).start();
            let node = self.volume.read(at, self.sb.block)?;
            let below = level.checked_sub(1).or_corrupt(DAMAGED)?;
            let count = be16(&node, 6).and_then(|count| usize::try_from(count).ok()).or_corrupt(DAMAGED)?;
            if node.get(..4) != Some(&magic[..]) || be16(&node, 4) != Some(below) {
                return Err(corrupt(DAMAGED));
            }
            let records = node.get(header..).unwrap_or(&[]);
            if below == 0 {
                (count <= room / 8).then_some(()).or_corrupt(DAMAGED)?;
                let record = |bytes: &[u8]| Some((be32(bytes, 0)?, be32(bytes, 4)?));
                free.extend(records.chunks_exact(8).take(count).filter_map(record));
                continue;
            }
            // Keys of 8 bytes, then, behind room for all of them, pointers of 4.
            let most = room / 12;
            (count <= most).then_some(()).or_corrupt(DAMAGED)?;
            let pointers = most.checked_mul(8).and_then(|at| records.get(at..)).unwrap_or(&[]);
            let children: Vec<_> = pointers.chunks_exact(4).take(count).filter_map(|p| be32(p, 0)).collect();
            waiting.extend(children.into_iter().rev().map(|child| (child, below)));
        }
        Ok(free)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_superblock_that_contradicts_itself() {
        let mut sb = vec![0; 512];
        let mut put = |at: usize, bytes: &[u8]| {
            sb.get_mut(at..).unwrap().get_mut(..bytes.len()).unwrap().copy_from_slice(bytes);
        };
        put(4, &4096u32.to_be_bytes());
        put(8, &1000u64.to_be_bytes());
        put(84, &300u32.to_be_bytes());
        put(88, &4u32.to_be_bytes());
        put(100, &5u16.to_be_bytes());
        put(102, &512u16.to_be_bytes());
        assert!(Superblock::parse(&sb).is_some());
        for groups in [3u32, 5, 0, u32::MAX] {
            sb.get_mut(88..92).unwrap().copy_from_slice(&groups.to_be_bytes());
            assert!(Superblock::parse(&sb).is_none(), "{groups}");
        }
    }
}
