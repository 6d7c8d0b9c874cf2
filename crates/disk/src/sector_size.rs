//! For which sector size a table was written, where its place or what lies at its partitions shows it.

use crate::gpt;
use crate::mbr::{self, Entry, Sector0};
use crate::probe;
use crate::reader::Reader;
use block::{ByteRange, ReadAt, Result, SectorSize};

/// The other size and the table (`GPT`, `MBR`) that was written for it; `None` if it fits `asked`, or if
/// nothing tells. Slow to doubt `asked`: one thing recognised where its table says settles it.
pub(crate) fn other(source: &dyn ReadAt, asked: SectorSize) -> Result<Option<(SectorSize, &'static str)>> {
    let other = if asked == SectorSize::B512 { SectorSize::B4096 } else { SectorSize::B512 };
    if has_gpt(source, asked)? {
        return Ok(None);
    }
    if has_gpt(source, other)? {
        return Ok(Some((other, "GPT")));
    }
    let Sector0::Table { entries, .. } = sector0(&mut Reader::new(source, asked))? else { return Ok(None) };
    let used: Vec<_> = entries.into_iter().filter(|entry| entry.is_used()).collect();
    let fits = |entry: &Entry| range(*entry, other).is_some_and(|range| range.end() <= source.size());
    if entries.into_iter().any(Entry::is_protective) || !used.iter().all(fits) {
        return Ok(None);
    }
    let told = !holds(source, &used, asked)? && holds(source, &used, other)?;
    Ok(told.then_some((other, "MBR")))
}

/// Sector 0, if it can be read.
pub(crate) fn sector0(disk: &mut Reader<'_>) -> Result<Sector0> {
    let sector = disk.read(block::Lba(0), 1, "sector 0")?;
    Ok(sector.map_or(Sector0::Other, |bytes| Sector0::parse(&bytes, disk.sectors())))
}

/// Is there a GPT that counts, with sectors of this size?
fn has_gpt(source: &dyn ReadAt, sector: SectorSize) -> Result<bool> {
    let mut disk = Reader::new(source, sector);
    Ok(match sector0(&mut disk)? {
        Sector0::Superfloppy => false,
        Sector0::Other => gpt::find(&mut disk)?.primary.is_some(),
        Sector0::Table { entries, .. } if entries.into_iter().any(Entry::is_protective) => {
            let copies = gpt::find(&mut disk)?;
            copies.primary.is_some() || copies.backup.is_some()
        }
        Sector0::Table { .. } => false,
    })
}

/// Does anything known begin where one of these does: what a probe knows, or an EBR?
fn holds(source: &dyn ReadAt, entries: &[Entry], sector: SectorSize) -> Result<bool> {
    for entry in entries {
        let Some(range) = range(*entry, sector).filter(|range| range.end() <= source.size()) else {
            continue;
        };
        let known = match entry.is_extended() {
            true => Reader::new(source, sector)
                .read(entry.start(), 1, "the EBR")?
                .is_some_and(|bytes| mbr::is_ebr(&bytes)),
            false => probe::identify(&Part { source, range })?.is_some(),
        };
        if known {
            return Ok(true);
        }
    }
    Ok(false)
}

fn range(entry: Entry, sector: SectorSize) -> Option<ByteRange> {
    sector.range(entry.start(), entry.sectors())
}

/// A part of a borrowed source, which it must lie in.
struct Part<'a> {
    source: &'a dyn ReadAt,
    range: ByteRange,
}

impl ReadAt for Part<'_> {
    fn size(&self) -> u64 {
        self.range.len()
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<()> {
        let len = u64::try_from(buf.len()).unwrap_or(u64::MAX);
        let range = ByteRange::within(self.size(), offset, len)?;
        self.source.read_at(self.range.start().saturating_add(range.start()), buf)
    }
}
