//! The one way to write anything that is not a stored file of a backup.

use crate::{ByteRange, ReadAt, Result};

/// Bytes of zeroes written at a time by the default of [`WriteAt::write_zeroes`].
const ZEROES: u64 = 1 << 20;

/// A target: always readable, so that what was written is read back through the same handle.
pub trait WriteAt: ReadAt {
    /// Writes all of `bytes` from `offset` on, or fails. Not durable before [`WriteAt::sync`].
    fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<()>;

    /// Makes the range read as zeroes. Devices and files know better ways (BLKZEROOUT, holes); wrappers
    /// must forward it.
    fn write_zeroes(&self, range: ByteRange) -> Result<()> {
        let zeroes = vec![0; range.len().min(ZEROES) as usize];
        let mut left = range;
        while !left.is_empty() {
            let piece = left.intersect(ByteRange::span(left.start(), left.start().saturating_add(ZEROES)));
            self.write_at(piece.start(), &zeroes[piece.index(piece.start())])?;
            left = ByteRange::span(piece.end(), left.end());
        }
        Ok(())
    }

    /// Returns when all that was written will survive a power cut. Its first error is final: the kernel
    /// reports a lost write once only.
    fn sync(&self) -> Result<()>;
}
