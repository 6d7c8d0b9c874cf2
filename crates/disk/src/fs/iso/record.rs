//! Directory records: one name each, and where its bytes are.

use super::super::bytes::{Fields, corrupt};
use super::super::{Time, civil};
use block::Result;

/// Bits of the flags.
const HIDDEN: u8 = 1;
const DIRECTORY: u8 = 2;
const ASSOCIATED: u8 = 4;
const MORE: u8 = 0x80;

/// A record.
#[derive(Clone, Copy)]
pub(super) struct Record<'a> {
    /// First logical block of its content.
    pub(super) block: u64,
    /// Bytes of it.
    pub(super) size: u32,
    pub(super) modified: Option<Time>,
    flags: u8,
    /// Its content lies in pieces with gaps between, as nobody does any more.
    pub(super) interleaved: bool,
    /// As it is written; one byte 0 is the directory itself, 1 the one above.
    pub(super) name: &'a [u8],
    /// What extensions keep.
    pub(super) system: &'a [u8],
}

impl<'a> Record<'a> {
    /// The record at the front of `bytes`, and bytes of it. `None`: there is none, and no other in this sector.
    pub(super) fn read(bytes: &'a [u8]) -> Result<Option<(Self, usize)>> {
        let len = match bytes.first() {
            None | Some(0) => return Ok(None),
            Some(len) => usize::from(*len),
        };
        let f = Fields::new(bytes, "a directory record").part(0, len)?;
        let name_len = usize::from(f.u8(32)?);
        let name = f.slice(33, name_len)?;
        if name.is_empty() {
            return Err(corrupt("a directory record without a name"));
        }
        // A byte of padding makes it even.
        let system = 33_usize.saturating_add(name_len | 1);
        let record = Self {
            block: u64::from(f.u32(2)?).saturating_add(f.u8(1)?.into()),
            size: f.u32(10)?,
            modified: short_time(f.slice(18, 7)?),
            flags: f.u8(25)?,
            interleaved: f.u8(26)? != 0 || f.u8(27)? != 0,
            name,
            system: f.slice(system.min(len), len.saturating_sub(system))?,
        };
        Ok(Some((record, len)))
    }

    pub(super) fn is_directory(&self) -> bool {
        self.flags & DIRECTORY != 0
    }

    /// The directory itself, or the one above.
    pub(super) fn is_dot(&self) -> bool {
        matches!(self.name, [0 | 1])
    }

    /// Another fork of the file of the same name.
    pub(super) fn is_associated(&self) -> bool {
        self.flags & ASSOCIATED != 0
    }

    /// The next record goes on with the same file.
    pub(super) fn has_more(&self) -> bool {
        self.flags & MORE != 0
    }

    /// As DOS says it.
    pub(super) fn attributes(&self) -> u32 {
        if self.flags & HIDDEN != 0 { 2 } else { 0 }
    }
}

/// Seven bytes: years since 1900 to seconds, and quarters of an hour east of Greenwich.
pub(super) fn short_time(field: &[u8]) -> Option<Time> {
    let &[year, month, day, hour, minute, second, zone] = field.first_chunk()?;
    let east = i64::from(zone.cast_signed()).saturating_mul(15);
    civil::time((i64::from(year).saturating_add(1900), month, day), (hour, minute, second), east)
}

/// Seventeen bytes: digits of year to hundredths of a second, and the zone.
pub(super) fn long_time(field: &[u8]) -> Option<Time> {
    let number = |at: usize, len: usize| -> Option<u32> {
        std::str::from_utf8(field.get(at..)?.get(..len)?).ok()?.parse().ok()
    };
    let small = |at: usize| u8::try_from(number(at, 2)?).ok();
    let east = i64::from(field.get(16)?.cast_signed()).saturating_mul(15);
    let date = (i64::from(number(0, 4)?), small(4)?, small(6)?);
    let time = civil::time(date, (small(8)?, small(10)?, small(12)?), east)?;
    Some(Time { nanos: number(14, 2)?.saturating_mul(10_000_000), ..time })
}

/// A name of ISO 9660 as Linux shows it: in lower case, without its version and a dot that ends it.
pub(super) fn plain_name(name: &[u8]) -> Vec<u8> {
    let name = name.strip_suffix(b";1").unwrap_or(name);
    let name = name.strip_suffix(b".").filter(|name| !name.is_empty()).unwrap_or(name);
    let shown = |byte: &u8| if matches!(byte, b';' | b'/') { b'.' } else { byte.to_ascii_lowercase() };
    name.iter().map(shown).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_both_lengths() {
        let short = short_time(&[124, 2, 29, 12, 30, 5, 4]).unwrap();
        assert_eq!(short.seconds, 1_709_206_205);
        let long = long_time(b"2024022912300550\x04").unwrap();
        assert_eq!((long.seconds, long.nanos), (short.seconds, 500_000_000));
        assert_eq!((long_time(b"0000000000000000\0"), short_time(&[0; 7])), (None, None));
    }

    #[test]
    fn names_as_linux_shows_them() {
        for (kept, shown) in [("README.TXT;1", "readme.txt"), ("FILE.;1", "file"), ("DIR", "dir")] {
            assert_eq!(plain_name(kept.as_bytes()), shown.as_bytes());
        }
        assert_eq!(plain_name(b"A;2"), b"a.2");
    }

    #[test]
    fn records_that_are_cut_short() {
        let mut bytes = [0; 40];
        bytes[0] = 36;
        bytes[32] = 2;
        assert_eq!(Record::read(&bytes).unwrap().unwrap().1, 36);
        bytes[32] = 9;
        assert!(Record::read(&bytes).is_err());
        assert!(Record::read(&bytes[..35]).is_err());
        assert!(Record::read(&[0; 4]).unwrap().is_none());
    }
}
