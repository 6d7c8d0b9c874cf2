//! Inodes as the journal remembers them, that are not there any more.

use super::ext::Volume;
use super::jbd2::{Copy, Log};
use crate::fs::Time;
use block::Result;
use block::field::{u16_at, u32_at};
use std::collections::HashMap;

/// Old inodes that are kept.
const CANDIDATES: usize = 200_000;
/// Inodes below are of the filesystem itself.
const FIRST_INODE: u64 = 11;
const FLAG_ENCRYPT: u32 = 0x800;
const FLAG_HUGE_FILE: u32 = 0x4_0000;
const FLAG_INLINE_DATA: u32 = 0x1000_0000;
/// Bytes of an inode that matter here.
const KEPT: usize = 160;

/// A file or folder that was, as it was when it was last seen.
pub(super) struct Candidate {
    pub(super) inode: u64,
    /// The transaction of the last copy in which it is alive.
    pub(super) seen: u32,
    /// The first one in which it is not, if that is remembered.
    pub(super) gone: Option<u32>,
    /// The inode.
    pub(super) raw: Vec<u8>,
}

impl Candidate {
    fn word(&self, at: usize) -> u32 {
        u32_at(&self.raw, at).unwrap_or(0)
    }

    fn kind(&self) -> u16 {
        u16_at(&self.raw, 0).unwrap_or(0) & 0xF000
    }

    /// A file with bytes. Those without any are what every file is for a moment.
    pub(super) fn is_file(&self) -> bool {
        self.kind() == 0x8000 && self.size() > 0
    }

    pub(super) fn is_folder(&self) -> bool {
        self.kind() == 0x4000
    }

    pub(super) fn size(&self) -> u64 {
        u64::from(self.word(4)) | (u64::from(self.word(0x6C)) << 32)
    }

    pub(super) fn is_inline(&self) -> bool {
        self.word(0x20) & FLAG_INLINE_DATA != 0
    }

    pub(super) fn is_encrypted(&self) -> bool {
        self.word(0x20) & FLAG_ENCRYPT != 0
    }

    /// Blocks that it takes, without that of its attributes; `None` where they are counted in clusters.
    pub(super) fn blocks(&self, volume: &Volume) -> Option<u64> {
        let count = u64::from(self.word(0x1C)) | (u64::from(u16_at(&self.raw, 0x74)?) << 32);
        let unit = if self.word(0x20) & FLAG_HUGE_FILE != 0 { volume.block } else { 512 };
        let blocks = count.checked_mul(unit)?.checked_div(volume.block)?;
        let attributes = u64::from(self.word(0x68) != 0 || u16_at(&self.raw, 0x76)? != 0);
        (volume.cluster == 1).then(|| blocks.saturating_sub(attributes))
    }

    /// A time: where its seconds are, and in larger inodes what is beyond them.
    pub(super) fn time(&self, at: usize, extra: usize) -> Option<Time> {
        let seconds = i64::from(i32::from_le_bytes(u32_at(&self.raw, at)?.to_le_bytes()));
        let more = if self.has(extra) { self.word(extra) } else { 0 };
        let seconds = seconds.checked_add(i64::from(more & 3) << 32)?;
        Some(Time { seconds, nanos: (more >> 2).min(999_999_999) })
    }

    pub(super) fn created(&self) -> Option<Time> {
        self.has(0x94).then(|| self.time(0x90, 0x94)).flatten()
    }

    /// Does the larger inode reach so far?
    fn has(&self, extra: usize) -> bool {
        let i_extra_isize = u16_at(&self.raw, 0x80).map_or(0, usize::from);
        extra.saturating_add(4) <= i_extra_isize.saturating_add(128)
    }
}

/// Is somebody here? A file or folder that has a name.
fn is_alive(raw: &[u8]) -> bool {
    let kind = u16_at(raw, 0).unwrap_or(0) & 0xF000;
    matches!(kind, 0x8000 | 0x4000) && u16_at(raw, 0x1A).is_some_and(|links| links != 0)
}

/// Which of those that had this inode in turn.
fn generation(raw: &[u8]) -> Option<u32> {
    u32_at(raw, 0x64)
}

/// What the journal has of inodes.
#[derive(Default)]
pub(super) struct Inodes {
    /// Every file and folder of which it has a copy, and that is not there now.
    pub(super) gone: Vec<Candidate>,
    /// The folders that are still there, with the inode.
    pub(super) folders: Vec<(u64, Vec<u8>)>,
}

/// Looks through all copies of inode tables.
pub(super) fn inodes(volume: &Volume, log: &Log) -> Result<Inodes> {
    let mut tables: Vec<(u64, u64)> = vec![];
    for (number, group) in (0u64..).zip(&volume.groups) {
        tables.push((group.inode_table, number));
    }
    tables.sort_unstable();
    let mut found = Inodes::default();
    for copies in log.copies.chunk_by(|one, other| one.block == other.block) {
        let Some(copy) = copies.first() else { continue };
        let index = tables.partition_point(|(start, _)| *start <= copy.block).checked_sub(1);
        let Some((start, group)) = index.and_then(|index| tables.get(index)) else { continue };
        let inside = copy.block.saturating_sub(*start);
        if inside >= volume.table_blocks() || *start == 0 {
            continue;
        }
        let each = volume.block.checked_div(volume.inode_size).unwrap_or(0);
        let first = group.saturating_mul(volume.inodes_per_group).saturating_add(inside.saturating_mul(each));
        of_block(volume, log, copies, first.saturating_add(1), &mut found)?;
        if found.gone.len() >= CANDIDATES {
            break;
        }
    }
    Ok(found)
}

/// The same of the copies of one block of an inode table, which begins with inode `first`.
fn of_block(volume: &Volume, log: &Log, copies: &[Copy], first: u64, found: &mut Inodes) -> Result<()> {
    let size = usize::try_from(volume.inode_size).unwrap_or(usize::MAX);
    let mut alive: HashMap<u64, Candidate> = HashMap::new();
    let on_disk = volume.on_disk(copies.first().map_or(0, |copy| copy.block))?;
    // The disk is the newest of them, unless the journal was not yet written out.
    let last = on_disk.filter(|_| !volume.is_dirty).map(|bytes| (None, bytes));
    let mut look = |sequence: Option<u32>, bytes: &[u8]| {
        for (inode, raw) in (first..).zip(bytes.chunks_exact(size)) {
            if inode < FIRST_INODE || inode > volume.inodes {
                continue;
            }
            let here = is_alive(raw);
            let before = alive.get(&inode).and_then(|before| generation(&before.raw));
            let another = before.is_some() && (!here || before != generation(raw));
            if let Some(before) = alive.remove(&inode).filter(|_| another) {
                found.gone.push(Candidate { gone: sequence, ..before });
            }
            if let Some(seen) = sequence.filter(|_| here) {
                let raw = raw.get(..size.min(KEPT)).unwrap_or_default().to_vec();
                alive.insert(inode, Candidate { inode, seen, gone: None, raw });
            }
        }
    };
    for copy in copies {
        if let Some(bytes) = log.bytes(volume.reads, copy)? {
            look(Some(copy.sequence), &bytes);
        }
    }
    if let Some((sequence, bytes)) = last {
        look(sequence, &bytes);
    }
    let folders = alive.into_values().filter(Candidate::is_folder);
    found.folders.extend(folders.take(CANDIDATES).map(|folder| (folder.inode, folder.raw)));
    Ok(())
}
