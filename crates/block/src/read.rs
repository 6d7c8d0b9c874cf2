//! The one way to read anything.

use crate::{ByteRange, Error, ErrorKind, Extent, ExtentKind, Result};
use std::sync::Arc;

/// A random-access source: a device, a backup, a partition, a file in a filesystem.
///
/// Synchronous, by `&self`, exact: there is no short read that is not an error.
pub trait ReadAt: Send + Sync {
    /// Bytes there are. Constant.
    fn size(&self) -> u64;

    /// Fills all of `buf` from byte `offset` on, or fails. On failure [`crate::Error::range`] is what it
    /// could not read, and `buf` is good up to there and unspecified behind. Absent and bad bytes are
    /// errors: what nobody has read never comes out as zeroes.
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<()>;

    /// What is known without reading: the extent that starts at `offset`, never empty, up to the end of
    /// what is known alike. Fails at or beyond the end.
    fn extent_at(&self, offset: u64) -> Result<Extent> {
        let left = self.size().saturating_sub(offset).max(1);
        Ok(Extent { range: ByteRange::within(self.size(), offset, left)?, kind: ExtentKind::Data })
    }

    /// How many reads at once it serves well. 1: a single thread reads, in order.
    fn concurrency(&self) -> usize {
        1
    }

    /// Bytes that a small read costs anyway (page, frame): the piece that a cache should keep.
    fn granule(&self) -> u64 {
        4096
    }
}

/// How sources are passed on: shared, so that wrappers need neither lifetimes nor type parameters.
pub type Source = Arc<dyn ReadAt>;

/// What is known of `range` without reading: its extents, ascending, without a gap. Lazy, because an image
/// may have millions; ends after the first error. Here alone is checked that a source keeps the contract of
/// [`ReadAt::extent_at`]: one that does not would let a loop stand still or forget bytes.
pub fn extents(source: &dyn ReadAt, range: ByteRange) -> impl Iterator<Item = Result<Extent>> + '_ {
    let mut left = range;
    std::iter::from_fn(move || {
        if left.is_empty() {
            return None;
        }
        let extent = source.extent_at(left.start()).and_then(|known| {
            if known.range.start() != left.start() || known.range.is_empty() {
                let words = "a source breaks the contract of extent_at";
                return Err(Error::new(ErrorKind::Bug, words).with_range(known.range));
            }
            Ok(Extent { range: known.range.intersect(left), ..known })
        });
        let end = extent.as_ref().map_or(left.end(), |extent| extent.range.end());
        left = ByteRange::span(end, left.end());
        Some(extent)
    })
}
