//! The volume: its geometry and its master file table.

use super::attribute::{Attribute, Sizes};
use super::content::Plain;
use super::corrupt;
use super::file::File;
use super::geometry::Geometry;
use super::record::{Record, Reference};
use super::runs::Runs;
use block::{Error, ErrorKind, ReadAt, Result, Source};

/// Numbers of records that never change.
pub(super) const MFT: u64 = 0;
pub(super) const ROOT: u64 = 5;
pub(super) const UPCASE: u64 = 10;
/// The first one that is a file of a user; those before belong to the filesystem.
pub(super) const FIRST_USER: u64 = 16;

/// Where its files are found.
pub(super) struct Volume {
    disk: Source,
    pub(super) geometry: Geometry,
    mft: Plain,
    /// The table's own record is damaged, and its copy was taken.
    pub(super) mirrored: bool,
}

impl Volume {
    pub(super) fn open(disk: Source) -> Result<Self> {
        let mut boot = [0; 512];
        disk.read_at(0, &mut boot)?;
        let geometry = Geometry::parse(&boot).ok_or_else(|| corrupt("its boot sector makes no sense"))?;
        let read = |at: u64| {
            let mut bytes = vec![0; usize::try_from(geometry.record).unwrap_or(0)];
            disk.read_at(at, &mut bytes)?;
            let record = Record::parse(bytes);
            record.ok_or_else(|| corrupt("the first record of its master file table is damaged"))
        };
        let (record, mirrored) = match read(geometry.mft) {
            Ok(record) => (record, false),
            Err(error) => (read(geometry.mirror).map_err(|_| error)?, true),
        };
        let mft = Plain {
            disk: Source::clone(&disk),
            cluster: geometry.cluster,
            runs: Runs::default(),
            size: 0,
            initialized: 0,
        };
        let mut volume = Self { disk, geometry, mft, mirrored };
        // A table in many pieces lists records that only its own first pieces lead to: one after the other.
        loop {
            let file = File::new(&volume, MFT, record.clone())?;
            let (table, whole) = file.plain_so_far(Attribute::DATA, &[]);
            let table = table.ok_or_else(|| corrupt("its master file table has no place"))?;
            let further = table.runs.end() > volume.mft.runs.end();
            volume.mft = table;
            match whole {
                Ok(()) => return Ok(volume),
                Err(error) if !further => return Err(error),
                Err(_) => {}
            }
        }
    }

    /// Bytes in clusters.
    pub(super) fn plain(&self, runs: Runs, sizes: Sizes) -> Plain {
        let cluster = self.geometry.cluster;
        let disk = Source::clone(&self.disk);
        Plain { disk, cluster, runs, size: sizes.data, initialized: sizes.initialized }
    }

    /// A record by its number. Fails with [`ErrorKind::NotFound`] where there are not so many.
    pub(super) fn record(&self, number: u64) -> Result<Record> {
        let record = self.geometry.record;
        let at = number
            .checked_mul(record)
            .filter(|at| at.checked_add(record).is_some_and(|end| end <= self.mft.size));
        let at = at.ok_or_else(|| Error::new(ErrorKind::NotFound, format!("there is no file {number}")))?;
        let mut bytes = vec![0; usize::try_from(record).unwrap_or(0)];
        self.mft.read_at(at, &mut bytes)?;
        Record::parse(bytes).ok_or_else(|| corrupt(format!("the record of file {number} is damaged")))
    }

    /// A file by its reference; the sequence number 0 is any.
    pub(super) fn file(&self, reference: Reference) -> Result<File<'_>> {
        let record = self.record(reference.number)?;
        let same = reference.sequence == 0 || record.sequence() == reference.sequence;
        if !record.in_use() || !same {
            let words = format!("file {} is not there any more", reference.number);
            return Err(Error::new(ErrorKind::NotFound, words));
        }
        if record.base().number != 0 {
            return Err(corrupt(format!("file {} is a part of another", reference.number)));
        }
        File::new(self, reference.number, record)
    }
}
