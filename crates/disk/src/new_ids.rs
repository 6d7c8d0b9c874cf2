//! Other ids for a copy of a disk, so that both can be used in one machine.

use crate::gpt::{self, Copy, Header};
use crate::guid::Guid;
use crate::layout::{Layout, Table};
use crate::reader::Reader;
use block::{Error, ErrorKind, ReadAt, Result};
use std::collections::BTreeMap;

/// Where the disk signature of an MBR lies.
const DISK_ID: u64 = 440;
/// Bytes of a GPT entry up to its unique GUID, and of a GUID.
const UNIQUE_GUID: usize = 16;
const GUID: usize = 16;

/// What to write, as (offset in bytes, bytes), so that a copy of the disk that `source` holds, with this
/// layout, has ids of its own: of a GPT the GUIDs of the disk and of each partition and the checksums over
/// them (UEFI 2.10, 5.3), of an MBR the disk signature. Nothing else changes. `random` gives ids that nobody
/// else has.
///
/// Fails with [`ErrorKind::Unsupported`] without a table, and where the two copies of a GPT describe
/// different partitions.
pub fn new_ids(
    source: &dyn ReadAt,
    layout: &Layout,
    mut random: impl FnMut() -> Result<[u8; 16]>,
) -> Result<Vec<(u64, Vec<u8>)>> {
    match &layout.table {
        Table::None => Err(Error::new(ErrorKind::Unsupported, "without a partition table there are no ids")),
        Table::Mbr(mbr) => {
            let mut id = mbr.disk_id;
            // Zero means that there is none.
            while id == 0 || id == mbr.disk_id {
                let [a, b, c, d, ..] = random()?;
                id = u32::from_le_bytes([a, b, c, d]);
            }
            Ok(vec![(DISK_ID, id.to_le_bytes().to_vec())])
        }
        Table::Gpt(_) => {
            let mut disk = Reader::new(source, layout.sector);
            let copies = gpt::find(&mut disk)?;
            if let (Some(primary), Some(backup)) = (&copies.primary, &copies.backup)
                && !primary.agrees(backup)
            {
                let words = "the primary GPT and its backup differ: mend that first (sgdisk, gdisk)";
                return Err(Error::new(ErrorKind::Unsupported, words));
            }
            let mut ids = Ids { random: &mut random, given: BTreeMap::new() };
            let disk_guid = ids.guid()?;
            let mut patches = vec![];
            for copy in [copies.primary, copies.backup].into_iter().flatten() {
                patches.extend(renamed(&mut disk, copy, disk_guid, &mut ids)?);
            }
            Ok(patches)
        }
    }
}

/// The new GUIDs, by the number of the entry: the same in both copies.
struct Ids<'a> {
    random: &'a mut dyn FnMut() -> Result<[u8; GUID]>,
    given: BTreeMap<usize, [u8; GUID]>,
}

impl Ids<'_> {
    fn guid(&mut self) -> Result<[u8; GUID]> {
        Ok(Guid::version4((self.random)()?).0)
    }

    fn of_entry(&mut self, index: usize) -> Result<[u8; GUID]> {
        if let Some(guid) = self.given.get(&index) {
            return Ok(*guid);
        }
        let guid = self.guid()?;
        self.given.insert(index, guid);
        Ok(guid)
    }
}

/// One copy with other GUIDs: its array and its header.
fn renamed(
    disk: &mut Reader<'_>,
    copy: Copy,
    disk_guid: [u8; GUID],
    ids: &mut Ids<'_>,
) -> Result<Vec<(u64, Vec<u8>)>> {
    let Copy { lba, header, mut array } = copy;
    let entry = usize::try_from(header.size_of_partition_entry).unwrap_or(usize::MAX);
    for (index, entry) in array.chunks_exact_mut(entry).enumerate() {
        let (kind, rest) = entry.split_at_mut_checked(UNIQUE_GUID).unwrap_or_default();
        let is_used = kind.iter().any(|byte| *byte != 0);
        if let (true, Some(guid)) = (is_used, rest.get_mut(..GUID)) {
            guid.copy_from_slice(&ids.of_entry(index)?);
        }
    }
    let sector = disk.read(lba, 1, "a GPT header")?;
    let places = disk.sector.range(lba, 1).zip(disk.sector.range(header.partition_entry_lba, 1));
    let changed = sector.and_then(|sector| changed(sector, &header, &array, disk_guid));
    match (changed, places) {
        (Some(bytes), Some((header, first))) => Ok(vec![(first.start(), array), (header.start(), bytes)]),
        _ => Err(Error::new(ErrorKind::Unsupported, "a GPT header cannot be read a second time")),
    }
}

/// The sector of a header with these values.
fn changed(mut sector: Vec<u8>, header: &Header, array: &[u8], disk_guid: [u8; GUID]) -> Option<Vec<u8>> {
    gpt::put(&mut sector, 56, &disk_guid)?;
    gpt::put(&mut sector, 88, &crc32fast::hash(array).to_le_bytes())?;
    gpt::seal(&mut sector, header.header_size)?;
    Some(sector)
}
