//! Sources end to end: the stored files of a backup read as one disk.

use crate::{ByteRange, Extent, ReadAt, Result, Source};

/// Several sources, one behind the other, as one.
pub struct Concat {
    /// With the offset of each one's first byte; none is empty.
    parts: Vec<(u64, Source)>,
    size: u64,
}

impl Concat {
    /// Fails with [`crate::ErrorKind::OutOfRange`] if they do not fit in a `u64` together.
    pub fn new(sources: impl IntoIterator<Item = Source>) -> Result<Self> {
        let (mut parts, mut size) = (vec![], 0);
        for source in sources.into_iter().filter(|source| source.size() > 0) {
            let end = ByteRange::within(u64::MAX, size, source.size())?.end();
            parts.push((size, source));
            size = end;
        }
        Ok(Self { parts, size })
    }

    /// The source that holds the byte at `offset`, and where it begins.
    fn part(&self, offset: u64) -> Result<(u64, &dyn ReadAt)> {
        ByteRange::within(self.size, offset, 1)?;
        let (start, part) = &self.parts[self.parts.partition_point(|(start, _)| *start <= offset) - 1];
        Ok((*start, &**part))
    }
}

impl ReadAt for Concat {
    fn size(&self) -> u64 {
        self.size
    }

    fn read_at(&self, mut offset: u64, mut buf: &mut [u8]) -> Result<()> {
        while !buf.is_empty() {
            let (start, part) = self.part(offset)?;
            let here = ByteRange::span(offset, start + part.size());
            let here = here.intersect(ByteRange::span(offset, offset.saturating_add(buf.len() as u64)));
            let (now, later) = buf.split_at_mut(here.index(offset).end);
            part.read_at(offset - start, now).map_err(|error| error.moved(0, start))?;
            (offset, buf) = (here.end(), later);
        }
        Ok(())
    }

    fn extent_at(&self, offset: u64) -> Result<Extent> {
        let (start, part) = self.part(offset)?;
        let extent = part.extent_at(offset - start).map_err(|error| error.moved(0, start))?;
        Ok(Extent { range: extent.range.moved(0, start), ..extent })
    }

    fn concurrency(&self) -> usize {
        self.parts.iter().map(|(_, part)| part.concurrency()).min().unwrap_or(1)
    }

    fn granule(&self) -> u64 {
        self.parts.iter().map(|(_, part)| part.granule()).max().unwrap_or(4096)
    }
}
