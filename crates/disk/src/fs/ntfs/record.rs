//! Records of the master file table, and the sums of torn writes that guard them and index blocks.

use super::attribute::Attribute;
use super::geometry::STRIDE;
use block::field::{bytes_at, u16_at, u32_at, u64_at};

const IN_USE: u16 = 1;
const IS_DIRECTORY: u16 = 2;
/// The lower bits of a reference are the number of a record; the upper 16 how often it was used.
const NUMBER: u64 = 0xFFFF_FFFF_FFFF;

/// A reference to a file: the number of its record, and its sequence number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Reference {
    pub(super) number: u64,
    pub(super) sequence: u64,
}

impl Reference {
    pub(super) const fn of(raw: u64) -> Self {
        Self { number: raw & NUMBER, sequence: raw >> 48 }
    }
}

/// A record that is whole: its bytes that are in use.
#[derive(Clone, Debug)]
pub(super) struct Record(Vec<u8>);

impl Record {
    /// From its bytes on the disk; `None` if it is damaged or none.
    pub(super) fn parse(bytes: Vec<u8>) -> Option<Self> {
        let mut bytes = fixed_up(bytes, *b"FILE")?;
        let bytes_in_use = usize::try_from(u32_at(&bytes, 24)?).ok()?;
        if bytes_in_use > bytes.len() || usize::from(u16_at(&bytes, 20)?) > bytes_in_use {
            return None;
        }
        bytes.truncate(bytes_in_use);
        (bytes.len() >= 42).then_some(Self(bytes))
    }

    /// How often this record was used for another file.
    pub(super) fn sequence(&self) -> u64 {
        u16_at(&self.0, 16).unwrap_or(0).into()
    }

    fn flags(&self) -> u16 {
        u16_at(&self.0, 22).unwrap_or(0)
    }

    pub(super) fn in_use(&self) -> bool {
        self.flags() & IN_USE != 0
    }

    pub(super) fn is_directory(&self) -> bool {
        self.flags() & IS_DIRECTORY != 0
    }

    /// The record that this one continues; of number 0 where it is a file by itself.
    pub(super) fn base(&self) -> Reference {
        Reference::of(u64_at(&self.0, 32).unwrap_or(0))
    }

    /// Its attributes in order; `None` for one that is damaged, which is the last.
    pub(super) fn attributes(&self) -> impl Iterator<Item = Option<Attribute<'_>>> {
        let mut rest = self.0.get(usize::from(u16_at(&self.0, 20).unwrap_or(0))..).unwrap_or(&[]);
        std::iter::from_fn(move || {
            // Without room for another one it ends too.
            let kind = u32_at(rest, 0).filter(|kind| *kind != Attribute::END)?;
            let length = u32_at(rest, 4).and_then(|length| usize::try_from(length).ok()).unwrap_or(0);
            let parts = if length < 16 { None } else { rest.split_at_checked(length) };
            let Some((attribute, after)) = parts else {
                rest = &[];
                return Some(None);
            };
            rest = after;
            let parsed = Attribute::parse(kind, attribute);
            if parsed.is_none() {
                rest = &[];
            }
            Some(parsed)
        })
    }
}

/// A record or index block with the last two bytes of each stride put back. `None` unless it begins with
/// `magic` and was written wholly.
pub(crate) fn fixed_up(mut bytes: Vec<u8>, magic: [u8; 4]) -> Option<Vec<u8>> {
    if bytes_at(&bytes, 0) != Some(magic) {
        return None;
    }
    let (usa_ofs, usa_count) = (usize::from(u16_at(&bytes, 4)?), usize::from(u16_at(&bytes, 6)?));
    let array = bytes.get(usa_ofs..)?.get(..usa_count.checked_mul(2)?)?.to_vec();
    let (written, originals) = array.split_first_chunk::<2>()?;
    let (originals, _) = originals.as_chunks::<2>();
    if originals.len().checked_mul(STRIDE)? != bytes.len() || usa_ofs.checked_add(array.len())? > STRIDE - 2 {
        return None;
    }
    for (stride, original) in bytes.chunks_exact_mut(STRIDE).zip(originals) {
        let end = stride.last_chunk_mut::<2>()?;
        if *end != *written {
            return None;
        }
        *end = *original;
    }
    Some(bytes)
}

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects, clippy::indexing_slicing)]
mod tests {
    use super::*;

    /// A record of 1 KiB with one resident attribute.
    fn record() -> Vec<u8> {
        let mut bytes = vec![0; 1024];
        bytes[..4].copy_from_slice(b"FILE");
        bytes[4..8].copy_from_slice(&[48, 0, 3, 0]);
        bytes[16..18].copy_from_slice(&[7, 0]);
        bytes[20..24].copy_from_slice(&[56, 0, 3, 0]);
        bytes[24..28].copy_from_slice(&100_u32.to_le_bytes());
        bytes[48..54].copy_from_slice(&[9, 9, 1, 2, 3, 4]);
        bytes[510..512].copy_from_slice(&[9, 9]);
        bytes[1022..].copy_from_slice(&[9, 9]);
        bytes[56..64].copy_from_slice(&[0x80, 0, 0, 0, 32, 0, 0, 0]);
        bytes[72..80].copy_from_slice(&[4, 0, 0, 0, 24, 0, 0, 0]);
        bytes[80..84].copy_from_slice(b"abcd");
        bytes[88..92].fill(0xFF);
        bytes
    }

    #[test]
    fn what_stood_at_the_ends_of_strides_is_put_back() {
        let fixed = fixed_up(record(), *b"FILE").unwrap();
        assert_eq!((&fixed[510..512], &fixed[1022..]), (&[1, 2][..], &[3, 4][..]));
        let parsed = Record::parse(record()).unwrap();
        assert!(parsed.in_use() && parsed.is_directory() && parsed.sequence() == 7);
        assert_eq!(parsed.attributes().count(), 1);
    }

    #[test]
    fn a_torn_write_and_wrong_lengths_are_seen() {
        for (at, byte) in [(1022, 8), (6, 2), (6, 9), (4, 0xFE), (5, 5), (0, b'B'), (25, 9), (21, 1)] {
            let mut bytes = record();
            bytes[at] = byte;
            assert!(Record::parse(bytes).is_none(), "{at}");
        }
    }

    #[test]
    fn a_damaged_attribute_is_the_last() {
        for (at, byte) in [(60, 0), (61, 9), (72, 200), (76, 33)] {
            let mut bytes = record();
            bytes[at] = byte;
            let record = Record::parse(bytes).unwrap();
            assert!(record.attributes().map(|attribute| attribute.is_none()).eq([true]), "{at}");
        }
    }
}
