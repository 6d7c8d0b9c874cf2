//! GPT (UEFI 2.10, chapter 5): the primary and the backup, each checked by itself, then compared.

use crate::guid::Guid;
use crate::kernel;
use crate::layout::TablePart;
use crate::partition::{Partition, TypeId};
use crate::reader::{LARGEST, Reader};
use block::field::{bytes_at, u32_at, u64_at};
use block::{ByteRange, Lba, Result, SectorSize};

/// Where the primary header lies.
pub(crate) const PRIMARY: Lba = Lba(1);

/// The GPT of a disk: what its primary says or, where that is lost, its backup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gpt {
    /// The disk's GUID.
    pub disk_guid: Guid,
    /// The first LBA that a partition may use.
    pub first_usable: Lba,
    /// The last LBA that a partition may use.
    pub last_usable: Lba,
    /// Entries that the array has room for.
    pub entries: u32,
    /// Bytes of an entry.
    pub entry_size: u32,
    /// Header and array at LBA 1 are intact.
    pub primary: bool,
    /// The backup's header and array are intact.
    pub backup: bool,
    /// Where the backup lies, from its array to the end of the disk, if its header is in the last sector.
    pub tail: Option<Lba>,
    /// The MBR in sector 0 describes partitions of its own besides protecting the GPT.
    pub hybrid: bool,
    /// Where the headers and arrays lie of the copies that are intact, in bytes of the disk.
    pub parts: Vec<(TablePart, ByteRange)>,
}

impl Gpt {
    /// Where partitions must end, in bytes, on a disk of `size` bytes with room for this table's backup at its
    /// end: before the array and the header.
    pub fn usable_end(&self, sector: SectorSize, size: u64) -> u64 {
        let array = u64::from(self.entries).saturating_mul(self.entry_size.into());
        let behind = sector.lba(size).0.saturating_sub(sector.count(array)).saturating_sub(1);
        sector.range(Lba(behind), 0).map_or(0, ByteRange::start)
    }
}

/// A header with a right checksum.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) header_size: usize,
    pub(crate) alternate_lba: Lba,
    pub(crate) first_usable_lba: Lba,
    pub(crate) last_usable_lba: Lba,
    pub(crate) disk_guid: Guid,
    pub(crate) partition_entry_lba: Lba,
    pub(crate) number_of_partition_entries: u32,
    pub(crate) size_of_partition_entry: u32,
    partition_entry_array_crc32: u32,
}

impl Header {
    /// The header that a sector read from `lba` holds, or what is wrong with it.
    fn parse(sector: &[u8], lba: Lba) -> std::result::Result<Self, &'static str> {
        if !has_signature(sector) {
            return Err("no signature");
        }
        Self::checked(sector, lba).unwrap_or(Err("its header is cut off"))
    }

    fn checked(sector: &[u8], lba: Lba) -> Option<std::result::Result<Self, &'static str>> {
        let header_size = usize::try_from(u32_at(sector, 12)?).ok()?;
        if header_size < 92 || header_size > sector.len() {
            return Some(Err("the size of its header is wrong"));
        }
        if header_crc(sector.get(..header_size)?)? != u32_at(sector, 16)? {
            return Some(Err("the checksum of its header is wrong"));
        }
        if u64_at(sector, 24)? != lba.0 {
            return Some(Err("its header belongs to another LBA"));
        }
        let header = Self {
            header_size,
            alternate_lba: Lba(u64_at(sector, 32)?),
            first_usable_lba: Lba(u64_at(sector, 40)?),
            last_usable_lba: Lba(u64_at(sector, 48)?),
            disk_guid: Guid(bytes_at(sector, 56)?),
            partition_entry_lba: Lba(u64_at(sector, 72)?),
            number_of_partition_entries: u32_at(sector, 80)?,
            size_of_partition_entry: u32_at(sector, 84)?,
            partition_entry_array_crc32: u32_at(sector, 88)?,
        };
        let entry = header.size_of_partition_entry;
        if entry < 128 || !entry.is_power_of_two() || !(1..=LARGEST).contains(&header.array_len()) {
            return Some(Err("the size of its array is wrong"));
        }
        Some(Ok(header))
    }

    /// Bytes of the array. 2^32 entries of 2^32 bytes fit.
    fn array_len(&self) -> u64 {
        u64::from(self.number_of_partition_entries).saturating_mul(self.size_of_partition_entry.into())
    }

    /// Sectors of the array.
    pub(crate) fn array_sectors(&self, sector: SectorSize) -> u64 {
        sector.count(self.array_len())
    }
}

/// Does a header begin with these bytes?
pub(crate) fn has_signature(sector: &[u8]) -> bool {
    sector.starts_with(b"EFI PART")
}

/// The checksum of a header, in which the field for it counts as zero.
pub(crate) fn header_crc(header: &[u8]) -> Option<u32> {
    let mut crc = crc32fast::Hasher::new();
    crc.update(header.get(..16)?);
    crc.update(&[0; 4]);
    crc.update(header.get(20..)?);
    Some(crc.finalize())
}

/// Makes the checksum of the header right that begins a sector.
pub(crate) fn seal(sector: &mut [u8], header_size: usize) -> Option<()> {
    let crc = header_crc(sector.get(..header_size)?)?;
    put(sector, 16, &crc.to_le_bytes())
}

/// Writes a field of a structure.
pub(crate) fn put(sector: &mut [u8], at: usize, bytes: &[u8]) -> Option<()> {
    sector.get_mut(at..)?.get_mut(..bytes.len())?.copy_from_slice(bytes);
    Some(())
}

/// A header with its array, both intact.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Copy {
    /// Where the header lies.
    pub(crate) lba: Lba,
    pub(crate) header: Header,
    /// The array, without what follows it in its last sector.
    pub(crate) array: Vec<u8>,
}

impl Copy {
    /// The copy whose header is at `lba`, or why there is none.
    fn read(disk: &mut Reader<'_>, lba: Lba) -> Result<std::result::Result<Self, &'static str>> {
        let Some(sector) = disk.read(lba, 1, "a GPT header")? else { return Ok(Err("nothing to read")) };
        let header = match Header::parse(&sector, lba) {
            Ok(header) => header,
            Err(why) => return Ok(Err(why)),
        };
        let sectors = header.array_sectors(disk.sector);
        let Some(mut array) = disk.read(header.partition_entry_lba, sectors, "a GPT array")? else {
            return Ok(Err("its array cannot be read"));
        };
        array.truncate(usize::try_from(header.array_len()).unwrap_or(usize::MAX));
        if crc32fast::hash(&array) != header.partition_entry_array_crc32 {
            return Ok(Err("the checksum of its array is wrong"));
        }
        Ok(Ok(Self { lba, header, array }))
    }

    /// Do both describe the same partitions?
    pub(crate) fn agrees(&self, other: &Self) -> bool {
        let usable = |copy: &Self| (copy.header.first_usable_lba, copy.header.last_usable_lba);
        self.array == other.array
            && self.header.disk_guid == other.header.disk_guid
            && self.header.size_of_partition_entry == other.header.size_of_partition_entry
            && usable(self) == usable(other)
    }

    pub(crate) fn partitions(&self, sector: SectorSize) -> Vec<Partition> {
        let entry = usize::try_from(self.header.size_of_partition_entry).unwrap_or(usize::MAX);
        let entries = (1..).zip(self.array.chunks_exact(entry));
        entries.filter_map(|(number, entry)| partition(entry, number, sector)).collect()
    }
}

/// The partition of one entry; `None` if it is not used.
fn partition(entry: &[u8], number: u32, sector: SectorSize) -> Option<Partition> {
    let partition_type_guid = Guid(bytes_at(entry, 0)?);
    if partition_type_guid.is_zero() {
        return None;
    }
    let (starting_lba, ending_lba, attributes) = (u64_at(entry, 32)?, u64_at(entry, 40)?, u64_at(entry, 48)?);
    let offset = |lba| sector.range(Lba(lba), 0).map_or(u64::MAX, ByteRange::start);
    Some(Partition {
        number,
        range: ByteRange::span(offset(starting_lba), offset(ending_lba.saturating_add(1))),
        type_id: TypeId::Gpt(partition_type_guid),
        bootable: attributes & 4 != 0,
        attributes,
        name: name(entry.get(56..128)?),
        guid: Some(Guid(bytes_at(entry, 16)?)),
        extended: false,
        logical: false,
    })
}

/// UTF-16, little-endian, up to the first zero.
fn name(field: &[u8]) -> Option<String> {
    let units = field.as_chunks().0.iter().map(|unit| u16::from_le_bytes(*unit));
    let used: Vec<u16> = units.take_while(|unit| *unit != 0).collect();
    (!used.is_empty()).then(|| String::from_utf16_lossy(&used))
}

/// Both copies, as far as they are intact.
pub(crate) struct Copies {
    pub(crate) primary: Option<Copy>,
    pub(crate) backup: Option<Copy>,
}

/// Looks for both copies: the backup where the primary says, else in the last sector.
pub(crate) fn find(disk: &mut Reader<'_>) -> Result<Copies> {
    let last = disk.last();
    let primary = Copy::read(disk, PRIMARY)?;
    let said = primary.as_ref().map_or(last, |primary| primary.header.alternate_lba);
    let mut backup = Copy::read(disk, said)?;
    if backup.is_err() && said != last {
        backup = Copy::read(disk, last)?;
    }
    match (&primary, &backup) {
        (Ok(primary), Ok(backup)) if !primary.agrees(backup) => {
            disk.damage("the primary GPT and its backup differ; the primary is used");
        }
        (Ok(_), Err(why)) => disk.damage(format!("the backup GPT at LBA {said} is lost: {why}")),
        (Err(why), Ok(_)) => disk.damage(format!(
            "the primary GPT is lost ({why}); its backup is used here, but Linux ignores it"
        )),
        _ => {}
    }
    if let Ok(backup) = &backup
        && backup.lba != last
    {
        let at = backup.lba;
        disk.note(format!("the backup GPT is at LBA {at}, not at the end of the disk, LBA {last}"));
    }
    Ok(Copies { primary: primary.ok(), backup: backup.ok() })
}

impl Copies {
    /// Where header and array of each copy lie.
    fn parts(&self, sector: SectorSize) -> Vec<(TablePart, ByteRange)> {
        let primary = (&self.primary, [TablePart::GptHeader, TablePart::GptEntries]);
        let backup = (&self.backup, [TablePart::BackupGptHeader, TablePart::BackupGptEntries]);
        let mut parts = vec![];
        for (copy, [header, entries]) in [primary, backup] {
            let Some(copy) = copy else { continue };
            let array = sector.range(copy.header.partition_entry_lba, copy.header.array_sectors(sector));
            parts.extend(sector.range(copy.lba, 1).map(|range| (header, range)));
            parts.extend(array.map(|range| (entries, range)));
        }
        parts
    }

    /// The table and its partitions; `None` if both copies are lost.
    pub(crate) fn table(&self, disk: &mut Reader<'_>, hybrid: bool) -> Option<(Gpt, Vec<Partition>)> {
        let used = self.primary.as_ref().or(self.backup.as_ref())?;
        let header = &used.header;
        if let Some(why) = kernel::ignores(header, disk.last()) {
            disk.damage(format!("{why}; Linux ignores it"));
        }
        let tail = self.backup.as_ref().filter(|backup| backup.lba == disk.last()).map(|backup| {
            let array = backup.header.partition_entry_lba;
            // An array that lies elsewhere is no part of the tail.
            if header.last_usable_lba < array { array.min(backup.lba) } else { backup.lba }
        });
        let table = Gpt {
            disk_guid: header.disk_guid,
            first_usable: header.first_usable_lba,
            last_usable: header.last_usable_lba,
            entries: header.number_of_partition_entries,
            entry_size: header.size_of_partition_entry,
            primary: self.primary.is_some(),
            backup: self.backup.is_some(),
            tail,
            hybrid,
            parts: self.parts(disk.sector),
        };
        Some((table, used.partitions(disk.sector)))
    }
}
