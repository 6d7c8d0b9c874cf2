//! Names: UTF-16 on the disk, UTF-8 outside, and the table of the volume that says which letters are one.

use crate::fs::dos;
use block::field::u16_at;
use std::cmp::Ordering;

/// UTF-16 as UTF-8; halves of pairs alone as three bytes (WTF-8), so that every name has its own bytes.
pub(crate) fn outside(utf16: &[u8]) -> Vec<u8> {
    dos::name(units(utf16))
}

/// The other way; `None` for bytes that no name has.
pub(super) fn inside(name: &[u8]) -> Option<Vec<u16>> {
    let (mut utf16, mut rest) = (vec![], name);
    while !rest.is_empty() {
        let valid = match std::str::from_utf8(rest) {
            Ok(text) => text,
            Err(error) => std::str::from_utf8(rest.get(..error.valid_up_to())?).ok()?,
        };
        utf16.extend(valid.encode_utf16());
        rest = rest.get(valid.len()..)?;
        match rest.split_first_chunk::<3>() {
            Some(([0xED, high @ 0xA0..=0xBF, low @ 0x80..=0xBF], after)) => {
                utf16.push(0xD000 | u16::from(high & 0x3F) << 6 | u16::from(low & 0x3F));
                rest = after;
            }
            _ if rest.is_empty() => {}
            _ => return None,
        }
    }
    Some(utf16)
}

/// The numbers of UTF-16 bytes.
pub(super) fn units(utf16: &[u8]) -> impl Iterator<Item = u16> {
    utf16.as_chunks::<2>().0.iter().map(|unit| u16::from_le_bytes(*unit))
}

/// Which letters are one: `$UpCase`.
pub(super) struct Upcase(Vec<u16>);

impl Upcase {
    /// Bytes of the table.
    pub(super) const SIZE: usize = 0x2_0000;

    /// The table of the volume.
    pub(super) fn of(bytes: &[u8]) -> Self {
        Self(units(bytes).collect())
    }

    /// Where that cannot be read: what Unicode says of single letters.
    pub(super) fn simple() -> Self {
        let upper = |unit: u16| {
            let mut upper = char::from_u32(unit.into()).into_iter().flat_map(char::to_uppercase);
            let single = upper.next().filter(|_| upper.next().is_none());
            single.and_then(|upper| u16::try_from(u32::from(upper)).ok()).unwrap_or(unit)
        };
        Self((0..=u16::MAX).map(upper).collect())
    }

    fn upper(&self, unit: u16) -> u16 {
        self.0.get(usize::from(unit)).copied().unwrap_or(unit)
    }

    /// The order of names without regard to case, in which directories are sorted.
    pub(super) fn order(&self, one: &[u16], other: impl Iterator<Item = u16>) -> Ordering {
        let upper = |unit| self.upper(unit);
        one.iter().copied().map(upper).cmp(other.map(upper))
    }
}

/// A name in a directory, with what it repeats of its file.
pub(super) struct FileName<'a> {
    /// UTF-16.
    pub(super) name: &'a [u8],
    /// Made for programs of DOS, beside a longer one.
    pub(super) is_dos: bool,
    /// Attributes as of [`crate::fs::Metadata`], and one more that says directory.
    pub(super) attributes: u32,
}

impl<'a> FileName<'a> {
    /// Only in names: it is a directory.
    pub(super) const DIRECTORY: u32 = 0x1000_0000;
    const DOS: u8 = 2;

    /// From a FILE_NAME attribute; `None` if it is cut short.
    pub(super) fn parse(value: &'a [u8]) -> Option<Self> {
        let attributes = block::field::u32_at(value, 56)?;
        let [file_name_length, file_name_type] = u16_at(value, 64)?.to_le_bytes();
        let name = value.get(66..)?.get(..usize::from(file_name_length).checked_mul(2)?)?;
        Some(Self { name, is_dos: file_name_type == Self::DOS, attributes })
    }
}

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects, clippy::indexing_slicing)]
mod tests {
    use super::*;

    fn utf16(units: &[u16]) -> Vec<u8> {
        units.iter().flat_map(|unit| unit.to_le_bytes()).collect()
    }

    #[test]
    fn every_name_has_its_bytes() {
        let pair = [0xD83D, 0xDE00];
        for units in [&[0x61, 0xFC, 0x65E5][..], &pair, &[0xD83D], &[0xDE00, 0xD83D], &[0x61, 0xDC00, 0x62]] {
            let bytes = outside(&utf16(units));
            assert_eq!(inside(&bytes).as_deref(), Some(units));
        }
        assert_eq!(outside(&utf16(&pair)), "\u{1F600}".as_bytes());
        assert_eq!(outside(&utf16(&[0xD83D])), [0xED, 0xA0, 0xBD]);
        assert_eq!((inside(b"a\xFF"), inside(b"\xED\xA0")), (None, None));
    }

    #[test]
    fn order_without_case() {
        let upcase = Upcase::simple();
        let units = |name: &str| name.encode_utf16().collect::<Vec<_>>();
        let order = |one: &str, other: &str| upcase.order(&units(one), units(other).into_iter());
        assert_eq!(order("Gr\u{FC}n", "GR\u{DC}N"), Ordering::Equal);
        assert_eq!(order("stra\u{DF}e", "STRASSE"), Ordering::Greater);
        assert_eq!((order("a", "B"), order("_", "a")), (Ordering::Less, Ordering::Greater));
    }
}
