//! ext2, ext3 and ext4: the block bitmap of each group (kernel, `Documentation/filesystems/ext4`).
//!
//! Where the journal has something to replay, the map is the union of the bitmaps on disk and of all that wait
//! in the journal: what the replay frees stays, and what it takes is there.

use super::Mapped;
use super::ext_journal;
use super::runs::{First, Runs, set_bits};
use super::volume::{OrCorrupt, Volume, corrupt, le16, le32, units, unsupported};
use crate::probe::{Content, StateKind};
use block::{ByteRange, Result};
use std::collections::HashMap;

const COMPAT_HAS_JOURNAL: u64 = 0x4;
const COMPAT_SPARSE_SUPER2: u64 = 0x200;
const INCOMPAT_META_BG: u64 = 0x10;
const INCOMPAT_64BIT: u64 = 0x80;
const RO_COMPAT_SPARSE_SUPER: u64 = 0x1;
const RO_COMPAT_BIGALLOC: u64 = 0x200;
/// With either of these the descriptor of a group may say that its bitmap was never written.
const RO_COMPAT_GROUP_SUMS: u64 = 0x410;
/// filetype, recover, meta_bg, extents, 64bit, mmp, flex_bg, ea_inode, csum_seed, largedir, inline_data, encrypt,
/// casefold.
const INCOMPAT_KNOWN: u64 = 0x3_E7D6;
/// sparse_super, large_file, btree_dir, huge_file, gdt_csum, dir_nlink, extra_isize, quota, bigalloc,
/// metadata_csum, readonly, project, verity, orphan_present.
const RO_COMPAT_KNOWN: u64 = 0x1_B77F;
const BG_BLOCK_UNINIT: u64 = 0x2;
/// Groups whose descriptors are kept in memory at once: 128 TiB of 4 KiB blocks.
const GROUPS_MAX: u64 = 1 << 20;
const CUT: &str = "a structure is cut short";
const ODD: &str = "its superblock contradicts itself";

/// What the superblock says of where things are.
pub(super) struct Superblock {
    pub(super) blocks: u64,
    first_data_block: u64,
    /// Bytes of a block.
    pub(super) block: u64,
    /// Blocks of a cluster, 1 without bigalloc.
    cluster: u64,
    blocks_per_group: u64,
    pub(super) inodes_per_group: u64,
    pub(super) inode_size: u64,
    pub(super) journal_inum: u64,
    desc_size: u64,
    reserved_gdt_blocks: u64,
    first_meta_bg: u64,
    backup_bgs: [u64; 2],
    compat: u64,
    incompat: u64,
    ro_compat: u64,
}

/// What its descriptor says of a group.
pub(super) struct Group {
    pub(super) block_bitmap: u64,
    inode_bitmap: u64,
    pub(super) inode_table: u64,
    /// Clusters.
    free: u64,
    uninit: bool,
}

impl Superblock {
    pub(super) fn parse(sb: &[u8]) -> Option<Self> {
        let (compat, incompat, ro_compat) = (le32(sb, 0x5C)?, le32(sb, 0x60)?, le32(sb, 0x64)?);
        let wide = incompat & INCOMPAT_64BIT != 0;
        let high = |at| if wide { le32(sb, at) } else { Some(0) };
        let s_log_block_size = u32::try_from(le32(sb, 0x18)?).ok().filter(|log| *log <= 6)?;
        let s_log_cluster_size = u32::try_from(le32(sb, 0x1C)?).ok()?;
        let cluster = match ro_compat & RO_COMPAT_BIGALLOC {
            0 => 1,
            _ => {
                1u64.checked_shl(s_log_cluster_size.checked_sub(s_log_block_size).filter(|log| *log <= 20)?)?
            }
        };
        // Revision 0 has no size of inodes.
        let inode_size = if le32(sb, 0x4C)? == 0 { 128 } else { le16(sb, 0x58)? };
        Some(Self {
            blocks: le32(sb, 0x4)? | high(0x150)?.checked_shl(32)?,
            first_data_block: le32(sb, 0x14)?,
            block: 1024u64.checked_shl(s_log_block_size)?,
            cluster,
            blocks_per_group: le32(sb, 0x20)?,
            inodes_per_group: le32(sb, 0x28)?,
            inode_size,
            journal_inum: le32(sb, 0xE0)?,
            desc_size: if wide { le16(sb, 0xFE)? } else { 32 },
            reserved_gdt_blocks: le16(sb, 0xCE)?,
            first_meta_bg: if incompat & INCOMPAT_META_BG != 0 { le32(sb, 0x104)? } else { u64::MAX },
            backup_bgs: [le32(sb, 0x24C)?, le32(sb, 0x250)?],
            compat,
            incompat,
            ro_compat,
        })
    }

    fn check(&self) -> Result<()> {
        if self.incompat & !INCOMPAT_KNOWN != 0 || self.ro_compat & !RO_COMPAT_KNOWN != 0 {
            return Err(unsupported("it has features that are not known here"));
        }
        let sane = self.blocks > self.first_data_block
            && self.first_data_block <= 1
            && self.blocks_per_group > 0
            && self.blocks_per_group.checked_rem(self.cluster) == Some(0)
            && self.clusters_per_group() <= self.block.saturating_mul(8)
            && (128..=self.block).contains(&self.inode_size)
            && self.inodes_per_group > 0
            && (32..=self.block).contains(&self.desc_size)
            && self.desc_size.is_power_of_two();
        sane.then_some(()).or_corrupt(ODD)
    }

    fn clusters_per_group(&self) -> u64 {
        self.blocks_per_group.checked_div(self.cluster).unwrap_or(u64::MAX)
    }

    fn groups(&self) -> Result<u64> {
        let in_groups = self.blocks.saturating_sub(self.first_data_block);
        let groups = in_groups.div_ceil(self.blocks_per_group.max(1));
        if groups <= GROUPS_MAX { Ok(groups) } else { Err(unsupported("it has very many groups")) }
    }

    /// First block of a group.
    fn start(&self, group: u64) -> Option<u64> {
        group.checked_mul(self.blocks_per_group)?.checked_add(self.first_data_block)
    }

    /// Does a group begin with a copy of the superblock?
    fn has_super(&self, group: u64) -> bool {
        let power_of = |base: u64| {
            let mut power = base;
            while power < group {
                power = power.saturating_mul(base);
            }
            power == group
        };
        match group {
            0 => true,
            _ if self.compat & COMPAT_SPARSE_SUPER2 != 0 => self.backup_bgs.contains(&group),
            1 => true,
            _ if self.ro_compat & RO_COMPAT_SPARSE_SUPER == 0 => true,
            _ => [3, 5, 7].into_iter().any(power_of),
        }
    }

    fn descriptors_per_block(&self) -> u64 {
        self.block.checked_div(self.desc_size).unwrap_or(1).max(1)
    }

    /// The block with descriptors number `number`.
    fn descriptor_block(&self, number: u64) -> Option<u64> {
        // With blocks of 1 KiB the superblock is in block 1, whatever is said of the first data block.
        let behind_boot = u64::from(self.block == 1024 && self.first_data_block == 0);
        if number < self.first_meta_bg {
            return self.first_data_block.checked_add(behind_boot)?.checked_add(1)?.checked_add(number);
        }
        let group = number.checked_mul(self.descriptors_per_block())?;
        let more = u64::from(self.has_super(group));
        let more = if number == 0 { more.checked_add(behind_boot)? } else { more };
        self.start(group)?.checked_add(more)
    }

    /// Blocks of the inode table of a group.
    fn inode_table_blocks(&self) -> u64 {
        self.inodes_per_group.saturating_mul(self.inode_size).div_ceil(self.block.max(1))
    }
}

pub(super) fn map(volume: &Volume<'_>, content: &Content) -> Result<Mapped> {
    let sb = Superblock::parse(&volume.read(1024, 1024)?).or_corrupt(ODD)?;
    sb.check()?;
    let groups = groups(volume, &sb)?;
    let replay = content.states.iter().any(|state| state.kind == StateKind::JournalReplay);
    let waiting = match replay {
        true => ext_journal::bitmaps(volume, &sb, &groups)?,
        false => HashMap::new(),
    };
    let mut used = Runs::default();
    // In front of the first group: the boot block.
    used.add(units(sb.block, 0, sb.first_data_block)?)?;
    for (number, group) in (0u64..).zip(&groups) {
        let start = sb.start(number).or_corrupt(ODD)?;
        let blocks = sb.blocks_per_group.min(sb.blocks.saturating_sub(start));
        let clusters = blocks.div_ceil(sb.cluster.max(1));
        let mut bits = match group.uninit {
            true => sb.never_written(number, group, start, blocks).or_corrupt(ODD)?,
            false => volume.read(units(sb.block, group.block_bitmap, 1)?.start(), sb.block)?,
        };
        if let Some(newer) = waiting.get(&group.block_bitmap) {
            bits.iter_mut().zip(newer).for_each(|(bits, newer)| *bits |= newer);
        }
        let mut taken = 0u64;
        set_bits(&bits, clusters, First::Lowest, |from, to| {
            taken = taken.saturating_add(to.saturating_sub(from));
            let run = units(sb.cluster, from, to.saturating_sub(from))?;
            let run = run.intersect(ByteRange::span(0, blocks)).moved(0, start);
            used.add(units(sb.block, run.start(), run.len())?)
        })?;
        // The journal brings the counters up to date too; as they are they belong to no moment.
        if !replay && clusters.checked_sub(taken) != Some(group.free) {
            return Err(corrupt(format!("group {number} counts other free blocks than its bitmap")));
        }
    }
    for group in &groups {
        let parts =
            [(group.block_bitmap, 1), (group.inode_bitmap, 1), (group.inode_table, sb.inode_table_blocks())];
        for (first, count) in parts {
            let covered = used.cover(units(sb.block, first, count)?);
            covered.then_some(()).or_corrupt("its own tables lie in blocks that it counts as free")?;
        }
    }
    let end = units(sb.block, 0, sb.blocks)?.end();
    let more = replay.then(|| "what its journal frees counts as used".to_owned());
    Ok(Mapped { used, end, more })
}

/// The blocks of the journal's inode, without those of its extent tree.
pub(super) fn journal(volume: &Volume<'_>) -> Result<Vec<ByteRange>> {
    let sb = Superblock::parse(&volume.read(1024, 1024)?).or_corrupt(ODD)?;
    sb.check()?;
    // An inode that is not set: the journal is on another device.
    if sb.compat & COMPAT_HAS_JOURNAL == 0 || sb.journal_inum == 0 {
        return Ok(vec![]);
    }
    let groups = groups(volume, &sb)?;
    ext_journal::file_runs(volume, &sb, &groups)?
        .into_iter()
        .map(|run| units(sb.block, run.start(), run.len()))
        .collect()
}

/// The descriptors of all groups.
fn groups(volume: &Volume<'_>, sb: &Superblock) -> Result<Vec<Group>> {
    let count = sb.groups()?;
    let mut groups = vec![];
    for number in 0..count.div_ceil(sb.descriptors_per_block()) {
        let block = sb.descriptor_block(number).or_corrupt(ODD)?;
        let table = volume.read(units(sb.block, block, 1)?.start(), sb.block)?;
        let size = usize::try_from(sb.desc_size).ok().or_corrupt(ODD)?;
        let left = usize::try_from(count).unwrap_or(0).saturating_sub(groups.len());
        for descriptor in table.chunks_exact(size).take(left) {
            groups.push(sb.group(descriptor).or_corrupt(CUT)?);
        }
    }
    Ok(groups)
}

impl Superblock {
    fn group(&self, descriptor: &[u8]) -> Option<Group> {
        let high = |at| if self.desc_size >= 64 { le32(descriptor, at) } else { Some(0) };
        let wide = |low, at| Some(le32(descriptor, low)? | high(at)?.checked_shl(32)?);
        let free_high = if self.desc_size >= 64 { le16(descriptor, 0x2C)? } else { 0 };
        let bg_flags = le16(descriptor, 0x12)?;
        Some(Group {
            block_bitmap: wide(0x0, 0x20)?,
            inode_bitmap: wide(0x4, 0x24)?,
            inode_table: wide(0x8, 0x28)?,
            free: le16(descriptor, 0xC)? | free_high.checked_shl(16)?,
            uninit: bg_flags & BG_BLOCK_UNINIT != 0 && self.ro_compat & RO_COMPAT_GROUP_SUMS != 0,
        })
    }

    /// The bitmap of a group that has none yet: what lies there by the rules (`ext4_init_block_bitmap`).
    fn never_written(&self, number: u64, group: &Group, start: u64, blocks: u64) -> Option<Vec<u8>> {
        let mut bits = vec![0u8; usize::try_from(self.block).ok()?];
        let here = ByteRange::new(start, blocks)?;
        let mut set = |first: u64, count: u64| {
            let taken = ByteRange::new(first, count)?.intersect(here);
            for block in taken.start()..taken.end() {
                let bit = block.checked_sub(start)?.checked_div(self.cluster)?;
                let byte = bits.get_mut(usize::try_from(bit / 8).ok()?)?;
                *byte |= 1u8.checked_shl(u32::try_from(bit % 8).ok()?)?;
            }
            Some(())
        };
        let in_table = self.descriptors_per_block();
        let table = number.checked_div(in_table)?;
        let copy = u64::from(self.has_super(number));
        set(start, copy)?;
        if table < self.first_meta_bg {
            let tables = self.groups().ok()?.div_ceil(in_table).min(self.first_meta_bg);
            let all = tables.checked_add(self.reserved_gdt_blocks)?;
            set(start.checked_add(1)?, if copy == 1 { all } else { 0 })?;
        } else {
            let place = number.checked_rem(in_table)?;
            let has = matches!(place, 0 | 1) || Some(place) == in_table.checked_sub(1);
            set(start.checked_add(copy)?, u64::from(has))?;
        }
        set(group.block_bitmap, 1)?;
        set(group.inode_bitmap, 1)?;
        set(group.inode_table, self.inode_table_blocks())?;
        Some(bits)
    }
}
