//! Where on the disk it was that a file could not be read: readers of filesystems need not know.

use block::{ByteRange, ErrorKind, Extent, ReadAt, Result, Source};
use std::sync::{Mutex, PoisonError};

/// A place of the disk that could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lost {
    /// Bytes of the disk.
    pub range: ByteRange,
    /// Why.
    pub kind: ErrorKind,
}

/// A disk that remembers where it failed last.
pub struct Noting {
    inner: Source,
    last: Mutex<Option<Lost>>,
}

impl Noting {
    /// Over a disk.
    pub fn new(inner: Source) -> Self {
        Self { inner, last: Mutex::default() }
    }

    /// Where it failed last since this was asked. Caches read more than they were asked for and try again with
    /// less: the last failure is the one that counts, and only if the whole call failed.
    pub fn take(&self) -> Option<Lost> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl ReadAt for Noting {
    fn size(&self) -> u64 {
        self.inner.size()
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<()> {
        self.inner.read_at(offset, buf).inspect_err(|error| {
            let range = error.range().or(ByteRange::new(offset, buf.len() as u64));
            let lost = range.map(|range| Lost { range, kind: error.kind() });
            *self.last.lock().unwrap_or_else(PoisonError::into_inner) = lost;
        })
    }

    fn extent_at(&self, offset: u64) -> Result<Extent> {
        self.inner.extent_at(offset)
    }

    fn concurrency(&self) -> usize {
        self.inner.concurrency()
    }

    fn granule(&self) -> u64 {
        self.inner.granule()
    }
}
