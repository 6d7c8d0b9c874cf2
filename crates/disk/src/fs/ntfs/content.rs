//! Values as sources: those inside a record, and those in clusters.

use super::corrupt;
use super::runs::Runs;
use crate::fs::runs::read_pieces;
use block::{ByteRange, Extent, ExtentKind, ReadAt, Result, Source};

/// A value that stood in its record.
pub(super) struct Resident(pub(super) Vec<u8>);

impl ReadAt for Resident {
    fn size(&self) -> u64 {
        u64::try_from(self.0.len()).unwrap_or(u64::MAX)
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<()> {
        let range = ByteRange::within(self.size(), offset, u64::try_from(buf.len()).unwrap_or(u64::MAX))?;
        if let Some(bytes) = self.0.get(range.index(0)) {
            buf.copy_from_slice(bytes);
        }
        Ok(())
    }
}

/// A value in clusters, as they are.
pub(super) struct Plain {
    pub(super) disk: Source,
    /// Bytes of a cluster.
    pub(super) cluster: u64,
    pub(super) runs: Runs,
    /// Bytes of the value.
    pub(super) size: u64,
    /// Bytes that were ever written; the rest is zero.
    pub(super) initialized: u64,
}

impl Plain {
    /// The bytes from `offset` on that lie together, and where: the byte of the disk, or `None` for zeroes.
    fn place(&self, offset: u64) -> Result<(ByteRange, Option<u64>)> {
        if offset >= self.initialized {
            return Ok((ByteRange::span(offset, self.size), None));
        }
        let vcn = offset.checked_div(self.cluster).unwrap_or(u64::MAX);
        let Some(run) = self.runs.at(vcn) else {
            return Err(corrupt("the pieces of a file end before it does"));
        };
        let start = run.first.saturating_mul(self.cluster);
        let end = start.saturating_add(run.count.saturating_mul(self.cluster)).min(self.initialized);
        let inside = offset.saturating_sub(start);
        let at = run.lcn.map(|lcn| lcn.saturating_mul(self.cluster).saturating_add(inside));
        let range = ByteRange::span(offset, end);
        let behind = |at: u64| at.saturating_add(range.len()) > self.disk.size();
        if at.is_some_and(behind) {
            return Err(corrupt("a file lies behind the end of its volume").with_range(range));
        }
        Ok((range, at))
    }
}

impl ReadAt for Plain {
    fn size(&self) -> u64 {
        self.size
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<()> {
        read_pieces(
            self.size,
            offset,
            buf,
            |at| self.place(at),
            |range, at, now| match at {
                Some(at) => self.disk.read_at(at, now).map_err(|error| error.moved(at, range.start())),
                None => {
                    now.fill(0);
                    Ok(())
                }
            },
        )
    }

    fn extent_at(&self, offset: u64) -> Result<Extent> {
        ByteRange::within(self.size, offset, 1)?;
        let (range, at) = self.place(offset)?;
        let Some(at) = at else { return Ok(Extent { range, kind: ExtentKind::Zero }) };
        let below = self.disk.extent_at(at)?;
        Ok(Extent { range: below.range.moved(at, offset).intersect(range), kind: below.kind })
    }

    fn concurrency(&self) -> usize {
        self.disk.concurrency()
    }

    fn granule(&self) -> u64 {
        self.disk.granule()
    }
}

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects, clippy::indexing_slicing)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use testkit::Memory;

    fn plain() -> Plain {
        let bytes = testkit::pattern(64 << 10);
        let mut runs = Runs::default();
        // Clusters 5 and 6, a hole of 2, cluster 3.
        runs.append(&[0x11, 2, 5, 0x01, 2, 0x11, 1, 0xFE, 0], 0, 5, 128).unwrap();
        let bad = vec![ByteRange::span(6 * 512, 6 * 512 + 512)];
        let disk = Arc::new(Memory::new(bytes).with(|disk| disk.bad = bad));
        Plain { disk, cluster: 512, runs, size: 3000, initialized: 2200 }
    }

    #[test]
    fn pieces_holes_and_what_was_never_written() {
        let (plain, bytes) = (plain(), testkit::pattern(64 << 10));
        let mut buf = vec![1; 3000 - 1024];
        plain.read_at(1024, &mut buf).unwrap();
        assert_eq!(buf[..1024], [0; 1024]);
        assert_eq!(buf[1024..1176], bytes[3 * 512..3 * 512 + 152]);
        assert!(buf[1176..].iter().all(|byte| *byte == 0));
        let extents: Vec<_> = block::extents(&plain, ByteRange::span(0, 3000)).map(Result::unwrap).collect();
        let zero: Vec<_> = extents.iter().filter(|e| e.kind == ExtentKind::Zero).map(|e| e.range).collect();
        assert_eq!(zero, [ByteRange::span(1024, 2048), ByteRange::span(2200, 3000)]);
    }

    #[test]
    fn bad_bytes_are_told_as_those_of_the_file() {
        let error = plain().read_at(0, &mut [0; 2048]).unwrap_err();
        assert_eq!(
            (error.kind(), error.range()),
            (block::ErrorKind::Media, Some(ByteRange::span(512, 1024)))
        );
        assert_eq!(plain().read_at(2999, &mut [0; 2]).unwrap_err().kind(), block::ErrorKind::OutOfRange);
    }
}
