//! Where Linux makes something else of a table than the table says: findings, so that nobody wonders why
//! a partition that is listed has no device. Rules of block/partitions/{core,efi,msdos,ldm}.c of Linux 6.

use crate::gpt::Header;
use crate::layout::Table;
use crate::mbr::NUMBERS;
use crate::partition::{Partition, TypeId};
use crate::reader::{Reader, UNIT};
use block::{ByteRange, Lba, Result};

/// Bytes of the only GPT entry that Linux knows.
const GPT_ENTRY: u32 = 128;
/// Partitions named in one finding.
const NAMED: usize = 8;

/// Why Linux ignores the GPT with this header; what its checksums say was looked at before.
pub(crate) fn ignores(header: &Header, last: Lba) -> Option<String> {
    let (first_usable, last_usable) = (header.first_usable_lba, header.last_usable_lba);
    if last_usable > last || first_usable > last {
        Some("the GPT was written for a larger disk".to_owned())
    } else if last_usable < first_usable {
        Some(format!("the GPT's first usable LBA, {first_usable}, lies behind its last, {last_usable}"))
    } else if header.size_of_partition_entry != GPT_ENTRY {
        Some(format!("the GPT has entries of {} bytes, not {GPT_ENTRY}", header.size_of_partition_entry))
    } else {
        None
    }
}

/// Single partitions that Linux leaves out or cuts off.
pub(crate) fn partitions(disk: &mut Reader<'_>, table: &Table, partitions: &[Partition]) {
    let end = disk.sector.range(Lba(0), disk.sectors()).map_or(u64::MAX, ByteRange::end);
    let is_gpt = matches!(table, Table::Gpt(_));
    let beyond = |p: &Partition| match is_gpt {
        true => p.range.end() > end || p.range.start() >= end,
        false => !p.range.is_empty() && p.range.start() >= end,
    };
    let cut = |p: &Partition| !is_gpt && !p.extended && p.range.start() < end && p.range.end() > end;
    let reversed = |p: &Partition| is_gpt && p.range.is_empty() && !beyond(p);
    let mut say = |which: &dyn Fn(&Partition) -> bool, what: &str| {
        let numbers: Vec<_> = partitions.iter().filter(|p| which(p)).map(|p| p.number).collect();
        if !numbers.is_empty() {
            disk.damage(format!("{}: {what}", names(&numbers)));
        }
    };
    say(&beyond, "beyond the end of the disk; Linux ignores what lies there");
    say(&cut, "longer than the disk; Linux cuts off what lies beyond");
    say(&reversed, "of less than no sectors; programs differ about that");
    let unnumbered: Vec<_> = partitions.iter().map(|p| p.number).filter(|n| *n >= NUMBERS).collect();
    if !unnumbered.is_empty() {
        let most = NUMBERS.saturating_sub(1);
        disk.note(format!("{}: Linux counts to {most} and ignores what comes then", names(&unnumbered)));
    }
}

/// `partition 3`, `partitions 3, 4 and 900 more`.
fn names(numbers: &[u32]) -> String {
    let named: Vec<_> = numbers.iter().take(NAMED).map(ToString::to_string).collect();
    let (s, named) = (if numbers.len() == 1 { "" } else { "s" }, named.join(", "));
    match numbers.len().saturating_sub(NAMED) {
        0 => format!("partition{s} {named}"),
        more => format!("partition{s} {named} and {more} more"),
    }
}

/// An AIX physical volume: what looks like an MBR in its first sector is none.
pub(crate) fn is_aix(disk: &mut Reader<'_>, partitions: &[Partition]) -> Result<bool> {
    let linux = [0x82, 0x83, 0x8E, 0xFD].map(TypeId::Mbr);
    let has_linux = partitions.iter().any(|p| p.extended || linux.contains(&p.type_id));
    Ok(!has_linux && begins(disk, 0, &[0xC9, 0xC2, 0xD4, 0xC1])? && begins(disk, 7 * UNIT, b"_LVM")?)
}

/// A dynamic disk of Windows: a database at its end divides it, and the MBR says only that.
pub(crate) fn is_dynamic(disk: &mut Reader<'_>, partitions: &[Partition]) -> Result<bool> {
    let typed = partitions.iter().any(|p| p.type_id == TypeId::Mbr(0x42));
    Ok(typed && begins(disk, 6 * UNIT, b"PRIVHEAD")?)
}

fn begins(disk: &mut Reader<'_>, at: u64, magic: &[u8]) -> Result<bool> {
    Ok(disk.read_unit(at, "the start of the disk")?.is_some_and(|bytes| bytes.starts_with(magic)))
}
