//! Records of the master file table of NTFS, in use or not (the Linux-NTFS documentation).

use crate::fs::Time;
use crate::fs::ntfs::{fixed_up, outside};
use block::field::{bytes_at, u16_at, u32_at, u64_at};

pub(super) const STANDARD_INFORMATION: u32 = 0x10;
pub(super) const ATTRIBUTE_LIST: u32 = 0x20;
pub(super) const FILE_NAME: u32 = 0x30;
pub(super) const DATA: u32 = 0x80;
pub(super) const REPARSE_POINT: u32 = 0xC0;
const END: u32 = 0xFFFF_FFFF;
/// Bits of a reference that are the number of a record; the rest is its sequence number.
const NUMBER: u64 = 0xFFFF_FFFF_FFFF;

/// Record and sequence number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Reference {
    pub(super) number: u64,
    pub(super) sequence: u16,
}

impl Reference {
    pub(super) fn of(raw: u64) -> Self {
        Self { number: raw & NUMBER, sequence: u16::try_from(raw >> 48).unwrap_or(0) }
    }
}

/// A record that is whole.
pub(super) struct Record {
    bytes: Vec<u8>,
    /// How often it was given away: one more each time that its file is deleted.
    pub(super) sequence: u16,
    pub(super) is_used: bool,
    pub(super) is_folder: bool,
    /// The record that this one is only more of.
    pub(super) base: Option<Reference>,
}

impl Record {
    /// Checks that every stride of 512 bytes was written at the same time, and puts their ends back.
    pub(super) fn of(bytes: Vec<u8>) -> Option<Self> {
        let bytes = fixed_up(bytes, *b"FILE")?;
        let (sequence, flags) = (u16_at(&bytes, 16)?, u16_at(&bytes, 22)?);
        let base = u64_at(&bytes, 32).filter(|base| *base != 0).map(Reference::of);
        Some(Self { bytes, sequence, is_used: flags & 1 != 0, is_folder: flags & 2 != 0, base })
    }

    /// Its attributes, as far as they make sense.
    pub(super) fn attributes(&self) -> impl Iterator<Item = Attribute<'_>> {
        let mut at = u16_at(&self.bytes, 20).map_or(usize::MAX, usize::from);
        std::iter::from_fn(move || {
            let kind = u32_at(&self.bytes, at).filter(|kind| *kind != END)?;
            let length = usize::try_from(u32_at(&self.bytes, at.checked_add(4)?)?).ok()?;
            if length < 16 {
                return None;
            }
            let end = at.checked_add(length)?;
            let bytes = self.bytes.get(at..end)?;
            at = end;
            Some(Attribute { kind, bytes })
        })
    }

    /// The first attribute of this type.
    pub(super) fn find(&self, kind: u32) -> Option<Attribute<'_>> {
        self.attributes().find(|attribute| attribute.kind == kind)
    }

    /// The names that it has, the best first: those of DOS last.
    pub(super) fn names(&self) -> Vec<Named> {
        let names = self.attributes().filter(|attribute| attribute.kind == FILE_NAME);
        let mut names: Vec<_> = names.filter_map(|attribute| Named::of(attribute.value()?)).collect();
        names.sort_by_key(|name| name.is_short);
        names
    }

    /// Attributes of Windows in its standard information.
    pub(super) fn windows_attributes(&self) -> u32 {
        let standard = self.find(STANDARD_INFORMATION).and_then(|found| found.value());
        standard.and_then(|standard| u32_at(standard, 32)).unwrap_or(0)
    }

    /// Times of its standard information: created, modified, changed, accessed.
    pub(super) fn times(&self) -> [Option<Time>; 4] {
        let value = self.find(STANDARD_INFORMATION).and_then(|found| found.value().map(<[u8]>::to_vec));
        [0, 8, 16, 24].map(|at| Time::of_filetime(u64_at(value.as_deref()?, at)?))
    }
}

/// An attribute, from its header on.
#[derive(Clone, Copy)]
pub(super) struct Attribute<'a> {
    pub(super) kind: u32,
    pub(super) bytes: &'a [u8],
}

impl<'a> Attribute<'a> {
    /// Its name, empty where it has none.
    pub(super) fn name(&self) -> Vec<u8> {
        let place = bytes_at::<1>(self.bytes, 9).zip(u16_at(self.bytes, 10));
        let name = place.and_then(|([units], at)| {
            self.bytes.get(usize::from(at)..)?.get(..usize::from(units).checked_mul(2)?)
        });
        outside(name.unwrap_or_default())
    }

    pub(super) fn is_resident(&self) -> bool {
        bytes_at(self.bytes, 8) == Some([0])
    }

    /// Its bytes, where they are here.
    pub(super) fn value(&self) -> Option<&'a [u8]> {
        let length = usize::try_from(u32_at(self.bytes, 16)?).ok()?;
        let offset = usize::from(u16_at(self.bytes, 20)?);
        self.bytes.get(offset..)?.get(..length).filter(|_| self.is_resident())
    }

    /// Compressed, encrypted, sparse.
    pub(super) fn flags(&self) -> u16 {
        u16_at(self.bytes, 12).unwrap_or(0)
    }

    /// The first cluster of the file that it maps.
    pub(super) fn lowest(&self) -> u64 {
        if self.is_resident() { 0 } else { u64_at(self.bytes, 16).unwrap_or(u64::MAX) }
    }

    /// Clusters that are compressed together, as a power of two; 0: none.
    pub(super) fn unit(&self) -> u8 {
        bytes_at(self.bytes, 34).map_or(0, |[unit]| unit)
    }

    /// Bytes of the whole stream, and those that were ever written.
    pub(super) fn sizes(&self) -> Option<(u64, u64)> {
        Some((u64_at(self.bytes, 48)?, u64_at(self.bytes, 56)?))
    }

    /// Its mapping pairs.
    pub(super) fn pairs(&self) -> Option<&'a [u8]> {
        self.bytes.get(usize::from(u16_at(self.bytes, 32)?)..)
    }
}

/// A name in a folder.
#[derive(Clone, Debug)]
pub(super) struct Named {
    pub(super) folder: Reference,
    pub(super) name: Vec<u8>,
    pub(super) created: Option<Time>,
    /// Bytes of the file when it was last renamed.
    pub(super) size: u64,
    is_short: bool,
}

impl Named {
    fn of(value: &[u8]) -> Option<Self> {
        /// A name of eight and three letters, beside a long one.
        const DOS: u8 = 2;
        let [units, namespace] = bytes_at(value, 64)?;
        let name = value.get(66..)?.get(..usize::from(units).checked_mul(2)?)?;
        let name = outside(name);
        super::names::is_name(&name).then_some(Self {
            folder: Reference::of(u64_at(value, 0)?),
            name,
            created: u64_at(value, 8).and_then(Time::of_filetime),
            size: u64_at(value, 48)?,
            is_short: namespace == DOS,
        })
    }
}

/// The records that an attribute list names for data or names.
pub(super) fn listed(list: &[u8]) -> Vec<u64> {
    let (mut found, mut at) = (vec![], 0usize);
    while let Some((kind, length)) = u32_at(list, at).zip(u16_at(list, at.saturating_add(4))) {
        let holder = u64_at(list, at.saturating_add(16)).map_or(0, |raw| raw & NUMBER);
        if matches!(kind, DATA | FILE_NAME) && !found.contains(&holder) {
            found.push(holder);
        }
        if length < 26 {
            break;
        }
        at = at.saturating_add(length.into());
    }
    found
}

#[cfg(test)]
#[allow(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    clippy::cast_possible_truncation
)]
mod tests {
    use super::*;

    /// A record of 1 KiB with these attributes.
    pub(super) fn record(attributes: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0; 1024];
        bytes[..8].copy_from_slice(b"FILE\x30\0\x03\0");
        bytes[16..18].copy_from_slice(&7u16.to_le_bytes());
        bytes[20..22].copy_from_slice(&56u16.to_le_bytes());
        bytes[48..54].copy_from_slice(&[0xAA, 0xBB, 1, 2, 3, 4]);
        bytes[56..56 + attributes.len()].copy_from_slice(attributes);
        bytes[56 + attributes.len()..][..4].copy_from_slice(&END.to_le_bytes());
        for end in [510, 1022] {
            bytes[end..end + 2].copy_from_slice(&[0xAA, 0xBB]);
        }
        bytes
    }

    fn attribute(kind: u32, value: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0; 24];
        bytes[..4].copy_from_slice(&kind.to_le_bytes());
        bytes[16..20].copy_from_slice(&(value.len() as u32).to_le_bytes());
        bytes[20] = 24;
        bytes.extend_from_slice(value);
        bytes.resize(bytes.len().next_multiple_of(8), 0);
        let length = (bytes.len() as u32).to_le_bytes();
        bytes[4..8].copy_from_slice(&length);
        bytes
    }

    #[test]
    fn a_record_is_read() {
        let read = Record::of(record(&attribute(DATA, b"hello"))).unwrap();
        assert_eq!((read.sequence, read.is_used, read.bytes[510], read.bytes[1023]), (7, false, 1, 4));
        assert_eq!(read.find(DATA).unwrap().value(), Some(&b"hello"[..]));
        assert_eq!(read.attributes().count(), 1);
        assert!(read.names().is_empty() && read.times() == [None; 4]);
    }

    #[test]
    fn damage_is_told_from_a_record() {
        let good = record(&attribute(DATA, b"hello"));
        // Its magic, the place and the number of its marks, a mark at the end of a stride.
        for at in [0, 4, 6, 510, 1022] {
            let mut bad = good.clone();
            bad[at] ^= 0x5A;
            assert!(Record::of(bad).is_none(), "byte {at}");
        }
        assert!(Record::of(good[..512].to_vec()).is_none());
        // A length that leads nowhere, and a value that leaves its attribute.
        for (at, value) in [(60, 0), (61, 0xFF), (72, 0xFF), (76, 0xFF)] {
            let mut bad = good.clone();
            bad[at] = value;
            assert!(
                Record::of(bad).unwrap().find(DATA).and_then(|found| found.value()).is_none(),
                "byte {at}"
            );
        }
    }

    #[test]
    fn a_list_ends() {
        let mut entry = vec![0; 32];
        entry[0] = 0x80;
        entry[4] = 32;
        entry[16] = 9;
        assert_eq!(listed(&[entry.clone(), entry.clone()].concat()), [9]);
        entry[4] = 0;
        assert_eq!(listed(&[entry.clone(), entry].concat()), [9]);
    }
}
