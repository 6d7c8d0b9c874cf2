//! Where something is: in bytes, and in sectors whose size is always carried along.

use crate::{Error, ErrorKind, Result};

/// A half-open run of bytes, `start..end`. `start <= end` always holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ByteRange {
    start: u64,
    end: u64,
}

impl ByteRange {
    /// From `start` up to `end`, empty (at `start`) if `end` lies before `start`.
    pub const fn span(start: u64, end: u64) -> Self {
        Self { start, end: if end < start { start } else { end } }
    }

    /// `len` bytes from `start`; `None` if the end does not fit in a `u64`.
    pub fn new(start: u64, len: u64) -> Option<Self> {
        Some(Self { start, end: start.checked_add(len)? })
    }

    /// `len` bytes from `start`, for numbers from outside: fails with [`ErrorKind::OutOfRange`] unless
    /// they lie inside the first `size` bytes.
    pub fn within(size: u64, start: u64, len: u64) -> Result<Self> {
        match Self::new(start, len) {
            Some(range) if range.end <= size => Ok(range),
            _ => Err(Error::at(ErrorKind::OutOfRange, Self::span(start, start.saturating_add(len)))),
        }
    }

    /// Offset of the first byte.
    pub const fn start(self) -> u64 {
        self.start
    }

    /// Offset behind the last byte.
    pub const fn end(self) -> u64 {
        self.end
    }

    /// How many bytes.
    pub const fn len(self) -> u64 {
        self.end - self.start
    }

    /// No bytes at all.
    pub const fn is_empty(self) -> bool {
        self.start == self.end
    }

    /// Does the byte at `offset` belong to it?
    pub const fn contains(self, offset: u64) -> bool {
        self.start <= offset && offset < self.end
    }

    /// Does all of `other` lie in it?
    pub const fn covers(self, other: Self) -> bool {
        self.start <= other.start && other.end <= self.end
    }

    /// What both have; empty if nothing.
    pub fn intersect(self, other: Self) -> Self {
        Self::span(self.start.max(other.start), self.end.min(other.end))
    }

    /// Do they have a byte in common?
    pub fn overlaps(self, other: Self) -> bool {
        !self.intersect(other).is_empty()
    }

    /// What is left of it in front of `hole` and behind it; either may be empty.
    pub fn minus(self, hole: Self) -> [Self; 2] {
        [Self::span(self.start, self.end.min(hole.start)), Self::span(self.start.max(hole.end), self.end)]
    }

    /// It, cut into pieces of `most` bytes (not 0); only the last one may be shorter.
    pub fn pieces(self, most: u64) -> impl Iterator<Item = Self> {
        let mut at = self.start;
        std::iter::from_fn(move || {
            let piece = Self::span(at, self.end.min(at.saturating_add(most.max(1))));
            at = piece.end;
            (!piece.is_empty()).then_some(piece)
        })
    }

    /// Its place in a buffer whose first byte is `base`. `base` must not lie behind its start.
    pub fn index(self, base: u64) -> std::ops::Range<usize> {
        to_index(self.start - base)..to_index(self.end - base)
    }

    /// The same bytes where byte `from` is called `to`. What lies before `from` is cut off.
    pub fn moved(self, from: u64, to: u64) -> Self {
        let at = |x: u64| to.saturating_add(x.saturating_sub(from));
        Self::span(at(self.start), at(self.end))
    }
}

/// An offset in memory. Memory is smaller than `usize::MAX`, so saturating can only fail a later bounds
/// check, on machines with 32 bits.
fn to_index(offset: u64) -> usize {
    usize::try_from(offset).unwrap_or(usize::MAX)
}

/// A logical block address: the number of a sector. Says nothing without a [`SectorSize`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Lba(pub u64);

impl std::fmt::Display for Lba {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// Bytes of one addressable sector: a power of two from 512 to 65536.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SectorSize(u32);

impl SectorSize {
    /// What nearly all disks answer.
    pub const B512: Self = Self(512);
    /// "4Kn" disks.
    pub const B4096: Self = Self(4096);

    /// `None` for what no disk has.
    pub const fn new(bytes: u32) -> Option<Self> {
        if bytes.is_power_of_two() && 512 <= bytes && bytes <= 65536 { Some(Self(bytes)) } else { None }
    }

    /// Bytes of a sector.
    pub const fn bytes(self) -> u64 {
        self.0 as u64
    }

    /// The bytes of `count` sectors from `first`; `None` if they do not fit in a `u64`. The only
    /// multiplication by a sector size.
    pub fn range(self, first: Lba, count: u64) -> Option<ByteRange> {
        ByteRange::new(first.0.checked_mul(self.bytes())?, count.checked_mul(self.bytes())?)
    }

    /// The sector that holds the byte at `offset`.
    pub const fn lba(self, offset: u64) -> Lba {
        Lba(offset / self.bytes())
    }

    /// How many sectors `bytes` fill, the last one perhaps not whole.
    pub const fn count(self, bytes: u64) -> u64 {
        bytes.div_ceil(self.bytes())
    }
}

impl std::fmt::Display for SectorSize {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_from_outside_cannot_overflow() {
        assert_eq!(ByteRange::within(u64::MAX, 5, u64::MAX).unwrap_err().kind(), ErrorKind::OutOfRange);
        assert_eq!(ByteRange::within(10, 8, 2).unwrap(), ByteRange::span(8, 10));
        assert!(ByteRange::within(10, 8, 3).is_err());
        assert_eq!(SectorSize::B4096.range(Lba(u64::MAX), 1), None);
        assert_eq!(SectorSize::B512.range(Lba(63), 2), ByteRange::new(32256, 1024));
        assert_eq!([0, 511, 513, 1 << 17].map(SectorSize::new), [None; 4]);
    }

    #[test]
    fn pieces_are_all_of_it() {
        let cut =
            |range: ByteRange, most| range.pieces(most).map(|p| (p.start(), p.end())).collect::<Vec<_>>();
        assert_eq!(cut(ByteRange::span(5, 12), 3), [(5, 8), (8, 11), (11, 12)]);
        assert_eq!(cut(ByteRange::span(5, 5), 3), []);
        let last = ByteRange::span(u64::MAX - 2, u64::MAX);
        assert_eq!(cut(last, u64::MAX), [(u64::MAX - 2, u64::MAX)]);
    }

    #[test]
    fn what_is_left_without_a_hole() {
        let r = ByteRange::span;
        assert_eq!(r(0, 10).minus(r(3, 5)), [r(0, 3), r(5, 10)]);
        assert!(r(3, 5).minus(r(0, 10)).iter().all(|left| left.is_empty()));
        assert_eq!(r(4, 8).moved(6, 100), r(100, 102));
        assert!(r(5, 2).is_empty());
    }
}
