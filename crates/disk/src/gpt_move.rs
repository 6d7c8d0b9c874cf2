//! A GPT written for a disk of another size: its backup moved to the end.

use crate::gpt::{self, Header, put, seal};
use crate::mbr;
use crate::reader::Reader;
use block::field::u32_at;
use block::{ByteRange, Error, ErrorKind, Lba, ReadAt, Result, SectorSize};

/// What to write, as (offset in bytes, whole sectors), so that the disk that `source` holds, copied onto
/// one of `size` bytes, larger or smaller, has its backup GPT at the end: both headers with the last LBA that
/// partitions may use, the backup's array, and the size that the protective MBR covers. A last usable LBA
/// beyond the end would make Linux ignore the table. The partitions, and all else, stay. The primary comes
/// last.
///
/// Fails with [`ErrorKind::Unsupported`] unless the primary GPT is intact, and with [`ErrorKind::Usage`]
/// if the backup does not fit behind the last partition.
pub fn gpt_moved(source: &dyn ReadAt, sector: SectorSize, size: u64) -> Result<Vec<(u64, Vec<u8>)>> {
    let mut disk = Reader::new(source, sector);
    let Some(copy) = gpt::find(&mut disk)?.primary else {
        return Err(Error::new(ErrorKind::Unsupported, "the primary GPT is not intact: it cannot be moved"));
    };
    let last = Lba(sector.lba(size).0.saturating_sub(1));
    let place = Place::new(&copy.header, sector, last)
        .filter(|place| copy.partitions(sector).iter().all(|p| p.range.end() <= place.array.start()))
        .ok_or_else(|| Error::new(ErrorKind::Usage, "no room for a backup GPT at the end of the disk"))?;
    let mbr = disk.read(Lba(0), 1, "sector 0")?;
    let header = disk.read(gpt::PRIMARY, 1, "a GPT header")?;
    moved(&copy, sector, place, mbr, header)
        .ok_or_else(|| Error::new(ErrorKind::Unsupported, "the start of the disk cannot be read"))
}

/// Where the backup will lie.
struct Place {
    array: ByteRange,
    array_lba: Lba,
    header: ByteRange,
    header_lba: Lba,
}

impl Place {
    fn new(header: &Header, sector: SectorSize, last: Lba) -> Option<Self> {
        let sectors = header.array_sectors(sector);
        let array_lba = Lba(last.0.checked_sub(sectors)?);
        if array_lba <= header.first_usable_lba {
            return None;
        }
        let (array, place) = (sector.range(array_lba, sectors)?, sector.range(last, 1)?);
        Some(Self { array, array_lba, header: place, header_lba: last })
    }
}

fn moved(
    copy: &gpt::Copy,
    sector: SectorSize,
    place: Place,
    mbr: Option<Vec<u8>>,
    header: Option<Vec<u8>>,
) -> Option<Vec<(u64, Vec<u8>)>> {
    let (mbr, mut primary) = (mbr?, header?);
    put(&mut primary, 32, &place.header_lba.0.to_le_bytes())?;
    put(&mut primary, 48, &place.array_lba.0.checked_sub(1)?.to_le_bytes())?;
    seal(&mut primary, copy.header.header_size)?;

    let mut backup = primary.clone();
    put(&mut backup, 24, &place.header_lba.0.to_le_bytes())?;
    put(&mut backup, 32, &gpt::PRIMARY.0.to_le_bytes())?;
    put(&mut backup, 72, &place.array_lba.0.to_le_bytes())?;
    seal(&mut backup, copy.header.header_size)?;

    let mut array = copy.array.clone();
    array.resize(usize::try_from(place.array.len()).ok()?, 0);
    let primary_at = sector.range(gpt::PRIMARY, 1)?.start();
    let mbr = protecting(mbr, place.header_lba)?;
    Some(vec![(place.array.start(), array), (place.header.start(), backup), (primary_at, primary), (0, mbr)])
}

/// `sector0` with its protective entry up to the end of the disk. One that is a hybrid's, or that
/// covers as much as can be said, stays.
fn protecting(mut sector0: Vec<u8>, last: Lba) -> Option<Vec<u8>> {
    let covered = u32::try_from(last.0).unwrap_or(u32::MAX);
    if let Some(entry) = mbr::lone_protective(&sector0)
        && u32_at(&sector0, entry.checked_add(12)?)? != u32::MAX
    {
        put(&mut sector0, entry.checked_add(12)?, &covered.to_le_bytes())?;
    }
    Some(sector0)
}
