//! A window on another source: a partition, a volume.

use crate::{ByteRange, Extent, ReadAt, Result, Source};

/// The bytes `window` of `inner`, as a source of its own.
pub struct Slice {
    inner: Source,
    window: ByteRange,
}

impl Slice {
    /// Fails with [`crate::ErrorKind::OutOfRange`] if the window leaves `inner`.
    pub fn new(inner: Source, window: ByteRange) -> Result<Self> {
        ByteRange::within(inner.size(), window.start(), window.len())?;
        Ok(Self { inner, window })
    }
}

impl ReadAt for Slice {
    fn size(&self) -> u64 {
        self.window.len()
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<()> {
        let base = self.window.start();
        ByteRange::within(self.size(), offset, buf.len() as u64)?;
        self.inner.read_at(base + offset, buf).map_err(|error| error.moved(base, 0))
    }

    fn extent_at(&self, offset: u64) -> Result<Extent> {
        let base = self.window.start();
        ByteRange::within(self.size(), offset, 1)?;
        let extent = self.inner.extent_at(base + offset).map_err(|error| error.moved(base, 0))?;
        Ok(Extent { range: extent.range.intersect(self.window).moved(base, 0), ..extent })
    }

    fn concurrency(&self) -> usize {
        self.inner.concurrency()
    }

    fn granule(&self) -> u64 {
        self.inner.granule()
    }
}
