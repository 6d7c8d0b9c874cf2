//! Slice tables inside MBR partitions: BSD, Minix, UnixWare and Solaris divide theirs again. Linux shows the
//! slices as partitions of the disk, numbered behind the logical ones (second pass of block/partitions/msdos.c).
//! Here they are only told: to cut the disk at them would be to cut a partition.

use crate::mbr::{self, NUMBERS};
use crate::partition::{Partition, TypeId};
use crate::reader::{Reader, UNIT};
use block::field::{u16_at, u32_at};
use block::{ByteRange, Result};

/// In a BSD disklabel and, in Solaris, the VTOC.
const BSD_MAGIC: u32 = 0x8256_4557;
const VTOC_SANE: u32 = 0x600D_DEEE;
const UNIXWARE_MAGIC: u32 = 0xCA5E_600D;
const MINIX: u8 = 0x81;

/// One finding for each primary partition with a slice table. The first slice gets the number `next`.
pub(crate) fn find(disk: &mut Reader<'_>, partitions: &[Partition], mut next: u32) -> Result<()> {
    for partition in partitions.iter().filter(|partition| !partition.logical) {
        let TypeId::Mbr(sys_ind) = partition.type_id else { continue };
        let Some((kind, unit, parse)) = kind(sys_ind) else { continue };
        let at = partition.range.start().saturating_add(unit.saturating_mul(UNIT));
        let Some(sector) = disk.read_unit(at, "a slice table")? else { continue };
        let Some(slices) = parse(&sector, partition.range) else { continue };
        let behind = next.saturating_add(u32::try_from(slices).unwrap_or(NUMBERS)).min(NUMBERS);
        let shown = match behind.saturating_sub(next) {
            0 => "of which Linux shows none".to_owned(),
            1 => format!("which Linux shows as partition {next}"),
            _ => format!("which Linux shows as partitions {next} to {}", behind.saturating_sub(1)),
        };
        disk.note(format!(
            "partition {} holds {kind} with slices, {shown}; it is one here",
            partition.number
        ));
        next = behind;
    }
    Ok(())
}

/// Counts the slices that Linux numbers, in the sector of the slice table; `None` if it is none.
type Parse = fn(&[u8], ByteRange) -> Option<usize>;

/// The words for the slice table of a type, which unit of the partition holds it, and its parser.
fn kind(sys_ind: u8) -> Option<(&'static str, u64, Parse)> {
    Some(match sys_ind {
        0xA5 => ("a FreeBSD disklabel", 1, |label, parent| bsd(label, parent, true)),
        0xA6 => ("an OpenBSD disklabel", 1, |label, parent| bsd(label, parent, false)),
        0xA9 => ("a NetBSD disklabel", 1, |label, parent| bsd(label, parent, false)),
        MINIX => ("a Minix table", 0, |sector, _| minix(sector)),
        0x63 => ("a UnixWare VTOC", 29, |label, _| unixware(label)),
        0x82 | 0xBF => ("a Solaris VTOC", 1, |vtoc, _| solaris(vtoc)),
        _ => return None,
    })
}

/// `struct disklabel`; a slice that is the whole partition, or leaves it, is not shown.
fn bsd(label: &[u8], parent: ByteRange, may_be_relative: bool) -> Option<usize> {
    if u32_at(label, 0)? != BSD_MAGIC {
        return None;
    }
    let d_npartitions = usize::from(u16_at(label, 138)?.min(16));
    let slices = label.get(148..)?.chunks_exact(16);
    // FreeBSD's offsets count from the partition if slice c begins at 0.
    let c_offset = slices.clone().nth(2).and_then(|c| u32_at(c, 4))?;
    let base = if may_be_relative && c_offset == 0 { parent.start() } else { 0 };
    let shown = |slice: &&[u8]| {
        let (p_size, p_offset) = (u32_at(slice, 0)?, u32_at(slice, 4)?);
        let p_fstype = *slice.get(12)?;
        let start = u64::from(p_offset).checked_mul(UNIT)?.checked_add(base)?;
        let range = ByteRange::new(start, u64::from(p_size).checked_mul(UNIT)?)?;
        Some(p_fstype != 0 && range != parent && parent.covers(range))
    };
    Some(slices.take(d_npartitions).filter(|slice| shown(slice).unwrap_or(false)).count())
}

/// A table like an MBR's, unless the partition begins with a boot sector.
fn minix(sector: &[u8]) -> Option<usize> {
    let types = mbr::types(sector)?;
    (types.first() == Some(&MINIX)).then(|| types.iter().filter(|sys_ind| **sys_ind == MINIX).count())
}

/// Slice 0 is the whole.
fn unixware(label: &[u8]) -> Option<usize> {
    if u32_at(label, 4)? != UNIXWARE_MAGIC || u32_at(label, 156)? != VTOC_SANE {
        return None;
    }
    let slices = label.get(216..408)?.chunks_exact(12).skip(1);
    Some(slices.filter(|slice| u16_at(slice, 0) != Some(0)).count())
}

/// Type 0x82 is also that of Linux swap, so the magic decides.
fn solaris(vtoc: &[u8]) -> Option<usize> {
    if u32_at(vtoc, 12)? != VTOC_SANE || u32_at(vtoc, 16)? != 1 {
        return None;
    }
    let v_nparts = if u16_at(vtoc, 30)? > 8 { 16 } else { 8 };
    let slices = vtoc.get(72..264)?.chunks_exact(12).take(v_nparts);
    Some(slices.filter(|slice| u32_at(slice, 8) != Some(0)).count())
}
