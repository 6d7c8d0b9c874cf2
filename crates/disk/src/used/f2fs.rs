//! F2FS that was unmounted: which blocks of each segment are valid (kernel, `include/linux/f2fs_fs.h`).
//!
//! The newest checkpoint says which copy of each block of the segment information table counts, and its
//! journal replaces single entries.

use super::Mapped;
use super::runs::{First, Runs, set_bits};
use super::volume::{OrCorrupt, Volume, byte, corrupt, le16, le32, le64, units, unsupported};
use crate::probe::Content;
use block::{ByteRange, Result};

const BLOCK: u64 = 4096;
/// Blocks of a segment.
const SEGMENT: u64 = 512;
const LOG_SEGMENT: u64 = 9;
const FEATURE_BLKZONED: u64 = 0x2;
const CP_UMOUNT: u64 = 0x1;
const CP_COMPACT_SUM: u64 = 0x4;
const CP_LARGE_NAT_BITMAP: u64 = 0x400;
/// Errors, fsck wanted, checkpoints disabled, being resized.
const CP_BAD: u64 = 0x8 | 0x10 | 0x1000 | 0x2000 | 0x4000;
/// Bytes of an entry of the table: counters, a bit for each block, a time.
const SIT_ENTRY: usize = 74;
const SIT_ENTRIES: u64 = 55;
const VALID_MAP: std::ops::Range<usize> = 2..66;
/// In a summary block behind its entries: the journal of the table.
const JOURNAL: usize = 512 * 7;
/// In a compact summary: behind the journal of the node table.
const COMPACT_JOURNAL: usize = 507;
const JOURNAL_ENTRY: usize = 78;
const JOURNAL_ENTRIES: u64 = 6;
/// Summaries in front of the end of a checkpoint, and of cold data among them.
const SUMMARIES: u64 = 7;
const COLD_DATA: u64 = 2;
/// Segments: 8 TiB of 2 MiB.
const SEGMENTS_MAX: u64 = 1 << 22;
const ODD: &str = "its superblock contradicts itself";
const NO_CHECKPOINT: &str = "it has no checkpoint that counts";

/// Block addresses of the superblock.
struct Superblock {
    blocks: u64,
    segments_sit: u64,
    segments: u64,
    checkpoint: u64,
    sit: u64,
    main: u64,
    /// Blocks that a checkpoint has more.
    payload: u64,
}

impl Superblock {
    fn parse(sb: &[u8]) -> Option<Self> {
        let usual = le32(sb, 16)? == u64::from(BLOCK.trailing_zeros()) && le32(sb, 20)? == LOG_SEGMENT;
        let parsed = Self {
            blocks: le64(sb, 36)?,
            segments_sit: le32(sb, 56)?,
            segments: le32(sb, 68)?,
            checkpoint: le32(sb, 76)?,
            sit: le32(sb, 80)?,
            main: le32(sb, 92)?,
            payload: le32(sb, 1664)?,
        };
        let end = parsed.segments.checked_mul(SEGMENT)?.checked_add(parsed.main)?;
        (usual && end <= parsed.blocks && parsed.sit < parsed.main && parsed.segments <= SEGMENTS_MAX)
            .then_some(parsed)
    }
}

pub(super) fn map(volume: &Volume<'_>, _: &Content) -> Result<Mapped> {
    let bytes = volume.read(1024, 3072)?;
    let sb = Superblock::parse(&bytes).or_corrupt(ODD)?;
    let feature = le32(&bytes, 2180).or_corrupt(ODD)?;
    if feature & FEATURE_BLKZONED != 0 || byte(&bytes, 2201) != Some(0) {
        return Err(unsupported("it is zoned, or other devices belong to it"));
    }
    let checkpoint = Checkpoint::newest(volume, &sb)?;
    let mut table = table(volume, &sb, &checkpoint)?;
    checkpoint.journal(volume, &mut table)?;
    let mut used = Runs::default();
    used.add(units(BLOCK, 0, sb.main)?)?;
    let mut valid = 0u64;
    for (number, bits) in (0u64..).zip(&table) {
        let start = units(SEGMENT, number, 1)?.moved(0, sb.main).start();
        set_bits(bits, SEGMENT, First::Highest, |from, to| {
            valid = valid.saturating_add(to.saturating_sub(from));
            used.add(units(BLOCK, start.saturating_add(from), to.saturating_sub(from))?)
        })?;
    }
    if le64(&checkpoint.bytes, 16) != Some(valid) {
        return Err(corrupt("it counts other valid blocks than its table"));
    }
    let behind = units(SEGMENT, sb.segments, 1)?.moved(0, sb.main).start();
    let end = units(BLOCK, 0, sb.blocks)?.end();
    used.add(ByteRange::span(units(BLOCK, behind, 0)?.start(), end))?;
    Ok(Mapped { used, end, more: None })
}

/// A checkpoint, of which there are two.
struct Checkpoint {
    /// Its first block.
    at: u64,
    bytes: Vec<u8>,
    flags: u64,
    /// Its blocks.
    total: u64,
}

impl Checkpoint {
    /// The one of the two that is whole and newer.
    fn newest(volume: &Volume<'_>, sb: &Superblock) -> Result<Self> {
        let second = sb.checkpoint.saturating_add(SEGMENT);
        let both = [sb.checkpoint, second].map(|at| Self::read(volume, at));
        // Of equal ones the first counts.
        let newest = both.into_iter().flatten().flatten().rev().max_by_key(|(version, _)| *version);
        let (_, checkpoint) = newest.or_corrupt(NO_CHECKPOINT)?;
        match checkpoint.flags {
            flags if flags & CP_UMOUNT == 0 => Err(corrupt("not cleanly unmounted")),
            flags if flags & CP_BAD != 0 => Err(corrupt("its checkpoint says that it is not sound")),
            _ => Ok(checkpoint),
        }
    }

    /// With its version; `None` if its last block is not of the same.
    fn read(volume: &Volume<'_>, at: u64) -> Result<Option<(u64, Self)>> {
        let bytes = volume.read(units(BLOCK, at, 1)?.start(), BLOCK)?;
        let field = |at| le32(&bytes, at).or_corrupt(NO_CHECKPOINT);
        let (version, flags, total) = (le64(&bytes, 0), field(132)?, field(136)?);
        if !(2..=SEGMENT).contains(&total) {
            return Ok(None);
        }
        let last = at.saturating_add(total).saturating_sub(1);
        let last = volume.read(units(BLOCK, last, 1)?.start(), 8)?;
        let whole = version.filter(|version| le64(&last, 0) == Some(*version));
        Ok(whole.map(|version| (version, Self { at, bytes, flags, total })))
    }

    /// A bit for each block of the table: the second copy counts.
    fn versions(&self, volume: &Volume<'_>, sb: &Superblock) -> Result<Vec<u8>> {
        let field = |at| le32(&self.bytes, at).and_then(|size| usize::try_from(size).ok());
        let (sit_bytes, nat_bytes) = field(156).zip(field(160)).or_corrupt(NO_CHECKPOINT)?;
        let place = match (self.flags & CP_LARGE_NAT_BITMAP != 0, sb.payload > 0) {
            (true, _) => nat_bytes.checked_add(196),
            (false, false) => Some(192),
            (false, true) => {
                let blocks = u64::try_from(sit_bytes).unwrap_or(u64::MAX).div_ceil(BLOCK).max(1);
                let more = units(BLOCK, self.at.saturating_add(1), blocks)?;
                let mut bits = volume.read(more.start(), more.len())?;
                bits.truncate(sit_bytes);
                return Ok(bits);
            }
        };
        let bits = place.and_then(|place| self.bytes.get(place..)?.get(..sit_bytes));
        bits.map(<[u8]>::to_vec).or_corrupt(NO_CHECKPOINT)
    }

    /// Replaces the entries that the journal has newer.
    fn journal(&self, volume: &Volume<'_>, table: &mut [[u8; 64]]) -> Result<()> {
        let start_sum = le32(&self.bytes, 140).or_corrupt(NO_CHECKPOINT)?;
        let (block, offset) = if self.flags & CP_COMPACT_SUM != 0 {
            (start_sum, COMPACT_JOURNAL)
        } else {
            let first = self.total.checked_sub(SUMMARIES).or_corrupt(NO_CHECKPOINT)?;
            (first.saturating_add(COLD_DATA), JOURNAL)
        };
        let block = volume.read(units(BLOCK, self.at.saturating_add(block), 1)?.start(), BLOCK)?;
        let journal = block.get(offset..).unwrap_or(&[]);
        let count = le16(journal, 0).filter(|count| *count <= JOURNAL_ENTRIES);
        let count =
            count.and_then(|count| usize::try_from(count).ok()).or_corrupt("its journal is damaged")?;
        for entry in journal.get(2..).unwrap_or(&[]).chunks_exact(JOURNAL_ENTRY).take(count) {
            let number = le32(entry, 0).and_then(|number| usize::try_from(number).ok());
            let place = number.and_then(|number| table.get_mut(number));
            let bits = entry.get(4..).and_then(|entry| entry.get(VALID_MAP)?.first_chunk::<64>());
            *place.or_corrupt("its journal is damaged")? = *bits.or_corrupt("its journal is damaged")?;
        }
        Ok(())
    }
}

/// The bits of each segment, as the table has them.
fn table(volume: &Volume<'_>, sb: &Superblock, checkpoint: &Checkpoint) -> Result<Vec<[u8; 64]>> {
    let versions = checkpoint.versions(volume, sb)?;
    // Half of its segments are the first copy.
    let copy = (sb.segments_sit / 2).saturating_mul(SEGMENT);
    let mut table = vec![];
    for number in 0..sb.segments.div_ceil(SIT_ENTRIES) {
        let bits =
            usize::try_from(number / 8).ok().and_then(|at| versions.get(at)).or_corrupt(NO_CHECKPOINT)?;
        let bit = u32::try_from(7u64.saturating_sub(number % 8)).unwrap_or(0);
        let second = bits.checked_shr(bit).unwrap_or(0) & 1 == 1;
        let at = sb.sit.saturating_add(number).saturating_add(if second { copy } else { 0 });
        let block = volume.read(units(BLOCK, at, 1)?.start(), BLOCK)?;
        for entry in block.chunks_exact(SIT_ENTRY) {
            if u64::try_from(table.len()).unwrap_or(0) < sb.segments {
                table
                    .push(*entry.get(VALID_MAP).and_then(|map| map.first_chunk()).or_corrupt(NO_CHECKPOINT)?);
            }
        }
    }
    Ok(table)
}
