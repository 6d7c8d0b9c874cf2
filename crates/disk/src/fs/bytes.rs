//! Structures of filesystems as bytes: numbers and names at their places, or an error that says what is cut short.

use block::{ByteRange, Error, ErrorKind, ReadAt, Result, field};

/// No structure that is read in one go is larger.
const LARGEST: u64 = 64 << 20;

/// Structures that contradict themselves.
pub(super) fn corrupt(words: impl Into<String>) -> Error {
    Error::new(ErrorKind::Corrupt, words)
}

/// A length in memory as an offset.
pub(super) fn wide(len: usize) -> u64 {
    u64::try_from(len).unwrap_or(u64::MAX)
}

/// An offset as a place in memory; what is too large for one fails the bounds check that follows.
pub(super) fn narrow(offset: u64) -> usize {
    usize::try_from(offset).unwrap_or(usize::MAX)
}

/// `len` bytes of a source, which hold `what`.
pub(super) fn read(source: &dyn ReadAt, at: u64, len: u64, what: &str) -> Result<Vec<u8>> {
    if len > LARGEST || ByteRange::within(source.size(), at, len).is_err() {
        return Err(corrupt(format!("{what} lies outside")));
    }
    let mut bytes = vec![0; narrow(len)];
    source.read_at(at, &mut bytes).map_err(|error| error.context(format!("reading {what}")))?;
    Ok(bytes)
}

/// A structure, and what it is called where it ends too soon.
#[derive(Clone, Copy)]
pub(super) struct Fields<'a> {
    bytes: &'a [u8],
    what: &'static str,
}

impl<'a> Fields<'a> {
    pub(super) fn new(bytes: &'a [u8], what: &'static str) -> Self {
        Self { bytes, what }
    }

    fn some<T>(self, value: Option<T>) -> Result<T> {
        value.ok_or_else(|| corrupt(format!("{} is cut short", self.what)))
    }

    pub(super) fn u8(self, at: usize) -> Result<u8> {
        self.some(self.bytes.get(at).copied())
    }

    pub(super) fn u16(self, at: usize) -> Result<u16> {
        self.some(field::u16_at(self.bytes, at))
    }

    pub(super) fn u32(self, at: usize) -> Result<u32> {
        self.some(field::u32_at(self.bytes, at))
    }

    pub(super) fn u64(self, at: usize) -> Result<u64> {
        self.some(field::u64_at(self.bytes, at))
    }

    pub(super) fn be16(self, at: usize) -> Result<u16> {
        self.some(field::be16_at(self.bytes, at))
    }

    pub(super) fn be32(self, at: usize) -> Result<u32> {
        self.some(field::be32_at(self.bytes, at))
    }

    pub(super) fn be64(self, at: usize) -> Result<u64> {
        self.some(field::be64_at(self.bytes, at))
    }

    /// `len` bytes from `at`.
    pub(super) fn slice(self, at: usize, len: usize) -> Result<&'a [u8]> {
        self.some(self.bytes.get(at..).and_then(|rest| rest.get(..len)))
    }

    /// A structure in it.
    pub(super) fn part(self, at: usize, len: usize) -> Result<Self> {
        Ok(Self { bytes: self.slice(at, len)?, what: self.what })
    }
}

/// Big-endian UTF-16 as UTF-8; halves of pairs as WTF-8, three bytes each.
pub(super) fn utf16(units: impl IntoIterator<Item = u16>) -> Vec<u8> {
    let mut name = vec![];
    for unit in char::decode_utf16(units) {
        match unit {
            Ok(c) => name.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
            Err(half) => {
                let [high, low] = half.unpaired_surrogate().to_be_bytes();
                let middle = ((high & 0x0F) << 2) | (low >> 6);
                name.extend_from_slice(&[0xE0 | (high >> 4), 0x80 | middle, 0x80 | (low & 0x3F)]);
            }
        }
    }
    name
}

/// Code units of big-endian bytes.
pub(super) fn units(bytes: &[u8]) -> impl Iterator<Item = u16> + '_ {
    bytes.as_chunks::<2>().0.iter().map(|unit| u16::from_be_bytes(*unit))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_of_pairs_keep_apart() {
        assert_eq!(utf16("gr\u{fc}n\u{1f600}".encode_utf16()), "gr\u{fc}n\u{1f600}".as_bytes());
        assert_eq!(utf16([0xD800]), [0xED, 0xA0, 0x80]);
        assert_eq!(utf16([0xDFFF, 65]), [0xED, 0xBF, 0xBF, 65]);
    }

    #[test]
    fn what_is_cut_short_is_said() {
        let fields = Fields::new(&[1, 2, 3], "a record");
        assert_eq!((fields.u16(1).unwrap(), fields.be16(0).unwrap()), (0x0302, 0x0102));
        assert!(fields.u32(0).unwrap_err().to_string().contains("a record is cut short"));
        assert!(fields.slice(2, 2).is_err() && fields.slice(usize::MAX, 2).is_err());
    }
}
