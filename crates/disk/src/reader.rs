//! Sectors of a disk where a table might be.

use crate::finding::Finding;
use block::{ByteRange, ErrorKind, Lba, ReadAt, Result, SectorSize};

/// No table part is larger: a GPT array of 32768 usual entries.
pub(crate) const LARGEST: u64 = 4 << 20;

/// Bytes that some structures count in, and Linux reads tables in, whatever the disk's sectors are.
pub(crate) const UNIT: u64 = 512;

/// A disk being looked at, and what was noticed so far.
pub(crate) struct Reader<'a> {
    source: &'a dyn ReadAt,
    pub(crate) sector: SectorSize,
    pub(crate) findings: Vec<Finding>,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(source: &'a dyn ReadAt, sector: SectorSize) -> Self {
        Self { source, sector, findings: vec![] }
    }

    pub(crate) fn source(&self) -> &'a dyn ReadAt {
        self.source
    }

    /// Whole sectors there are.
    pub(crate) fn sectors(&self) -> u64 {
        self.sector.lba(self.source.size()).0
    }

    /// The last whole sector.
    pub(crate) fn last(&self) -> Lba {
        Lba(self.sectors().saturating_sub(1))
    }

    /// `count` sectors from `first`, which hold `what`. `None` if they lie beyond the end or are more than
    /// [`LARGEST`] bytes, or, with a finding, if the medium cannot deliver them or they were left out of a
    /// backup (free space of a filesystem without a table); other errors fail.
    pub(crate) fn read(&mut self, first: Lba, count: u64, what: &str) -> Result<Option<Vec<u8>>> {
        let Some(range) = self.inside(first, count) else { return Ok(None) };
        let Ok(len) = usize::try_from(range.len()) else { return Ok(None) };
        let mut bytes = vec![0; len];
        match self.source.read_at(range.start(), &mut bytes) {
            Ok(()) => Ok(Some(bytes)),
            Err(error) if error.kind() == ErrorKind::Media => {
                self.damage(format!("{what} at LBA {first} cannot be read"));
                Ok(None)
            }
            Err(error) if error.kind() == ErrorKind::Absent => {
                self.note(format!("{what} would be at LBA {first}, which is not in the backup"));
                Ok(None)
            }
            Err(error) => Err(error.context(format!("reading {what}"))),
        }
    }

    /// The [`UNIT`] bytes at `at`, a multiple of it; `None` as [`Self::read`].
    pub(crate) fn read_unit(&mut self, at: u64, what: &str) -> Result<Option<Vec<u8>>> {
        let lba = self.sector.lba(at);
        let Some(sector) = self.read(lba, 1, what)? else { return Ok(None) };
        let places = ByteRange::new(at, UNIT).zip(self.sector.range(lba, 1));
        Ok(places.and_then(|(unit, read)| sector.get(unit.index(read.start())).map(<[u8]>::to_vec)))
    }

    fn inside(&self, first: Lba, count: u64) -> Option<ByteRange> {
        let range = self.sector.range(first, count)?;
        (range.end() <= self.source.size() && range.len() <= LARGEST).then_some(range)
    }

    pub(crate) fn damage(&mut self, text: impl Into<String>) {
        self.findings.push(Finding::damage(text));
    }

    pub(crate) fn note(&mut self, text: impl Into<String>) {
        self.findings.push(Finding::note(text));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use block::Error;

    /// A backup that holds its first sector only.
    struct LeftOut;

    impl ReadAt for LeftOut {
        fn size(&self) -> u64 {
            1 << 20
        }

        fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<()> {
            let want = ByteRange::within(self.size(), offset, u64::try_from(buf.len()).unwrap_or(u64::MAX))?;
            let missing = ByteRange::span(offset.max(512), want.end());
            buf.fill(0);
            if missing.is_empty() { Ok(()) } else { Err(Error::at(ErrorKind::Absent, missing)) }
        }
    }

    #[test]
    fn what_a_backup_left_out_is_a_finding() {
        let layout = crate::layout::read(&LeftOut, Some(SectorSize::B512)).unwrap();
        assert_eq!(layout.table, crate::Table::None);
        let mut reader = Reader::new(&LeftOut, SectorSize::B512);
        assert!(reader.read(Lba(0), 1, "the MBR").unwrap().is_some());
        assert_eq!(reader.read(Lba(1), 1, "a GPT header").unwrap(), None);
        assert_eq!(reader.findings.len(), 1);
    }
}
