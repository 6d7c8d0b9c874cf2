//! What the superblock says of the geometry, and which features of it this reader knows
//! (Linux, `Documentation/filesystems/ext4`).

use block::{Error, ErrorKind, Result};
use ferrosys::ext::ondisk::SuperBlock;
use std::num::NonZeroU64;

/// Where the superblock lies, and its bytes.
pub(super) const SUPERBLOCK_AT: u64 = 1024;

pub(super) const INCOMPAT_FILETYPE: u32 = 0x2;
pub(super) const INCOMPAT_RECOVER: u32 = 0x4;
const INCOMPAT_META_BG: u32 = 0x10;
const INCOMPAT_64BIT: u32 = 0x80;
const INCOMPAT_ENCRYPT: u32 = 0x1_0000;
const COMPAT_HAS_JOURNAL: u32 = 0x4;
const COMPAT_SPARSE_SUPER2: u32 = 0x200;
const RO_COMPAT_SPARSE_SUPER: u32 = 0x1;
const RO_COMPAT_HUGE_FILE: u32 = 0x8;
/// In `s_state`: closed properly.
const VALID_FS: u16 = 1;

/// Features that change how the disk is read: name, bit, and whether it is known here.
const INCOMPAT: &[(&str, u32, bool)] = &[
    ("compression", 0x1, false),
    ("filetype", INCOMPAT_FILETYPE, true),
    ("needs_recovery", INCOMPAT_RECOVER, true),
    ("journal_dev", 0x8, false),
    ("meta_bg", INCOMPAT_META_BG, true),
    ("extents", 0x40, true),
    ("64bit", INCOMPAT_64BIT, true),
    ("mmp", 0x100, true),
    ("flex_bg", 0x200, true),
    ("ea_inode", 0x400, true),
    ("dirdata", 0x1000, false),
    ("metadata_csum_seed", 0x2000, true),
    ("large_dir", 0x4000, true),
    ("inline_data", 0x8000, true),
    ("encrypt", INCOMPAT_ENCRYPT, true),
    ("casefold", 0x2_0000, true),
];

/// Features that a reader may ignore by the rules of the format: all that are defined, up to
/// `orphan_present`, but snapshots (0x80), which were never part of Linux.
const RO_COMPAT_KNOWN: u32 = 0x1_FF7F;

/// Sizes and places.
pub(super) struct Geometry {
    /// Bytes of a block.
    pub(super) block: NonZeroU64,
    /// Blocks.
    pub(super) blocks: u64,
    /// Bytes of an inode.
    pub(super) inode: u16,
    /// Inodes.
    pub(super) inodes: u32,
    inodes_per_group: NonZeroU64,
    blocks_per_group: u64,
    first_data_block: u64,
    first_meta_group: u64,
    meta_bg: bool,
    /// Bytes of a group descriptor.
    pub(super) descriptor: usize,
    sparse: bool,
    backups: Option<[u32; 2]>,
    /// Bytes of a cluster.
    pub(super) cluster: u64,
    /// Directories say what sort of file a name is.
    pub(super) filetype: bool,
    /// Blocks of an inode are counted with 48 bits.
    pub(super) huge_file: bool,
    /// Numbers of blocks have 48 bits and more.
    pub(super) wide: bool,
}

impl Geometry {
    pub(super) fn new(sb: &SuperBlock) -> Result<Self> {
        let old = sb.rev_level == 0;
        let shifted = |by: u32| 1024_u64.checked_shl(by).filter(|_| by <= 6).and_then(NonZeroU64::new);
        let block = shifted(sb.log_block_size).ok_or_else(|| corrupt("its block size"))?;
        let inode = if old { 128 } else { sb.inode_size };
        if !inode.is_power_of_two() || inode < 128 || u64::from(inode) > block.get() {
            return Err(corrupt("its size of inodes"));
        }
        let wide = sb.feature_incompat & INCOMPAT_64BIT != 0;
        let descriptor = if wide { usize::from(sb.desc_size) } else { 32 };
        let fits = u64::try_from(descriptor).is_ok_and(|bytes| bytes <= block.get());
        if !descriptor.is_power_of_two() || descriptor < 32 || !fits {
            return Err(corrupt("its size of group descriptors"));
        }
        let inodes_per_group =
            NonZeroU64::new(sb.inodes_per_group.into()).ok_or_else(|| corrupt("its inodes per group"))?;
        let sparse2 = sb.feature_compat & COMPAT_SPARSE_SUPER2 != 0;
        Ok(Self {
            block,
            blocks: sb.blocks_count,
            inode,
            inodes: sb.inodes_count,
            inodes_per_group,
            blocks_per_group: sb.blocks_per_group.into(),
            first_data_block: sb.first_data_block.into(),
            first_meta_group: sb.first_meta_bg.into(),
            meta_bg: sb.feature_incompat & INCOMPAT_META_BG != 0,
            descriptor,
            sparse: sb.feature_ro_compat & RO_COMPAT_SPARSE_SUPER != 0,
            backups: sparse2.then_some(sb.backup_bgs),
            cluster: shifted(sb.log_cluster_size).map_or(block.get(), NonZeroU64::get).max(block.get()),
            filetype: sb.feature_incompat & INCOMPAT_FILETYPE != 0,
            huge_file: sb.feature_ro_compat & RO_COMPAT_HUGE_FILE != 0,
            wide,
        })
    }

    /// The group of an inode and its place in the group's table, in bytes. `None` if there is none of this number.
    pub(super) fn inode_place(&self, number: u32) -> Option<(u64, u64)> {
        let index = u64::from(number.checked_sub(1).filter(|_| number <= self.inodes)?);
        let within = (index % self.inodes_per_group).checked_mul(self.inode.into())?;
        Some((index / self.inodes_per_group, within))
    }

    /// The block and the byte in it where the descriptor of a group begins.
    pub(super) fn descriptor_place(&self, group: u64) -> Option<(u64, u64)> {
        let (meta, in_block, within) = self.descriptor_index(group)?;
        // The superblock is in the first block, or in the second one of 1 KiB.
        let superblock = SUPERBLOCK_AT / self.block;
        if !self.is_meta(meta) {
            return Some((superblock.checked_add(1)?.checked_add(meta)?, within));
        }
        let first = meta.checked_mul(in_block.get())?;
        let start = first.checked_mul(self.blocks_per_group)?.checked_add(self.first_data_block)?;
        let behind = u64::from(self.has_superblock(first));
        // Group 0 of 1 KiB blocks may be counted from the boot block.
        let start = if first == 0 { superblock } else { start };
        Some((start.checked_add(behind)?, within))
    }

    /// Where copies of that are, for when it cannot be read: inode tables do not move.
    pub(super) fn descriptor_copies(&self, group: u64) -> Vec<(u64, u64)> {
        let copy = |group: u64, behind: u64| {
            let start = group.checked_mul(self.blocks_per_group)?.checked_add(self.first_data_block)?;
            start.checked_add(u64::from(self.has_superblock(group)))?.checked_add(behind)
        };
        let Some((meta, in_block, within)) = self.descriptor_index(group) else { return vec![] };
        let blocks: Vec<_> = if self.is_meta(meta) {
            // The second and the last group of those that its block describes.
            let first = meta.saturating_mul(in_block.get());
            let last = first.saturating_add(in_block.get()).saturating_sub(1);
            [first.saturating_add(1), last].map(|group| copy(group, 0)).to_vec()
        } else {
            let groups = [1, 3, 5, 7, 9].into_iter().filter(|group| self.has_superblock(*group));
            groups.map(|group| copy(group, meta)).collect()
        };
        blocks.into_iter().flatten().map(|block| (block, within)).collect()
    }

    /// The block among those of descriptors, how many it has, and the byte in it.
    fn descriptor_index(&self, group: u64) -> Option<(u64, NonZeroU64, u64)> {
        let bytes = u64::try_from(self.descriptor).ok()?;
        let in_block = NonZeroU64::new(self.block.get().checked_div(bytes)?)?;
        Some((group / in_block, in_block, (group % in_block).checked_mul(bytes)?))
    }

    /// Is this block of descriptors not with the others, but with the groups that it describes?
    fn is_meta(&self, meta: u64) -> bool {
        self.meta_bg && meta >= self.first_meta_group
    }

    /// Does a group begin with a copy of the superblock?
    fn has_superblock(&self, group: u64) -> bool {
        let power_of = |base: u64| std::iter::successors(Some(base), move |n| n.checked_mul(base)).take(41);
        match (group, self.backups) {
            (0, _) => true,
            (_, Some(backups)) => backups.iter().any(|backup| u64::from(*backup) == group),
            (1, None) => true,
            (_, None) => !self.sparse || [3, 5, 7].into_iter().any(|base| power_of(base).any(|n| n == group)),
        }
    }
}

/// Fails where a feature changes the format in a way that is not known here. Else sentences about what is
/// not covered.
pub(super) fn check_features(sb: &SuperBlock) -> Result<Vec<String>> {
    let known = INCOMPAT.iter().filter(|(.., known)| *known).fold(0, |bits, (_, bit, _)| bits | bit);
    let unknown = sb.feature_incompat & !known;
    if unknown != 0 {
        let named: Vec<_> = INCOMPAT.iter().filter(|(_, bit, _)| unknown & bit != 0).collect();
        let other = named.iter().fold(unknown, |left, (_, bit, _)| left & !bit);
        let mut words: Vec<String> = named.iter().map(|(name, ..)| (*name).to_owned()).collect();
        if other != 0 {
            words.push(format!("{other:#x}"));
        }
        let text = format!("it uses features that are not known: {}", words.join(", "));
        return Err(Error::new(ErrorKind::Unsupported, text));
    }
    let mut missing = vec![];
    if sb.feature_incompat & INCOMPAT_ENCRYPT != 0 {
        missing.push("encrypted folders and files, if it has any, cannot be read without their key".into());
    }
    let newer = sb.feature_ro_compat & !RO_COMPAT_KNOWN;
    if newer != 0 {
        missing
            .push(format!("it uses features that are not known, which only matter for writing: {newer:#x}"));
    }
    Ok(missing)
}

/// Changes are in its journal that are not yet where they belong.
pub(super) fn needs_recovery(sb: &SuperBlock) -> bool {
    sb.feature_incompat & INCOMPAT_RECOVER != 0
}

/// Without a journal: it was not closed properly.
pub(super) fn was_left_open(sb: &SuperBlock) -> bool {
    sb.feature_compat & COMPAT_HAS_JOURNAL == 0 && sb.state & VALID_FS == 0
}

pub(super) fn corrupt(what: &str) -> Error {
    Error::new(ErrorKind::Corrupt, format!("{what} makes no sense"))
}
