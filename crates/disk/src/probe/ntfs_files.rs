//! What files of NTFS say about its state: `hiberfil.sys` of a sleeping Windows, and the journal `$LogFile`.
//!
//! The reference is ntfs-3g: `ntfs_volume_check_hiberfile` and `ntfs_is_logfile_clean`. Everything is
//! bounded: what is too fragmented or too deep to be found cheaply is not found.

use super::{Window, window::Bytes};

const ATTRIBUTE_LIST: u32 = 0x20;
const ATTRIBUTE_DATA: u32 = 0x80;
const ATTRIBUTE_INDEX_ROOT: u32 = 0x90;
const ATTRIBUTE_INDEX_ALLOCATION: u32 = 0xA0;
const ATTRIBUTE_END: u32 = 0xFFFF_FFFF;
const RECORD_IN_USE: u16 = 1;
/// Numbers of records that do not change.
const MFT: u64 = 0;
const LOG_FILE: u64 = 2;
const ROOT: u64 = 5;
/// Bytes of a record or an index block that are looked at; real ones have 1 or 4 KiB.
const RECORD_MAX: u64 = 64 << 10;
/// Bytes of the root folder that are searched.
const FOLDER_MAX: usize = 256 << 10;
/// Pieces of one file that are followed.
const RUNS_MAX: usize = 1024;
const LAST_ENTRY: u16 = 2;
const NO_CLIENT: u16 = 0xFFFF;
const VOLUME_IS_CLEAN: u16 = 2;

/// Where the volume keeps its files.
pub(super) struct Files<'a> {
    pub(super) disk: &'a Window<'a>,
    pub(super) cluster: u64,
    /// Bytes of a record.
    pub(super) record: u64,
    /// First byte of the master file table.
    pub(super) mft: u64,
}

impl Files<'_> {
    /// A record by its number, if it is there and whole.
    pub(super) fn record(&self, number: u64) -> Option<Bytes> {
        let offset = number.checked_mul(self.record)?;
        // The first records lie where the boot sector says; the others where the table's own record says.
        let at = match number {
            0..=15 => self.mft.checked_add(offset)?,
            _ => {
                let table = self.record(MFT)?;
                let data = find(&table, ATTRIBUTE_DATA)?;
                Data::of(&data)?.place(self.cluster, offset)?
            }
        };
        fixed_up(self.disk.get(at, usize::try_from(self.record.min(RECORD_MAX)).ok()?)?, b"FILE")
    }

    /// Is a hibernated Windows in it?
    pub(super) fn hibernated(&self) -> Option<bool> {
        let Some(reference) = self.entry_of_root("hiberfil.sys") else { return Some(false) };
        let record = self.record(reference & 0xFFFF_FFFF_FFFF)?;
        let (sequence, flags) = (u64::from(record.u16(16)?), record.u16(22)?);
        if flags & RECORD_IN_USE == 0 || sequence != reference >> 48 {
            return Some(false);
        }
        let data = self.data(record)?;
        let start = data.first(self.disk, self.cluster, 4)?;
        // "wake" is an image that was resumed from; zeroes are one that was used up.
        Some([b"hibr", b"HIBR", b"rstr", b"RSTR"].iter().any(|magic| start.has(0, *magic)))
    }

    /// Is there nothing in the journal that a mount would have to replay?
    pub(super) fn log_is_clean(&self) -> Option<bool> {
        let data = self.data(self.record(LOG_FILE)?)?;
        let pages = data.first(self.disk, self.cluster, 8192)?;
        if pages.0.iter().all(|byte| *byte == 0xFF) {
            return Some(true);
        }
        // Two restart pages, of which the newer counts.
        let area = |page: usize| {
            let known = pages.has(page, b"RSTR") || pages.has(page, b"CHKD");
            let area = page.checked_add(pages.u16(page.checked_add(24)?)?.into())?;
            let field = |at: usize| pages.u16(area.checked_add(at)?);
            known.then_some((pages.u64(area)?, field(12)?, field(14)?))
        };
        let (_, client_in_use_list, flags) = [area(0), area(4096)].into_iter().flatten().max()?;
        Some(client_in_use_list == NO_CLIENT || flags & VOLUME_IS_CLEAN != 0)
    }

    /// The data of a file, also where its record only lists where the attributes are.
    fn data(&self, record: Bytes) -> Option<Data> {
        if let Some(data) = find(&record, ATTRIBUTE_DATA) {
            return Data::of(&data);
        }
        let list = Data::of(&find(&record, ATTRIBUTE_LIST)?)?.first(self.disk, self.cluster, 4096)?;
        let mut at = 0usize;
        loop {
            let length = usize::from(list.u16(at.checked_add(4)?)?);
            let unnamed = list.u8(at.checked_add(6)?)? == 0;
            let first = list.u64(at.checked_add(8)?)? == 0;
            if list.u32(at)? == ATTRIBUTE_DATA && unnamed && first {
                let holder = list.u64(at.checked_add(16)?)? & 0xFFFF_FFFF_FFFF;
                return Data::of(&find(&self.record(holder)?, ATTRIBUTE_DATA)?);
            }
            if length == 0 {
                return None;
            }
            at = at.checked_add(length)?;
        }
    }

    /// Reference to the file of this name in the root folder.
    fn entry_of_root(&self, name: &str) -> Option<u64> {
        let folder = self.record(ROOT)?;
        let root = find(&folder, ATTRIBUTE_INDEX_ROOT).and_then(|attribute| Data::of(&attribute));
        let Some(Data::Resident(root)) = root else { return None };
        let index_block_size = u64::from(root.u32(8)?);
        if let Some(found) = entry(&root, 16, name) {
            return Some(found);
        }
        // Large folders keep the rest in blocks; those out of use are told by the record they name.
        let blocks = Data::of(&find(&folder, ATTRIBUTE_INDEX_ALLOCATION)?)?;
        let block = usize::try_from(index_block_size.min(RECORD_MAX)).ok().filter(|size| *size >= 512)?;
        (0..FOLDER_MAX.checked_div(block)?).find_map(|index| {
            let offset = u64::try_from(index).ok()?.checked_mul(index_block_size)?;
            let place = blocks.place(self.cluster, offset)?;
            let block = fixed_up(self.disk.get(place, block)?, b"INDX")?;
            entry(&block, 24, name)
        })
    }
}

/// The file reference of the entry with this name behind the index header at `header`.
fn entry(index: &Bytes, header: usize, name: &str) -> Option<u64> {
    let mut at = header.checked_add(usize::try_from(index.u32(header)?).ok()?)?;
    loop {
        let length = usize::from(index.u16(at.checked_add(8)?)?);
        if index.u16(at.checked_add(12)?)? & LAST_ENTRY != 0 || length < 16 {
            return None;
        }
        // A FILE_NAME attribute is the key of it.
        let key = at.checked_add(16)?;
        let units = usize::from(index.u8(key.checked_add(64)?)?);
        let text = index.slice(key.checked_add(66)?, units.checked_mul(2)?)?;
        let text = String::from_utf16_lossy(
            &text.as_chunks::<2>().0.iter().map(|unit| u16::from_le_bytes(*unit)).collect::<Vec<_>>(),
        );
        if text.eq_ignore_ascii_case(name) {
            return index.u64(at);
        }
        at = at.checked_add(length)?;
    }
}

/// A record or block with the last two bytes of each of its 512-byte strides put back.
fn fixed_up(mut record: Bytes, magic: &[u8; 4]) -> Option<Bytes> {
    record.magic(0, magic)?;
    let array = usize::from(record.u16(4)?);
    let count = usize::from(record.u16(6)?);
    for stride in 1..count {
        let original = record.array::<2>(array.checked_add(stride.checked_mul(2)?)?)?;
        let end = stride.checked_mul(512)?;
        record.0.get_mut(end.checked_sub(2)?..end)?.copy_from_slice(&original);
    }
    Some(record)
}

/// The first attribute of this type, from its header on. Of data the unnamed one.
pub(super) fn find(record: &Bytes, wanted: u32) -> Option<Bytes> {
    let mut at = usize::from(record.u16(20)?);
    loop {
        let (kind, length) = (record.u32(at)?, usize::try_from(record.u32(at.checked_add(4)?)?).ok()?);
        if kind == ATTRIBUTE_END || length < 16 {
            return None;
        }
        let named = record.u8(at.checked_add(9)?)? != 0;
        if kind == wanted && !(named && wanted == ATTRIBUTE_DATA) {
            return record.slice(at, length).map(|attribute| Bytes(attribute.to_vec()));
        }
        at = at.checked_add(length)?;
    }
}

/// What an attribute holds.
pub(super) enum Data {
    Resident(Bytes),
    /// Pieces in clusters: how many, and where the first is (`None`: a hole).
    Runs(Vec<(u64, Option<u64>)>),
}

impl Data {
    pub(super) fn of(attribute: &Bytes) -> Option<Self> {
        if attribute.u8(8)? == 0 {
            let (length, offset) = (usize::try_from(attribute.u32(16)?).ok()?, attribute.u16(20)?);
            return Some(Self::Resident(Bytes(attribute.slice(offset.into(), length)?.to_vec())));
        }
        mapping(attribute.0.get(usize::from(attribute.u16(32)?)..)?, RUNS_MAX).map(Self::Runs)
    }

    /// The byte of the disk where byte `offset` of it lies.
    fn place(&self, cluster: u64, offset: u64) -> Option<u64> {
        let Self::Runs(runs) = self else { return None };
        let (mut number, within) = (offset.checked_div(cluster)?, offset.checked_rem(cluster)?);
        for (count, start) in runs {
            if number < *count {
                return (*start)?.checked_add(number)?.checked_mul(cluster)?.checked_add(within);
            }
            number = number.checked_sub(*count)?;
        }
        None
    }

    /// Its first `len` bytes, of the first piece only.
    fn first(&self, disk: &Window, cluster: u64, len: usize) -> Option<Bytes> {
        match self {
            Self::Resident(bytes) => Some(Bytes(bytes.0.get(..len.min(bytes.0.len()))?.to_vec())),
            Self::Runs(_) => disk.get(self.place(cluster, 0)?, len),
        }
    }
}

/// The mapping pairs: sizes of two numbers in a byte, a count, and the distance from the piece before. At most
/// so many; `None` where they make no sense.
pub(crate) fn mapping(mut pairs: &[u8], most: usize) -> Option<Vec<(u64, Option<u64>)>> {
    let mut runs = vec![];
    let mut lcn = 0i64;
    while let Some((sizes, rest)) = pairs.split_first().filter(|(sizes, _)| **sizes != 0) {
        let (count, rest) = rest.split_at_checked(usize::from(sizes & 0xF))?;
        let (delta, rest) = rest.split_at_checked(usize::from(sizes >> 4))?;
        pairs = rest;
        let start = if delta.is_empty() {
            None
        } else {
            lcn = lcn.checked_add(signed(delta)?)?;
            Some(u64::try_from(lcn).ok()?)
        };
        runs.push((u64::try_from(signed(count)?).ok()?, start));
        if runs.len() >= most {
            break;
        }
    }
    Some(runs)
}

/// A little-endian number of one to eight bytes with a sign.
fn signed(bytes: &[u8]) -> Option<i64> {
    let mut wide = if bytes.last()? & 0x80 == 0 { [0; 8] } else { [0xFF; 8] };
    wide.get_mut(..bytes.len())?.copy_from_slice(bytes);
    Some(i64::from_le_bytes(wide))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces() {
        // The example of the Linux-NTFS documentation, with a hole and a step back.
        let pairs = [0x21, 0x18, 0x34, 0x56, 0x11, 0x10, 0xF0, 0x01, 0x05, 0x00];
        let want = vec![(0x18, Some(0x5634)), (0x10, Some(0x5624)), (5, None)];
        assert_eq!(mapping(&pairs, 9), Some(want));
        assert_eq!(mapping(&[0x11, 0x01, 0x80, 0], 9), None);
        assert_eq!(mapping(&[0x99, 1, 2], 9), None);
    }
}
