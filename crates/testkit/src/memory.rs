//! A disk in memory that records what is done to it and fails where it is told to.

use block::{ByteRange, Error, ErrorKind, Extent, ExtentKind, ReadAt, Result, WriteAt};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// `size` bytes no two neighbouring sectors of which are alike.
pub fn pattern(size: usize) -> Vec<u8> {
    let mut x = 0x9E37_79B9_7F4A_7C15_u64;
    let mut bytes = Vec::with_capacity(size + 8);
    while bytes.len() < size {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        bytes.extend_from_slice(&x.to_le_bytes());
    }
    bytes.truncate(size);
    bytes
}

/// A readable, writable disk.
pub struct Memory {
    bytes: Mutex<Vec<u8>>,
    size: u64,
    /// Reading any of these bytes fails with [`ErrorKind::Media`].
    pub bad: Vec<ByteRange>,
    /// Announced as [`ExtentKind::Zero`] by `extent_at`; sorted. They must be zero.
    pub holes: Vec<ByteRange>,
    /// Answer of `concurrency`.
    pub threads: usize,
    /// The n-th write (from 0) fails with [`ErrorKind::NoSpace`], and all after it.
    pub fail_write: Option<usize>,
    /// Every read, in order.
    pub reads: Mutex<Vec<ByteRange>>,
    /// Every write, in order; `write_zeroes` is one.
    pub writes: Mutex<Vec<ByteRange>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Memory {
    /// A disk with this content.
    pub fn new(bytes: Vec<u8>) -> Self {
        Self {
            size: bytes.len() as u64,
            bytes: Mutex::new(bytes),
            bad: vec![],
            holes: vec![],
            threads: 1,
            fail_write: None,
            reads: Mutex::default(),
            writes: Mutex::default(),
        }
    }

    /// With other answers: `Memory::new(bytes).with(|disk| disk.threads = 4)`.
    #[must_use]
    pub fn with(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }

    /// A copy of what it holds.
    pub fn bytes(&self) -> Vec<u8> {
        lock(&self.bytes).clone()
    }

    fn write(&self, range: ByteRange, change: impl FnOnce(&mut [u8])) -> Result<()> {
        ByteRange::within(self.size, range.start(), range.len())?;
        let mut writes = lock(&self.writes);
        if self.fail_write.is_some_and(|n| writes.len() >= n) {
            return Err(Error::at(ErrorKind::NoSpace, range));
        }
        writes.push(range);
        change(&mut lock(&self.bytes)[range.index(0)]);
        Ok(())
    }
}

impl ReadAt for Memory {
    fn size(&self) -> u64 {
        self.size
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<()> {
        let want = ByteRange::within(self.size, offset, buf.len() as u64)?;
        lock(&self.reads).push(want);
        let bad = self.bad.iter().map(|b| b.intersect(want)).find(|b| !b.is_empty());
        let good = ByteRange::span(offset, bad.map_or(want.end(), |b| b.start()));
        buf[good.index(offset)].copy_from_slice(&lock(&self.bytes)[good.index(0)]);
        bad.map_or(Ok(()), |range| Err(Error::at(ErrorKind::Media, range)))
    }

    fn extent_at(&self, offset: u64) -> Result<Extent> {
        ByteRange::within(self.size, offset, 1)?;
        let next = self.holes.iter().find(|hole| hole.end() > offset);
        Ok(match next {
            Some(hole) if hole.contains(offset) => {
                Extent { range: ByteRange::span(offset, hole.end()), kind: ExtentKind::Zero }
            }
            _ => {
                let end = next.map_or(self.size, |hole| hole.start());
                Extent { range: ByteRange::span(offset, end), kind: ExtentKind::Data }
            }
        })
    }

    fn concurrency(&self) -> usize {
        self.threads
    }
}

impl WriteAt for Memory {
    fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<()> {
        let range = ByteRange::within(self.size, offset, bytes.len() as u64)?;
        self.write(range, |place| place.copy_from_slice(bytes))
    }

    fn write_zeroes(&self, range: ByteRange) -> Result<()> {
        self.write(range, |place| place.fill(0))
    }

    fn sync(&self) -> Result<()> {
        Ok(())
    }
}
