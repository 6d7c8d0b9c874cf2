//! What probes read through: bounded, cached at the front, and an unreadable place is simply not there.

use block::{ByteRange, Error, ErrorKind, ReadAt, field};
use std::cell::{Cell, RefCell};

/// Bytes read once for all probes.
const FRONT: u64 = 128 << 10;
/// Bytes that one identification may read in all.
const BUDGET: u64 = 2 << 20;

/// A source as the probes see it. A failure that is not of the medium is kept for [`Window::finish`].
pub(super) struct Window<'a> {
    source: &'a dyn ReadAt,
    partitions: &'a [ByteRange],
    front: Vec<u8>,
    left: Cell<u64>,
    failure: RefCell<Option<Error>>,
}

impl<'a> Window<'a> {
    /// Reads the front. Where it has bad sectors each place is read by itself later.
    pub(super) fn new(source: &'a dyn ReadAt) -> Self {
        Self::around(source, &[])
    }

    /// The same of a disk with these partitions.
    pub(super) fn around(source: &'a dyn ReadAt, partitions: &'a [ByteRange]) -> Self {
        let left = Cell::new(BUDGET);
        let window = Self { source, partitions, front: vec![], left, failure: RefCell::default() };
        let front = window.read(0, source.size().min(FRONT)).unwrap_or_default();
        Self { front, ..window }
    }

    /// Bytes there are.
    pub(super) fn size(&self) -> u64 {
        self.source.size()
    }

    /// `len` bytes at `offset`; `None` outside, beyond the budget, or unreadable.
    pub(super) fn get(&self, offset: u64, len: usize) -> Option<Bytes> {
        let len = u64::try_from(len).ok()?;
        let range = ByteRange::within(self.size(), offset, len).ok()?;
        match self.front.get(range.index(0)) {
            Some(bytes) => Some(Bytes(bytes.to_vec())),
            None => self.read(offset, len).map(Bytes),
        }
    }

    /// Does all of this lie in one partition, so that it is not of the disk?
    pub(super) fn in_partition(&self, range: ByteRange) -> bool {
        self.partitions.iter().any(|partition| partition.covers(range))
    }

    /// The last `len` bytes begin here, if there are so many.
    pub(super) fn end_less(&self, len: u64) -> Option<u64> {
        self.size().checked_sub(len)
    }

    /// The failure that hid something, if one did.
    pub(super) fn finish(self) -> Result<(), Error> {
        self.failure.into_inner().map_or(Ok(()), Err)
    }

    fn read(&self, offset: u64, len: u64) -> Option<Vec<u8>> {
        self.left.set(self.left.get().checked_sub(len)?);
        let mut bytes = vec![0; usize::try_from(len).ok()?];
        match self.source.read_at(offset, &mut bytes) {
            Ok(()) => Some(bytes),
            Err(error) => {
                if !matches!(error.kind(), ErrorKind::Media | ErrorKind::Absent) {
                    self.failure.borrow_mut().get_or_insert(error);
                }
                None
            }
        }
    }
}

/// Bytes of a structure, with its fields read by offset.
pub(super) struct Bytes(pub(super) Vec<u8>);

impl Bytes {
    pub(super) fn u8(&self, at: usize) -> Option<u8> {
        self.0.get(at).copied()
    }
    pub(super) fn u16(&self, at: usize) -> Option<u16> {
        field::u16_at(&self.0, at)
    }
    pub(super) fn u32(&self, at: usize) -> Option<u32> {
        field::u32_at(&self.0, at)
    }
    pub(super) fn u64(&self, at: usize) -> Option<u64> {
        field::u64_at(&self.0, at)
    }
    pub(super) fn be16(&self, at: usize) -> Option<u16> {
        field::be16_at(&self.0, at)
    }
    pub(super) fn be32(&self, at: usize) -> Option<u32> {
        field::be32_at(&self.0, at)
    }
    pub(super) fn be64(&self, at: usize) -> Option<u64> {
        field::be64_at(&self.0, at)
    }
    pub(super) fn array<const N: usize>(&self, at: usize) -> Option<[u8; N]> {
        field::bytes_at(&self.0, at)
    }
    pub(super) fn slice(&self, at: usize, len: usize) -> Option<&[u8]> {
        self.0.get(at..)?.get(..len)
    }
    /// Is `magic` at `at`? `Some(())` so that a probe can say `sb.magic(..)?`.
    pub(super) fn magic(&self, at: usize, magic: &[u8]) -> Option<()> {
        self.has(at, magic).then_some(())
    }
    pub(super) fn has(&self, at: usize, magic: &[u8]) -> bool {
        self.0.get(at..).is_some_and(|rest| rest.starts_with(magic))
    }
    /// A number in the byte order that was found.
    pub(super) fn n32(&self, at: usize, big: bool) -> Option<u32> {
        if big { self.be32(at) } else { self.u32(at) }
    }
}
