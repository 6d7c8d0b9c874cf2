//! A fresh GPT with one partition, and the protective MBR before it (UEFI 2.10, 5.2.3 and 5.3).

use crate::gpt::{self, put, seal};
use crate::guid::Guid;
use block::{ByteRange, Lba, SectorSize};

/// Entries that every GPT has room for, and bytes of one (5.3.1).
const ENTRIES: u32 = 128;
const ENTRY_SIZE: u32 = 128;
/// Bytes of a header of revision 1.0.
const HEADER_SIZE: u32 = 92;
/// UTF-16 code units of a partition's name.
const NAME: usize = 36;
/// The type of a partition that Linux uses.
pub const LINUX_TYPE: Guid = Guid::from_digits(0x0FC63DAF_8483_4772_8E79_3D69D8477DE4);
/// The type of a partition that Windows uses.
pub const BASIC_DATA_TYPE: Guid = Guid::from_digits(0xEBD0A0A2_B9E5_4433_87C0_68B6B72699C7);

/// Where partitions begin well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Alignment {
    /// A partition begins at a multiple of this, in bytes, not 0, ..
    pub grain: u64,
    /// .. and so many bytes behind it.
    pub offset: u64,
}

/// What the partition is to be.
#[derive(Clone, Copy, Debug)]
pub struct NewPartition<'a> {
    /// Its type.
    pub kind: Guid,
    /// Its name, cut after 36 UTF-16 code units.
    pub name: &'a str,
    /// Random: the GUIDs of the disk and of the partition.
    pub guids: [Guid; 2],
}

/// A table to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewTable {
    /// The bytes of the partition.
    pub partition: ByteRange,
    /// What to write, as (offset in bytes, whole sectors), ascending.
    pub sectors: Vec<(u64, Vec<u8>)>,
}

/// The table of a disk of `size` bytes with one partition over all of it that is aligned. `None` if nothing
/// would be left for the partition.
pub fn gpt_new(
    size: u64,
    sector: SectorSize,
    alignment: Alignment,
    partition: NewPartition<'_>,
) -> Option<NewTable> {
    let array_len = u64::from(ENTRIES).checked_mul(ENTRY_SIZE.into())?;
    let array_sectors = sector.count(array_len);
    let last = sector.lba(size).0.checked_sub(1)?;
    let first_usable = array_sectors.checked_add(2)?;
    let backup_array = last.checked_sub(array_sectors)?;
    let last_usable = backup_array.checked_sub(1)?;

    let start = aligned(sector.range(Lba(first_usable), 0)?.start(), alignment)?;
    let end = sector.range(Lba(backup_array), 0)?.start();
    // Whole grains, so that the last one is no half stripe either.
    let length = end.checked_sub(start)?;
    let length = length.checked_sub(length.checked_rem(alignment.grain)?)?;
    let range = ByteRange::new(start, length).filter(|range| !range.is_empty())?;
    let (first, behind) = (sector.lba(range.start()), sector.lba(range.end()));

    let mut array = vec![0; usize::try_from(sector.range(Lba(0), array_sectors)?.len()).ok()?];
    put(&mut array, 0, &partition.kind.0)?;
    let [disk_guid, unique_guid] = partition.guids;
    put(&mut array, 16, &unique_guid.0)?;
    put(&mut array, 32, &first.0.to_le_bytes())?;
    put(&mut array, 40, &behind.0.checked_sub(1)?.to_le_bytes())?;
    for (at, unit) in (56usize..).step_by(2).zip(partition.name.encode_utf16().take(NAME)) {
        put(&mut array, at, &unit.to_le_bytes())?;
    }
    let array_crc = crc32fast::hash(array.get(..usize::try_from(array_len).ok()?)?);

    let header = |my: Lba, alternate: Lba, array_lba: u64| {
        let mut header = vec![0; usize::try_from(sector.bytes()).ok()?];
        put(&mut header, 0, b"EFI PART")?;
        put(&mut header, 8, &0x0001_0000_u32.to_le_bytes())?;
        put(&mut header, 12, &HEADER_SIZE.to_le_bytes())?;
        put(&mut header, 24, &my.0.to_le_bytes())?;
        put(&mut header, 32, &alternate.0.to_le_bytes())?;
        put(&mut header, 40, &first_usable.to_le_bytes())?;
        put(&mut header, 48, &last_usable.to_le_bytes())?;
        put(&mut header, 56, &disk_guid.0)?;
        put(&mut header, 72, &array_lba.to_le_bytes())?;
        put(&mut header, 80, &ENTRIES.to_le_bytes())?;
        put(&mut header, 84, &ENTRY_SIZE.to_le_bytes())?;
        put(&mut header, 88, &array_crc.to_le_bytes())?;
        seal(&mut header, usize::try_from(HEADER_SIZE).ok()?)?;
        Some(header)
    };
    let at = |lba: u64| Some(sector.range(Lba(lba), 1)?.start());
    let sectors = vec![
        (0, protective(sector, last)?),
        (at(gpt::PRIMARY.0)?, header(gpt::PRIMARY, Lba(last), 2)?),
        (at(2)?, array.clone()),
        (at(backup_array)?, array),
        (at(last)?, header(Lba(last), gpt::PRIMARY, backup_array)?),
    ];
    Some(NewTable { partition: range, sectors })
}

/// The first place at or behind `at` that is aligned, but not in the first grain.
fn aligned(at: u64, Alignment { grain, offset }: Alignment) -> Option<u64> {
    let from = at.saturating_sub(offset).max(1);
    from.div_ceil(grain).checked_mul(grain)?.checked_add(offset)
}

/// The MBR that keeps programs which know no GPT away from the disk (5.2.3).
fn protective(sector: SectorSize, last: u64) -> Option<Vec<u8>> {
    let covered = u32::try_from(last).unwrap_or(u32::MAX);
    let mut mbr = vec![0; usize::try_from(sector.bytes()).ok()?];
    // From cylinder 0, head 0, sector 2, to what no geometry can say.
    put(&mut mbr, 446, &[0, 0x00, 0x02, 0x00, 0xEE, 0xFF, 0xFF, 0xFF])?;
    put(&mut mbr, 454, &1u32.to_le_bytes())?;
    put(&mut mbr, 458, &covered.to_le_bytes())?;
    put(&mut mbr, 510, &[0x55, 0xAA])?;
    Some(mbr)
}

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn table(size: u64, sector: SectorSize, grain: u64, offset: u64) -> Option<ByteRange> {
        let partition = NewPartition { kind: LINUX_TYPE, name: "x", guids: [Guid([1; 16]), Guid([2; 16])] };
        gpt_new(size, sector, Alignment { grain, offset }, partition).map(|table| table.partition)
    }

    #[test]
    fn the_partition_is_all_that_is_aligned() {
        for sector in [SectorSize::B512, SectorSize::B4096] {
            let of = |size, grain, offset| table(size, sector, grain, offset);
            assert_eq!(of(64 * MIB, MIB, 0), ByteRange::new(MIB, 62 * MIB));
            assert_eq!(of(64 * MIB + 4096 * 8, MIB, 0), ByteRange::new(MIB, 63 * MIB));
            assert_eq!(of(64 * MIB, 3 * MIB, 0), ByteRange::new(3 * MIB, 60 * MIB));
            assert_eq!(of(64 * MIB, MIB, 4096 * 7), ByteRange::new(MIB + 4096 * 7, 62 * MIB));
            assert_eq!(of(2 * MIB, MIB, 0), None);
            assert_eq!(of(3 * MIB, MIB, 0), ByteRange::new(MIB, MIB));
            for size in [0, 512, 4096, 40 * 512] {
                assert_eq!(of(size, MIB, 0), None);
            }
        }
    }
}
