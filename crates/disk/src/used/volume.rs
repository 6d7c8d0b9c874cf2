//! What mappers read through: a volume of which no more is read than honest metadata takes.

use block::field;
use block::{ByteRange, Error, ErrorKind, ReadAt, Result};
use std::cell::{Cell, RefCell};

/// Bytes that one read may ask for: a node, a piece of a table.
const LARGEST: u64 = 4 << 20;
/// Of this many bytes of a volume one may be read, and [`LEAST`] more: a table of 4 bytes for each 512 is the
/// densest there is.
const SHARE: u64 = 16;
const LEAST: u64 = 64 << 20;
/// A small read takes as much with it: bitmaps of ext and nodes of trees often follow each other, and a disk with
/// a moving head has it at the cost of one.
const WINDOW: u64 = 128 << 10;

/// A volume, and how much may still be read of it.
pub(super) struct Volume<'a> {
    source: &'a dyn ReadAt,
    left: Cell<u64>,
    /// What was read last, and where it begins.
    window: RefCell<(u64, Vec<u8>)>,
}

impl<'a> Volume<'a> {
    pub(super) fn new(source: &'a dyn ReadAt) -> Self {
        let left = Cell::new((source.size() / SHARE).saturating_add(LEAST));
        Self { source, left, window: RefCell::default() }
    }

    /// Bytes of it.
    pub(super) fn size(&self) -> u64 {
        self.source.size()
    }

    /// `len` bytes from `at`, or an error: beyond the end, too much at once, too much in all.
    pub(super) fn read(&self, at: u64, len: u64) -> Result<Vec<u8>> {
        let range = ByteRange::within(self.size(), at, len)?;
        let left = self.left.get().checked_sub(len).filter(|_| len <= LARGEST);
        self.left.set(left.ok_or_else(|| corrupt("its structures are larger than they can be"))?);
        if len < WINDOW / 2 {
            if let Some(bytes) = self.in_window(range) {
                return Ok(bytes);
            }
            let more = WINDOW.min(self.size().saturating_sub(at));
            let mut bytes = vec![0; usize::try_from(more).unwrap_or(0)];
            // Not all of it may be readable, and not all of it is needed.
            if self.source.read_at(at, &mut bytes).is_ok() {
                self.window.replace((at, bytes));
                return self.in_window(range).or_corrupt("a read that is too short");
            }
        }
        let mut bytes = vec![0; usize::try_from(range.len()).unwrap_or(0)];
        self.source.read_at(at, &mut bytes)?;
        Ok(bytes)
    }

    fn in_window(&self, range: ByteRange) -> Option<Vec<u8>> {
        let window = self.window.borrow();
        let (start, bytes) = &*window;
        let from = usize::try_from(range.start().checked_sub(*start)?).ok()?;
        let len = usize::try_from(range.len()).ok()?;
        Some(bytes.get(from..)?.get(..len)?.to_vec())
    }
}

/// Bytes that contradict themselves or others.
pub(super) fn corrupt(words: impl Into<String>) -> Error {
    Error::new(ErrorKind::Corrupt, words)
}

/// A feature that is not known here.
pub(super) fn unsupported(words: impl Into<String>) -> Error {
    Error::new(ErrorKind::Unsupported, words)
}

/// For numbers that may not fit and structures that may be cut short.
pub(super) trait OrCorrupt<T> {
    /// What is there, or an error that says `words`.
    fn or_corrupt(self, words: &str) -> Result<T>;
}

impl<T> OrCorrupt<T> for Option<T> {
    fn or_corrupt(self, words: &str) -> Result<T> {
        self.ok_or_else(|| corrupt(words))
    }
}

/// `count` units of `unit` bytes, from number `first` on.
pub(super) fn units(unit: u64, first: u64, count: u64) -> Result<ByteRange> {
    let range = || ByteRange::new(first.checked_mul(unit)?, count.checked_mul(unit)?);
    range().or_corrupt("its numbers lead out of any disk")
}

pub(super) fn le16(bytes: &[u8], at: usize) -> Option<u64> {
    field::u16_at(bytes, at).map(u64::from)
}

pub(super) fn le32(bytes: &[u8], at: usize) -> Option<u64> {
    field::u32_at(bytes, at).map(u64::from)
}

pub(super) fn le64(bytes: &[u8], at: usize) -> Option<u64> {
    field::u64_at(bytes, at)
}

pub(super) fn be16(bytes: &[u8], at: usize) -> Option<u64> {
    field::be16_at(bytes, at).map(u64::from)
}

pub(super) fn be32(bytes: &[u8], at: usize) -> Option<u64> {
    field::be32_at(bytes, at).map(u64::from)
}

pub(super) fn be64(bytes: &[u8], at: usize) -> Option<u64> {
    field::be64_at(bytes, at)
}

pub(super) fn byte(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at).copied().map(u64::from)
}

#[cfg(test)]
mod tests {
    use super::*;
    use testkit::Memory;

    #[test]
    fn no_more_is_read_than_metadata_takes() {
        let disk = Memory::new(vec![0; 8 << 20]);
        let volume = Volume::new(&disk);
        assert_eq!(volume.read(0, LARGEST + 1).unwrap_err().kind(), ErrorKind::Corrupt);
        let volume = Volume::new(&disk);
        assert_eq!(volume.read(8 << 20, 1).unwrap_err().kind(), ErrorKind::OutOfRange);
        let reads = (0..1000).take_while(|_| volume.read(0, LARGEST).is_ok()).count();
        assert_eq!(reads, 16);
        assert!(units(4096, u64::MAX / 4096, 2).is_err());
    }

    #[test]
    fn what_lies_close_together_is_read_once_and_a_bad_place_hides_nothing() {
        let bytes = testkit::pattern(1 << 20);
        let bad = ByteRange::span(70_000, 70_512);
        let disk = Memory::new(bytes.clone()).with(|disk| disk.bad = vec![bad]);
        let volume = Volume::new(&disk);
        for at in [0u64, 4096, 60_000, 66_000, 100_000, 104_096, 200_000, (1 << 20) - 4096] {
            let want = bytes.get(usize::try_from(at).unwrap()..).and_then(|rest| rest.get(..4000));
            assert_eq!(volume.read(at, 4000).ok().as_deref(), want, "{at}");
        }
        assert_eq!(volume.read(68_000, 4096).unwrap_err().kind(), ErrorKind::Media);
        let reads = disk.reads.lock().unwrap().len();
        volume.read((1 << 20) - 2000, 2000).unwrap();
        assert_eq!(disk.reads.lock().unwrap().len(), reads);
    }
}
