//! HFS+ and HFSX: the allocation file (Apple, TN1150).

use super::Mapped;
use super::runs::{First, Runs, set_bits};
use super::volume::{OrCorrupt, Volume, be16, be32, be64, corrupt, units, unsupported};
use crate::probe::Content;
use block::{ByteRange, Result};

const JOURNALED: u64 = 1 << 13;
const INCONSISTENT: u64 = 1 << 11;
/// In the journal's info block: it lies on this volume; it was never used.
const JOURNAL_HERE: u64 = 1;
const JOURNAL_NEW: u64 = 4;
const JOURNAL_MAGIC: u64 = 0x4A4E_4C78;
const PIECE: u64 = 1 << 20;
const ODD: &str = "its volume header contradicts itself";

pub(super) fn map(volume: &Volume<'_>, _: &Content) -> Result<Mapped> {
    let (base, header) = header(volume)?;
    let field = |at| be32(&header, at).or_corrupt(ODD);
    let (attributes, block, blocks, free) = (field(4)?, field(40)?, field(44)?, field(48)?);
    if !block.is_power_of_two() || block < 512 {
        return Err(corrupt(ODD));
    }
    if attributes & INCONSISTENT != 0 {
        return Err(corrupt("it says that it is inconsistent"));
    }
    if attributes & JOURNALED != 0 {
        journal_is_empty(volume, base, block, field(12)?)?;
    }
    let end = units(block, 0, blocks)?.moved(0, base).end();
    // What wraps it, and the volume header and its copy.
    let mut list = vec![ByteRange::span(0, base.saturating_add(1536))];
    let mut taken = 0u64;
    let mut left = ByteRange::span(0, blocks.div_ceil(8));
    let mut used = Runs::default();
    for extent in 0..8usize {
        let at = extent.saturating_mul(8).saturating_add(128);
        let (start, count) = (field(at)?, field(at.saturating_add(4))?);
        let place = units(block, start, count)?.moved(0, base);
        list.push(place);
        for piece in ByteRange::span(place.start(), place.end().min(place.start().saturating_add(left.len())))
            .pieces(PIECE)
        {
            let bits = volume.read(piece.start(), piece.len())?;
            let first = left.start().saturating_mul(8);
            let here = blocks.saturating_sub(first).min(piece.len().saturating_mul(8));
            set_bits(&bits, here, First::Highest, |from, to| {
                taken = taken.saturating_add(to.saturating_sub(from));
                let run = units(block, first.saturating_add(from), to.saturating_sub(from))?;
                used.add(run.moved(0, base))
            })?;
            left = ByteRange::span(left.start().saturating_add(piece.len()), left.end());
        }
    }
    if !left.is_empty() {
        return Err(unsupported("its allocation file lies in very many pieces"));
    }
    if blocks.checked_sub(taken) != Some(free) {
        return Err(corrupt("it counts other free blocks than its allocation file"));
    }
    if !list.iter().skip(1).all(|own| used.cover(*own)) {
        return Err(corrupt("its allocation file lies in blocks that it counts as free"));
    }
    list.push(ByteRange::span(end.saturating_sub(1024), end));
    list.extend(used.into_list());
    Ok(Mapped { used: Runs::from_unsorted(list)?, end, more: None })
}

/// The volume header, and where its volume begins: an old one may be wrapped in an HFS.
fn header(volume: &Volume<'_>) -> Result<(u64, Vec<u8>)> {
    let outer = volume.read(1024, 512)?;
    if outer.get(..2) != Some(b"BD") {
        return Ok((0, outer));
    }
    let base = || {
        let blocks = be16(&outer, 126)?.checked_mul(be32(&outer, 20)?)?;
        be16(&outer, 28)?.checked_mul(512)?.checked_add(blocks)
    };
    let base = base().or_corrupt(ODD)?;
    Ok((base, volume.read(base.saturating_add(1024), 512)?))
}

/// Nothing waits in the journal whose info block is this one.
fn journal_is_empty(volume: &Volume<'_>, base: u64, block: u64, info: u64) -> Result<()> {
    let wrong = "its journal cannot be read";
    let place = units(block, info, 1)?.moved(0, base);
    let info = volume.read(place.start(), 52)?;
    let (flags, offset) = (be32(&info, 0).or_corrupt(wrong)?, be64(&info, 36).or_corrupt(wrong)?);
    if flags & JOURNAL_HERE == 0 {
        return Err(unsupported("its journal is on another device"));
    }
    if flags & JOURNAL_NEW != 0 {
        return Ok(());
    }
    let mut journal = volume.read(base.checked_add(offset).or_corrupt(wrong)?, 32)?;
    // Its numbers are of the machine that wrote it.
    if journal.get(..4) == Some(&b"xLNJ"[..]) {
        journal
            .get_mut(8..24)
            .unwrap_or(&mut [])
            .as_chunks_mut::<8>()
            .0
            .iter_mut()
            .for_each(|word| word.reverse());
    } else if be32(&journal, 0) != Some(JOURNAL_MAGIC) {
        return Err(corrupt(wrong));
    }
    let empty = be64(&journal, 8) == be64(&journal, 16);
    empty.then_some(()).or_corrupt("journal needs recovery")
}
