//! Absent bytes as zeroes, for those few consumers that say so.

use crate::{ErrorKind, Extent, ExtentKind, ReadAt, Result, Source};

/// Absent reads as zeroes: for restore, NBD and FUSE's raw images only. Bad stays an error.
pub struct FillAbsent(
    /// What is read.
    pub Source,
);

impl ReadAt for FillAbsent {
    fn size(&self) -> u64 {
        self.0.size()
    }

    fn read_at(&self, mut offset: u64, mut buf: &mut [u8]) -> Result<()> {
        // Mostly nothing is absent, and then one look-up is enough.
        match self.0.read_at(offset, buf) {
            Err(error) if error.kind() == ErrorKind::Absent => {}
            done => return done,
        }
        while !buf.is_empty() {
            let known = self.0.extent_at(offset)?;
            let left = buf.len();
            let (now, later) = buf.split_at_mut(known.range.index(offset).end.min(left));
            match known.kind {
                ExtentKind::Absent => now.fill(0),
                _ => self.0.read_at(offset, now)?,
            }
            offset += now.len() as u64;
            buf = later;
        }
        Ok(())
    }

    fn extent_at(&self, offset: u64) -> Result<Extent> {
        let extent = self.0.extent_at(offset)?;
        let kind = if extent.kind == ExtentKind::Absent { ExtentKind::Zero } else { extent.kind };
        Ok(Extent { kind, ..extent })
    }

    fn concurrency(&self) -> usize {
        self.0.concurrency()
    }

    fn granule(&self) -> u64 {
        self.0.granule()
    }
}
