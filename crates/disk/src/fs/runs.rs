//! The content of a file where it lies on the source in pieces, or where it is known already.

use super::bytes::{corrupt, narrow, wide};
use block::{ByteRange, Extent, ExtentKind, ReadAt, Result, Source};

/// Fills `buf` with what a file of `size` bytes has from `offset` on. `piece` says what holds a byte, and the bytes
/// of the file up to where it does; `fill` reads that part of it.
pub(super) fn read_pieces<P>(
    size: u64,
    offset: u64,
    buf: &mut [u8],
    piece: impl Fn(u64) -> Result<(ByteRange, P)>,
    fill: impl Fn(ByteRange, P, &mut [u8]) -> Result<()>,
) -> Result<()> {
    let (mut left, mut rest) = (ByteRange::within(size, offset, wide(buf.len()))?, buf);
    while !left.is_empty() {
        let (whole, place) = piece(left.start())?;
        let range = whole.intersect(left);
        let parts = rest.split_at_mut_checked(narrow(range.len()));
        // Else it would not go on.
        let Some((now, later)) = parts.filter(|_| !range.is_empty() && range.start() == left.start()) else {
            return Err(corrupt("a file with a gap"));
        };
        fill(range, place, now)?;
        (left, rest) = (ByteRange::span(range.end(), left.end()), later);
    }
    Ok(())
}

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

    /// The piece that holds the byte at `offset`, from there on, and where that byte lies.
    fn piece(&self, offset: u64) -> Result<(ByteRange, Option<u64>)> {
        let index = self.runs.partition_point(|(start, _)| *start <= offset).checked_sub(1);
        let Some((start, run)) = index.and_then(|index| self.runs.get(index)) else {
            return Err(corrupt("a file with a gap"));
        };
        let range = ByteRange::span(offset, start.saturating_add(run.len));
        Ok((range, run.at.map(|at| at.saturating_add(offset.saturating_sub(*start)))))
    }
}

impl ReadAt for Runs {
    fn size(&self) -> u64 {
        self.size
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<()> {
        let fill = |_, at: Option<u64>, now: &mut [u8]| match at {
            Some(at) => self.source.read_at(at, now),
            None => {
                now.fill(0);
                Ok(())
            }
        };
        read_pieces(self.size, offset, buf, |at| self.piece(at), fill)
    }

    fn extent_at(&self, offset: u64) -> Result<Extent> {
        ByteRange::within(self.size, offset, 1)?;
        let (range, at) = self.piece(offset)?;
        Ok(match at.map(|at| (at, self.source.extent_at(at))) {
            None => Extent { range, kind: ExtentKind::Zero },
            Some((at, Ok(known))) => {
                Extent { range: known.range.moved(at, offset).intersect(range), kind: known.kind }
            }
            // It lies outside: reading says so.
            Some((_, Err(_))) => Extent { range, kind: ExtentKind::Data },
        })
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
    fn pieces_that_lead_nowhere_end() {
        let read = |range: ByteRange| {
            let piece = |_| Ok((range, ()));
            read_pieces(100, 10, &mut [0; 20], piece, |_, (), _| Ok(()))
        };
        assert!(read(ByteRange::span(0, 50)).is_ok());
        for range in [ByteRange::span(10, 10), ByteRange::span(0, 10), ByteRange::span(11, 50)] {
            assert!(read(range).is_err(), "{range:?}");
        }
        // It does not reach the end of what is wanted, and comes again.
        assert!(read(ByteRange::span(0, 20)).is_err());
    }

    #[test]
    fn what_lies_outside_is_an_error() {
        assert!(runs(25, &[(24, Some(0))]).is_err());
        let file = runs(20, &[(20, Some(90))]).unwrap();
        assert!(file.extent_at(15).is_ok() && file.read_at(0, &mut [0; 20]).is_err());
        file.read_at(0, &mut [0; 10]).unwrap();
    }
}
