//! The content of a file where it lies on the source in pieces, or where it is known already.

use super::bytes::{corrupt, narrow, wide};
use block::{ByteRange, Extent, ExtentKind, ReadAt, Result, Source};

/// Pieces of one file: 24 bytes each in memory.
const MOST: usize = 1 << 21;

/// A piece: bytes of it, and where they lie; `None` is a hole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Run {
    pub(super) len: u64,
    pub(super) at: Option<u64>,
}

/// Pieces of a source end to end.
pub(super) struct Runs {
    source: Source,
    size: u64,
    /// Where each begins in the file, and the piece.
    runs: Vec<(u64, Run)>,
}

impl Runs {
    /// A file of `size` bytes. Fails if the pieces are fewer.
    pub(super) fn new(source: Source, size: u64, pieces: impl IntoIterator<Item = Run>) -> Result<Self> {
        let (mut runs, mut end): (Vec<(u64, Run)>, _) = (vec![], 0_u64);
        for piece in pieces {
            if end >= size {
                break;
            }
            let len = piece.len.min(size.saturating_sub(end));
            let follows = |last: Run| match (last.at, piece.at) {
                (Some(last_at), Some(at)) => last_at.checked_add(last.len) == Some(at),
                (last, at) => last.is_none() && at.is_none(),
            };
            let pieces = runs.len();
            match runs.last_mut() {
                Some((_, last)) if follows(*last) => last.len = last.len.saturating_add(len),
                _ if pieces >= MOST => return Err(corrupt("a file in more than 2,097,152 pieces")),
                _ if len == 0 => {}
                _ => runs.push((end, Run { len, at: piece.at })),
            }
            end = end.saturating_add(len);
        }
        if end < size {
            return Err(corrupt(format!("of a file of {size} bytes only {end} have a place")));
        }
        Ok(Self { source, size, runs })
    }

    /// The piece that holds the byte at `offset`: where that byte lies, and bytes of the piece from there on.
    fn at(&self, offset: u64) -> Option<(Option<u64>, u64)> {
        let index = self.runs.partition_point(|(start, _)| *start <= offset).checked_sub(1)?;
        let (start, run) = self.runs.get(index)?;
        let inside = offset.checked_sub(*start)?;
        Some((run.at.map(|at| at.saturating_add(inside)), run.len.checked_sub(inside)?))
    }
}

impl ReadAt for Runs {
    fn size(&self) -> u64 {
        self.size
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<()> {
        ByteRange::within(self.size, offset, wide(buf.len()))?;
        let (mut offset, mut rest) = (offset, buf);
        while !rest.is_empty() {
            let Some((at, left @ 1..)) = self.at(offset) else { return Err(corrupt("a file with a gap")) };
            let (now, later) = rest.split_at_mut(rest.len().min(narrow(left)));
            match at {
                Some(at) => self.source.read_at(at, now)?,
                None => now.fill(0),
            }
            offset = offset.saturating_add(wide(now.len()));
            rest = later;
        }
        Ok(())
    }

    fn extent_at(&self, offset: u64) -> Result<Extent> {
        let all = ByteRange::within(self.size, offset, self.size.saturating_sub(offset).max(1))?;
        let Some((at, left @ 1..)) = self.at(offset) else { return Err(corrupt("a file with a gap")) };
        let (kind, len) = match at.map(|at| (at, self.source.extent_at(at))) {
            None => (ExtentKind::Zero, left),
            Some((at, Ok(known))) => (known.kind, left.min(known.range.end().saturating_sub(at).max(1))),
            // It lies outside: reading says so.
            Some((_, Err(_))) => (ExtentKind::Data, left),
        };
        let end = offset.saturating_add(len).min(all.end());
        Ok(Extent { range: ByteRange::span(offset, end), kind })
    }

    fn concurrency(&self) -> usize {
        self.source.concurrency()
    }

    fn granule(&self) -> u64 {
        self.source.granule()
    }
}

/// Content that lies in a structure which was read already.
pub(super) struct Inline(pub(super) Vec<u8>);

impl ReadAt for Inline {
    fn size(&self) -> u64 {
        wide(self.0.len())
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<()> {
        let range = ByteRange::within(self.size(), offset, wide(buf.len()))?;
        buf.copy_from_slice(self.0.get(range.index(0)).unwrap_or(&[]));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use testkit::Memory;

    fn runs(size: u64, pieces: &[(u64, Option<u64>)]) -> Result<Runs> {
        let disk = Arc::new(Memory::new((0..=99).collect()));
        Runs::new(disk, size, pieces.iter().map(|(len, at)| Run { len: *len, at: *at }))
    }

    #[test]
    fn pieces_end_to_end() {
        let file =
            runs(25, &[(5, Some(10)), (5, Some(15)), (0, Some(0)), (10, None), (90, Some(0))]).unwrap();
        assert_eq!(file.runs.len(), 3);
        let mut buf = [1; 25];
        file.read_at(0, &mut buf).unwrap();
        assert_eq!(buf[..12], [10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 0, 0]);
        assert_eq!(buf[19..], [0, 0, 1, 2, 3, 4]);
        let hole = file.extent_at(12).unwrap();
        assert_eq!((hole.kind, hole.range.end()), (ExtentKind::Zero, 20));
        assert_eq!(file.extent_at(22).unwrap().range, ByteRange::span(22, 25));
        assert!(file.extent_at(25).is_err() && file.read_at(24, &mut buf[..2]).is_err());
    }

    #[test]
    fn what_lies_outside_is_an_error() {
        assert!(runs(25, &[(24, Some(0))]).is_err());
        let file = runs(20, &[(20, Some(90))]).unwrap();
        assert!(file.extent_at(15).is_ok() && file.read_at(0, &mut [0; 20]).is_err());
        file.read_at(0, &mut [0; 10]).unwrap();
    }
}
