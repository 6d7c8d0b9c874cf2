//! A source that does not have what the victims' bytes were in, as a backup without free space has not.

use super::made::Made;
use block::{ByteRange, Error, ErrorKind, Extent, ExtentKind, ReadAt, Result, Source};
use std::collections::HashSet;

/// With these ranges absent.
pub(crate) struct Absent {
    inner: Source,
    /// Sorted.
    ranges: Vec<ByteRange>,
}

/// Every sector that holds one of a victim, found by its content.
pub(crate) fn without(inner: &Source, made: &Made) -> Absent {
    let wanted: HashSet<&[u8]> =
        made.bytes.iter().flat_map(|bytes| bytes.as_chunks::<512>().0).map(|sector| &sector[..]).collect();
    let mut ranges = vec![];
    let mut piece = vec![0; 1 << 20];
    for at in (0..inner.size()).step_by(1 << 20) {
        let len = piece.len().min((inner.size() - at) as usize);
        inner.read_at(at, &mut piece[..len]).unwrap();
        for (start, sector) in (at..).step_by(512).zip(piece[..len].chunks(512)) {
            if wanted.contains(sector) {
                ranges.push(ByteRange::span(start, start + 512));
            }
        }
    }
    Absent { inner: Source::clone(inner), ranges }
}

impl ReadAt for Absent {
    fn size(&self) -> u64 {
        self.inner.size()
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<()> {
        let want = ByteRange::within(self.size(), offset, buf.len() as u64)?;
        let next = self.ranges.partition_point(|range| range.end() <= offset);
        match self.ranges.get(next).map(|range| range.intersect(want)).filter(|lost| !lost.is_empty()) {
            Some(lost) => Err(Error::at(ErrorKind::Absent, lost)),
            None => self.inner.read_at(offset, buf),
        }
    }

    fn extent_at(&self, offset: u64) -> Result<Extent> {
        ByteRange::within(self.size(), offset, 1)?;
        let next = self.ranges.get(self.ranges.partition_point(|range| range.end() <= offset));
        Ok(match next {
            Some(lost) if lost.contains(offset) => {
                Extent { range: ByteRange::span(offset, lost.end()), kind: ExtentKind::Absent }
            }
            _ => {
                let end = next.map_or(self.size(), |lost| lost.start());
                Extent { range: ByteRange::span(offset, end), kind: ExtentKind::Data }
            }
        })
    }
}
