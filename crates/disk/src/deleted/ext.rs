//! Deleted files of ext3 and ext4. A deleted inode has lost where its blocks were; the journal may still have a
//! copy of it from before, and of the folder that named it.

use super::ext_log::{Candidate, inodes};
use super::ext_map::Mapped;
use super::ext_names::Names;
use super::ext_space::Space;
use super::jbd2::Log;
use super::reads::Reads;
use super::{Chance, Content, DeletedFile, Found};
use block::field::{bytes_at, u16_at, u32_at};
use block::{Error, ErrorKind, Result, Source};
use std::sync::Arc;

const COMPAT_HAS_JOURNAL: u32 = 0x4;
const COMPAT_SPARSE_SUPER2: u32 = 0x200;
const INCOMPAT_RECOVER: u32 = 0x4;
const INCOMPAT_META_BG: u32 = 0x10;
const INCOMPAT_64BIT: u32 = 0x80;
const RO_SPARSE_SUPER: u32 = 0x1;
const RO_BIGALLOC: u32 = 0x200;
/// Journals are at most this large by `mke2fs`; longer ones are read up to here.
const JOURNAL_MAX: u64 = 4 << 30;

/// A group of blocks and inodes.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Group {
    pub(super) block_bitmap: u64,
    pub(super) inode_bitmap: u64,
    pub(super) inode_table: u64,
    /// Its bitmap was never written: nothing in it is in use but its own metadata.
    pub(super) is_fresh: bool,
}

/// What the superblock and the descriptors say.
pub(super) struct Volume<'a> {
    pub(super) reads: &'a Reads,
    /// Bytes of a block.
    pub(super) block: u64,
    pub(super) blocks: u64,
    pub(super) first_block: u64,
    pub(super) per_group: u64,
    /// Blocks of a bit in the bitmaps: more than one with bigalloc.
    pub(super) cluster: u64,
    pub(super) inodes_per_group: u64,
    pub(super) inodes: u64,
    pub(super) inode_size: u64,
    pub(super) is_dirty: bool,
    pub(super) groups: Vec<Group>,
    sb: Vec<u8>,
}

impl<'a> Volume<'a> {
    fn open(reads: &'a Reads) -> Result<Self> {
        let bad = || Error::new(ErrorKind::Corrupt, "a superblock of ext that makes no sense");
        let sb = reads.get(1024, 1024)?.ok_or_else(bad)?;
        let mut volume = Self::parse(reads, sb).ok_or_else(bad)?;
        let count = volume.blocks.saturating_sub(volume.first_block).div_ceil(volume.per_group);
        for number in 0..count {
            let group = volume.descriptor(number)?.unwrap_or_default();
            volume.groups.push(group);
        }
        Ok(volume)
    }

    fn parse(reads: &'a Reads, sb: Vec<u8>) -> Option<Self> {
        let field = |at| u32_at(&sb, at).map(u64::from);
        let (s_log_block_size, s_log_cluster_size) = (u32_at(&sb, 0x18)?, u32_at(&sb, 0x1C)?);
        let block =
            1024u64.checked_shl(s_log_block_size).filter(|block| *block <= 65536 && *block >= 1024)?;
        let wide = u32_at(&sb, 0x60)? & INCOMPAT_64BIT != 0;
        let s_blocks_count = field(0x4)? | if wide { field(0x150)? << 32 } else { 0 };
        let cluster = match u32_at(&sb, 0x64)? & RO_BIGALLOC {
            0 => 1,
            _ => {
                1u64.checked_shl(s_log_cluster_size.checked_sub(s_log_block_size)?).filter(|n| *n <= 65536)?
            }
        };
        let s_inode_size = if field(0x4C)? == 0 { 128 } else { u64::from(u16_at(&sb, 0x58)?) };
        let volume = Self {
            reads,
            block,
            blocks: s_blocks_count.min(reads.size().checked_div(block)?),
            first_block: field(0x14)?,
            per_group: field(0x20)?,
            cluster,
            inodes_per_group: field(0x28)?,
            inodes: field(0)?,
            inode_size: s_inode_size,
            is_dirty: u32_at(&sb, 0x60)? & INCOMPAT_RECOVER != 0,
            groups: vec![],
            sb,
        };
        let most = block.checked_mul(8)?;
        let sane = (8..=most.checked_mul(cluster)?).contains(&volume.per_group)
            && (1..=most).contains(&volume.inodes_per_group)
            && volume.inode_size.is_power_of_two()
            && (128..=block).contains(&volume.inode_size)
            && volume.first_block <= 1;
        sane.then_some(volume)
    }

    fn feature(&self, at: usize, bit: u32) -> bool {
        u32_at(&self.sb, at).is_some_and(|features| features & bit != 0)
    }

    /// Bytes of a group descriptor.
    fn descriptor_size(&self) -> u64 {
        let size = u64::from(u16_at(&self.sb, 0xFE).unwrap_or(0));
        if self.feature(0x60, INCOMPAT_64BIT) && (32..=1024).contains(&size) { size } else { 32 }
    }

    fn descriptor(&self, number: u64) -> Result<Option<Group>> {
        let size = self.descriptor_size();
        let each = self.block.checked_div(size).unwrap_or(1).max(1);
        let table = number.checked_div(each).unwrap_or(0);
        let mut block = self.first_block.saturating_add(1).saturating_add(table);
        let s_first_meta_bg = u64::from(u32_at(&self.sb, 0x104).unwrap_or(0));
        if self.feature(0x60, INCOMPAT_META_BG) && table >= s_first_meta_bg {
            let holder = table.saturating_mul(each);
            let behind = u64::from(self.has_super(holder));
            block = self.first_block_of(holder).saturating_add(behind);
        }
        let inside = number.checked_rem(each).unwrap_or(0).saturating_mul(size);
        let at = block.saturating_mul(self.block).saturating_add(inside);
        let Some(bytes) = self.reads.get(at, size)? else { return Ok(None) };
        let word = |low: usize, high: usize| {
            let high = if size >= 64 { u32_at(&bytes, high).unwrap_or(0) } else { 0 };
            u64::from(u32_at(&bytes, low).unwrap_or(0)) | (u64::from(high) << 32)
        };
        const BLOCK_UNINIT: u16 = 2;
        Ok(Some(Group {
            block_bitmap: word(0, 0x20),
            inode_bitmap: word(4, 0x24),
            inode_table: word(8, 0x28),
            is_fresh: u16_at(&bytes, 0x12).is_some_and(|flags| flags & BLOCK_UNINIT != 0),
        }))
    }

    pub(super) fn first_block_of(&self, group: u64) -> u64 {
        self.first_block.saturating_add(group.saturating_mul(self.per_group))
    }

    /// Blocks behind the superblock of a group that has one: descriptors, and room for more of them.
    pub(super) fn super_blocks(&self) -> u64 {
        let groups = u64::try_from(self.groups.len()).unwrap_or(u64::MAX);
        let table = groups.saturating_mul(self.descriptor_size()).div_ceil(self.block);
        let reserved = u64::from(u16_at(&self.sb, 0xCE).unwrap_or(0));
        table.saturating_add(reserved).saturating_add(1)
    }

    /// Does this group begin with a superblock?
    pub(super) fn has_super(&self, group: u64) -> bool {
        if self.feature(0x5C, COMPAT_SPARSE_SUPER2) {
            let backups = [0x24C, 0x250].map(|at| u32_at(&self.sb, at).map(u64::from));
            return group == 0 || backups.contains(&Some(group));
        }
        let is_power = |base: u64| {
            let mut power = base;
            while power < group {
                power = power.saturating_mul(base);
            }
            power == group
        };
        !self.feature(0x64, RO_SPARSE_SUPER) || group <= 1 || [3, 5, 7].into_iter().any(is_power)
    }

    /// Blocks of an inode table.
    pub(super) fn table_blocks(&self) -> u64 {
        self.inodes_per_group.saturating_mul(self.inode_size).div_ceil(self.block)
    }

    /// The inode as it lies on the disk.
    pub(super) fn inode(&self, number: u64) -> Result<Option<Vec<u8>>> {
        let index = number.saturating_sub(1);
        let place = index.checked_div(self.inodes_per_group).zip(index.checked_rem(self.inodes_per_group));
        let group = place.and_then(|(group, inside)| {
            Some((self.groups.get(usize::try_from(group).ok()?)?, inside.checked_mul(self.inode_size)?))
        });
        let Some((group, inside)) = group.filter(|(group, _)| group.inode_table != 0) else {
            return Ok(None);
        };
        self.reads.get(group.inode_table.saturating_mul(self.block).saturating_add(inside), self.inode_size)
    }

    /// A block as it lies on the disk.
    pub(super) fn on_disk(&self, block: u64) -> Result<Option<Vec<u8>>> {
        self.reads.get(block.saturating_mul(self.block), self.block)
    }

    /// The journal, a file in it. The superblock keeps a copy of where it is.
    fn journal(&self) -> Result<Option<Source>> {
        let number = u64::from(u32_at(&self.sb, 0xE0).unwrap_or(0));
        let saved = bytes_at::<68>(&self.sb, 0x10C).map(|saved| {
            let mut inode = vec![0; 128];
            for (to, from) in inode.iter_mut().skip(40).zip(saved) {
                *to = from;
            }
            for (to, from) in inode.iter_mut().skip(4).zip(saved.iter().skip(64)) {
                *to = *from;
            }
            inode
        });
        for (inode, is_saved) in [(self.inode(number)?, false), (saved, true)] {
            let Some(mut inode) = inode else { continue };
            if is_saved {
                // It does not say which of two ways it counts in; extents begin with a magic number.
                let extents = u16_at(&inode, 40) == Some(0xF30A);
                if let Some(byte) = inode.get_mut(34) {
                    *byte = if extents { 8 } else { 0 };
                }
            }
            let size = u64::from(u32_at(&inode, 4).unwrap_or(0))
                | (u64::from(u32_at(&inode, 108).unwrap_or(0)) << 32);
            let mapped = Mapped::of(self, &inode, size.min(JOURNAL_MAX), &|block| self.on_disk(block))?;
            if let Some(mapped) = mapped.filter(|mapped| !mapped.runs.is_empty()) {
                let runs =
                    super::content::Runs::new(self.reads.source(), &mapped.runs, size.min(JOURNAL_MAX));
                return Ok(Some(Arc::new(runs)));
            }
        }
        Ok(None)
    }
}

pub(super) fn find(reads: &Reads, type_name: &'static str) -> Result<Found> {
    let volume = Volume::open(reads)?;
    let mut found = Found::new(type_name);
    let mut say = |words: &str| found.missing.push(words.to_owned());
    if !volume.feature(0x5C, COMPAT_HAS_JOURNAL) {
        say("It has no journal, so where deleted files were is not known: none can be found.");
        return Ok(found);
    }
    if u32_at(&volume.sb, 0xE0) == Some(0) {
        say(
            "Its journal is on another disk, so where deleted files were is not known here: none can be found.",
        );
        return Ok(found);
    }
    let log = match volume.journal()? {
        Some(journal) => Log::read(reads, journal, volume.block)?,
        None => None,
    };
    let Some(log) = log else {
        say("Its journal cannot be read, so where deleted files were is not known: none can be found.");
        return Ok(found);
    };
    say("Deleted files are found only as far back as the journal remembers.");
    if volume.is_dirty {
        say(
            "It was not cleanly unmounted: what was written last may lie over any deleted file, so none is called intact.",
        );
    }
    if log.fast_commits {
        say("It has fast commits, which are not looked into.");
    }
    let mut runs = 0usize;
    let mut inodes = inodes(&volume, &log)?;
    inodes.gone.sort_by_key(|candidate| (candidate.inode, candidate.seen));
    let mut names = Names::read(&volume, &log, &inodes)?;
    let mut space = Space::new(&volume, &log);
    for (index, candidate) in inodes.gone.iter().enumerate() {
        let newest =
            inodes.gone.get(index.saturating_add(1)).is_none_or(|next| next.inode != candidate.inode);
        if !candidate.is_file() {
            continue;
        }
        let Some(file) = recovered(&volume, &log, candidate, newest, &mut space)? else { continue };
        if found.is_full(file.content.runs().len(), &mut runs) {
            break;
        }
        let (name, folder) = names.of(index)?;
        found.files.push(DeletedFile { name, folder, ..file });
    }
    space.settle(&mut found.files)?;
    Ok(found)
}

/// The file of an old copy of an inode.
fn recovered(
    volume: &Volume,
    log: &Log,
    candidate: &Candidate,
    newest: bool,
    space: &mut Space,
) -> Result<Option<DeletedFile>> {
    let size = candidate.size();
    // What is in the journal from its time or before is its own; what came after is not.
    let as_of = |block: u64| {
        let copies = log.of_block(block);
        match copies.iter().rev().find(|copy| copy.sequence <= candidate.seen) {
            Some(copy) => log.bytes(volume.reads, copy),
            None if copies.is_empty() => volume.on_disk(block),
            None => Ok(None),
        }
    };
    let id = if newest { candidate.inode } else { (u64::from(candidate.seen) << 32) | candidate.inode };
    let times = |file: DeletedFile| DeletedFile {
        modified: candidate.time(0x10, 0x88),
        accessed: candidate.time(0x8, 0x8C),
        changed: candidate.time(0xC, 0x84),
        created: candidate.created(),
        deleted: candidate.gone.and_then(|gone| log.time(gone)),
        ..file
    };
    if candidate.is_inline() {
        let bytes = candidate.raw.get(40..100).and_then(|all| all.get(..usize::try_from(size).ok()?));
        let Some(bytes) = bytes else {
            let content = Content::Other("a file kept in its inode and its attributes", Arc::new([]));
            let mut file = DeletedFile::new(id, size, content);
            file.worsen(
                Chance::Partial,
                "it is kept in its inode and its attributes, which is not understood",
            );
            return Ok(Some(times(file)));
        };
        return Ok(Some(times(DeletedFile::new(id, size, Content::Bytes(bytes.into())))));
    }
    let Some(mapped) = Mapped::of(volume, &candidate.raw, size, &as_of)? else { return Ok(None) };
    let content = if candidate.is_encrypted() {
        Content::Other("an encrypted file", mapped.runs.clone().into())
    } else {
        Content::Runs(mapped.runs.clone().into())
    };
    let mut file = DeletedFile::new(id, size, content);
    if candidate.is_encrypted() {
        file.worsen(Chance::Partial, "it is encrypted");
    }
    if !mapped.is_whole() || candidate.blocks(volume).is_some_and(|blocks| blocks != mapped.taken) {
        file.worsen(Chance::Partial, "where some of it was is not known any more");
    }
    if mapped.is_growing {
        file.worsen(Chance::Partial, "it was still being written when it was last seen");
    }
    if volume.is_dirty {
        file.worsen(Chance::Partial, "the filesystem was not cleanly unmounted");
    }
    if log.unbroken.is_none_or(|unbroken| candidate.seen < unbroken) {
        file.worsen(Chance::Partial, "the journal does not remember all that came after it");
    }
    space.note(id, candidate.seen);
    Ok(Some(times(file)))
}

/// A volume of 1000 blocks of 1 KiB, for tests of what is read with it.
#[cfg(test)]
pub(super) fn sample(reads: &Reads) -> Volume<'_> {
    let groups = vec![Group::default()];
    Volume {
        reads,
        block: 1024,
        blocks: 1000,
        first_block: 1,
        per_group: 8192,
        cluster: 1,
        inodes_per_group: 64,
        inodes: 64,
        inode_size: 128,
        is_dirty: false,
        groups,
        sb: vec![0; 1024],
    }
}
