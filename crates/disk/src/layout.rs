//! How a disk is divided: its table, and regions that forget no byte.

use crate::finding::Finding;
use crate::gpt::{self, Gpt};
use crate::kernel;
use crate::mbr::{self, Entry, Mbr, Sector0};
use crate::partition::Partition;
use crate::reader::Reader;
use crate::sector_size::{self, sector0};
use block::{ByteRange, Lba, ReadAt, Region, Result, Role, SectorSize};

/// A preamble is kept raw, so it has a limit, in bytes; what follows it is a gap.
const PREAMBLE: u64 = 1 << 20;
/// A disk in more pieces is kept in one.
const REGIONS: usize = 4096;

/// The partition table of a disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Table {
    /// None that can be used: a filesystem on the whole disk, or anything else.
    None,
    /// In sector 0, and the EBRs.
    Mbr(Mbr),
    /// At the start and at the end.
    Gpt(Gpt),
}

/// A part of a partition table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TablePart {
    /// Sector 0: boot code and, for a GPT, what protects it.
    Mbr,
    /// The sector of an extended boot record.
    Ebr,
    /// The header at LBA 1.
    GptHeader,
    /// The array of entries that it points at.
    GptEntries,
    /// The header at the end of the disk.
    BackupGptHeader,
    /// The array of entries that it points at.
    BackupGptEntries,
}

/// What [`read`] finds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Bytes of the disk.
    pub size: u64,
    /// What LBAs count in: the device's, or for an image the one that its table is written for.
    pub sector: SectorSize,
    /// Which table.
    pub table: Table,
    /// By number. Extended partitions of an MBR are among them, flagged.
    pub partitions: Vec<Partition>,
    /// In disk order, covering `0..size` without gap or overlap.
    pub regions: Vec<Region>,
    /// What is unusual about the table.
    pub findings: Vec<Finding>,
    /// Why the disk cannot be cut at its partitions; `regions` is then the whole disk in one.
    pub must_be_whole: Option<String>,
}

impl Layout {
    /// What the table consists of and where it lies, in bytes of the disk; none without a table. Of a GPT only
    /// the copies that are intact. On a damaged disk these places may overlap each other, or partitions.
    pub fn table_parts(&self) -> Vec<(TablePart, ByteRange)> {
        let at = |lba| self.sector.range(lba, 1);
        let more: Vec<_> = match &self.table {
            Table::None => return vec![],
            Table::Mbr(mbr) => mbr.ebrs.iter().filter_map(|lba| Some((TablePart::Ebr, at(*lba)?))).collect(),
            Table::Gpt(gpt) => gpt.parts.clone(),
        };
        at(Lba(0)).map(|range| (TablePart::Mbr, range)).into_iter().chain(more).collect()
    }

    /// The disk's identifier as sfdisk prints it: `0x8b5d2008`, or a GUID.
    pub fn disk_label_id(&self) -> Option<String> {
        match &self.table {
            Table::None => None,
            Table::Mbr(mbr) => Some(format!("0x{:08x}", mbr.disk_id)),
            Table::Gpt(gpt) => Some(gpt.disk_guid.to_string()),
        }
    }
}

/// The layout of a device with sectors of this size, or of an image (`None`: 512 bytes, unless a GPT, or
/// what lies at the partitions of an MBR, shows that they are 4096). Whatever a table says is a finding,
/// never an error, and so is a sector that the medium cannot deliver; other failures of `source` are errors.
pub fn read(source: &dyn ReadAt, sector: Option<SectorSize>) -> Result<Layout> {
    let (size, asked) = (source.size(), sector.unwrap_or(SectorSize::B512));
    let mut disk = Reader::new(source, asked);
    if let Some((other, table)) = sector_size::other(source, asked)? {
        if sector.is_some() {
            disk.damage(format!(
                "the {table} was written for sectors of {other} bytes, this disk has {asked}"
            ));
        } else {
            disk = Reader::new(source, other);
        }
    }
    let (table, partitions) = read_table(&mut disk)?;
    kernel::partitions(&mut disk, &table, &partitions);
    let whole = [Region { range: ByteRange::span(0, size), role: Role::Whole }];
    let (regions, must_be_whole) = match cut(size, disk.sector, &table, &partitions) {
        Ok(regions) => (regions, None),
        Err(why) => {
            disk.note(format!("kept in one piece: {why}"));
            (whole.to_vec(), Some(why))
        }
    };
    let (sector, findings) = (disk.sector, disk.findings);
    Ok(Layout { size, sector, table, partitions, regions, findings, must_be_whole })
}

fn read_table(disk: &mut Reader<'_>) -> Result<(Table, Vec<Partition>)> {
    match sector0(disk)? {
        Sector0::Superfloppy => Ok((Table::None, vec![])),
        Sector0::Table { entries, .. } if entries.into_iter().any(Entry::is_protective) => {
            protected(disk, entries)
        }
        Sector0::Table { disk_id, entries } => {
            let (mbr, partitions) = mbr::read(disk, disk_id, entries)?;
            if kernel::is_aix(disk, &partitions)? {
                disk.note("a physical volume of AIX: what looks like an MBR is none");
                return Ok((Table::None, vec![]));
            }
            if kernel::is_dynamic(disk, &partitions)? {
                disk.note("a dynamic disk of Windows: Linux numbers the volumes of its database instead");
            }
            if disk.read(gpt::PRIMARY, 1, "LBA 1")?.is_some_and(|sector| gpt::has_signature(&sector)) {
                disk.note("behind the MBR lies a GPT that it does not mention; Linux ignores it");
            }
            Ok((Table::Mbr(mbr), partitions))
        }
        Sector0::Other => unprotected(disk),
    }
}

/// The GPT behind a protective or hybrid MBR.
fn protected(disk: &mut Reader<'_>, entries: [Entry; 4]) -> Result<(Table, Vec<Partition>)> {
    let hybrid = entries.into_iter().any(Entry::is_hybrid);
    let Some((gpt, partitions)) = gpt::find(disk)?.table(disk, hybrid) else {
        disk.damage("the MBR protects a GPT, but neither the primary nor a backup is intact");
        return Ok((Table::None, vec![]));
    };
    let protective = || entries.into_iter().filter(|entry| entry.is_protective());
    let at_primary = protective().find(|entry| entry.start() == gpt::PRIMARY);
    if let Some(entry) = at_primary.or_else(|| protective().next()) {
        let (start, covered) = (entry.start(), entry.sectors());
        let all = disk.last().0.min(u32::MAX.into());
        if start != gpt::PRIMARY {
            disk.damage(format!(
                "the protective MBR begins at LBA {start} instead of 1; Linux ignores the GPT"
            ));
        } else if !hybrid && covered != all && covered != u64::from(u32::MAX) {
            disk.note(format!("the protective MBR covers {covered} sectors instead of {all}"));
        }
    }
    if hybrid {
        disk.note("hybrid: the MBR has partitions of its own beside the GPT, which counts");
    }
    Ok((Table::Gpt(gpt), partitions))
}

/// Sector 0 says nothing. A primary GPT still counts, since only its MBR is lost; a backup alone may be
/// what an earlier table left behind.
fn unprotected(disk: &mut Reader<'_>) -> Result<(Table, Vec<Partition>)> {
    let mut quiet = Reader::new(disk.source(), disk.sector);
    let copies = gpt::find(&mut quiet)?;
    if copies.primary.is_none() {
        if copies.backup.is_some() {
            disk.note("the last sector holds a backup GPT, but nothing at the start belongs to it");
        }
        return Ok((Table::None, vec![]));
    }
    disk.findings.append(&mut quiet.findings);
    disk.damage("the protective MBR is lost; Linux ignores the GPT");
    Ok(match copies.table(disk, false) {
        Some((gpt, partitions)) => (Table::Gpt(gpt), partitions),
        None => (Table::None, vec![]),
    })
}

/// The regions of the disk, or why it cannot be cut.
fn cut(
    size: u64,
    sector: SectorSize,
    table: &Table,
    partitions: &[Partition],
) -> std::result::Result<Vec<Region>, String> {
    if matches!(table, Table::None) {
        let range = ByteRange::span(0, size);
        return Ok(vec![Region { range, role: Role::Whole }]);
    }
    let mut fixed = fixed(size, sector, table, partitions)?;
    fixed.sort_by_key(|region| (region.range.start(), region.range.end()));
    if let Some(beyond) = fixed.iter().find(|region| region.range.end() > size) {
        let bytes = beyond.range.end().saturating_sub(size);
        return Err(format!("{} ends {bytes} bytes beyond the end of the disk", beyond.role));
    }
    if let Some([a, b]) = fixed.array_windows().find(|[a, b]| a.range.overlaps(b.range)) {
        return Err(format!("{} and {} overlap", a.role, b.role));
    }
    let first = fixed.first().map_or(size, |region| region.range.start());
    let preamble = ByteRange::span(0, first.min(PREAMBLE));
    let mut regions = vec![];
    let mut put = |range: ByteRange, role| {
        if !range.is_empty() {
            regions.push(Region { range, role });
        }
        range.end()
    };
    let mut at = put(preamble, Role::Preamble);
    for region in fixed {
        put(ByteRange::span(at, region.range.start()), Role::Gap);
        at = put(region.range, region.role);
    }
    put(ByteRange::span(at, size), Role::Gap);
    if regions.len() > REGIONS {
        return Err(format!("it would be in {} pieces", regions.len()));
    }
    Ok(regions)
}

/// The regions whose place the table says, in any order; none may lie over the start of the table.
fn fixed(
    size: u64,
    sector: SectorSize,
    table: &Table,
    partitions: &[Partition],
) -> std::result::Result<Vec<Region>, String> {
    let offset = |lba: Lba| sector.range(lba, 0).map_or(u64::MAX, ByteRange::start);
    let (ebrs, tail, usable) = match table {
        Table::None => (&[][..], None, Lba(0)),
        Table::Mbr(mbr) => (&mbr.ebrs[..], None, Lba(1)),
        Table::Gpt(gpt) => (&[][..], gpt.tail, gpt.first_usable),
    };
    let held = partitions.iter().filter(|p| !p.extended && !p.range.is_empty());
    let held = held.map(|p| Region { range: p.range, role: Role::Partition(p.number) });
    let ebr = |lba| sector.range(lba, 1).map(|range| Region { range, role: Role::Ebr });
    let tail = tail.map(|lba| Region { range: ByteRange::span(offset(lba), size), role: Role::Tail });
    let fixed: Vec<_> = held.chain(ebrs.iter().copied().filter_map(ebr)).chain(tail).collect();
    match fixed.iter().find(|region| region.range.start() < offset(usable)) {
        Some(early) => Err(format!("{} begins where the table lies", early.role)),
        None => Ok(fixed),
    }
}
