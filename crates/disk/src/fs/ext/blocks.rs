//! Blocks as a mount would see them: from the disk, or from the journal where it has a newer copy.

use super::superblock::Geometry;
use crate::fs::cursor::{Cursor, failed};
use crate::fs::pool::Pool;
use block::{ByteRange, Error, ErrorKind, Extent, ExtentKind, Result, Source};
use ferrosys::ext::Reader;
use std::num::NonZeroU64;

/// A filesystem's journal, replayed in memory.
pub(super) type Replayed = Pool<Reader<Cursor>>;

pub(super) struct Blocks {
    source: Source,
    replayed: Option<Replayed>,
    /// Bytes of a block.
    pub(super) size: NonZeroU64,
    count: u64,
}

impl Blocks {
    pub(super) fn new(source: &Source, replayed: Option<Replayed>, geometry: &Geometry) -> Self {
        Self { source: Source::clone(source), replayed, size: geometry.block, count: geometry.blocks }
    }

    /// One whole block.
    pub(super) fn block(&self, number: u64) -> Result<Vec<u8>> {
        let mut bytes = vec![0; usize::try_from(self.size.get()).unwrap_or(0)];
        self.read(number, 0, &mut bytes)?;
        Ok(bytes)
    }

    /// Bytes from byte `within` of block `number` on, through as many blocks as they take.
    pub(super) fn read(&self, number: u64, within: u64, buf: &mut [u8]) -> Result<()> {
        let range = self.place(number, within, u64::try_from(buf.len()).unwrap_or(u64::MAX))?;
        let Some(replayed) = &self.replayed else { return self.source.read_at(range.start(), buf) };
        replayed.with(|reader| {
            let (mut at, mut rest) = (range.start(), buf);
            while !rest.is_empty() {
                let block = reader.read_block(at / self.size).map_err(failed)?;
                let skip = usize::try_from(at % self.size).unwrap_or(usize::MAX);
                let bytes = block.get(skip..).unwrap_or(&[]);
                let taken = bytes.len().min(rest.len());
                let (now, later) = rest.split_at_mut(taken);
                if now.is_empty() {
                    return Err(Error::new(ErrorKind::Bug, "a block without bytes"));
                }
                now.copy_from_slice(bytes.get(..taken).unwrap_or(&[]));
                (at, rest) = (at.saturating_add(u64::try_from(taken).unwrap_or(u64::MAX)), later);
            }
            Ok(())
        })
    }

    /// How much from there on is known alike without reading, at most `len` bytes, and as what.
    pub(super) fn known(&self, number: u64, within: u64, len: u64) -> Result<(u64, ExtentKind)> {
        let range = self.place(number, within, len)?;
        if self.replayed.is_some() {
            return Ok((len, ExtentKind::Data));
        }
        let Extent { range: known, kind } = self.source.extent_at(range.start())?;
        Ok((known.intersect(range).len(), kind))
    }

    /// Fails for what lies outside the filesystem, or in a part of it that the disk does not have.
    fn place(&self, number: u64, within: u64, len: u64) -> Result<ByteRange> {
        let size = self.count.saturating_mul(self.size.get()).min(self.source.size());
        let start = number.checked_mul(self.size.get()).and_then(|start| start.checked_add(within));
        let range = start.and_then(|start| ByteRange::new(start, len)).filter(|range| range.end() <= size);
        range.ok_or_else(|| Error::new(ErrorKind::Corrupt, format!("block {number} is beyond the end")))
    }
}
