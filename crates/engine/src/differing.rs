//! What lies where a disk differs from its backup: parts of the partition table, and in each filesystem blocks in
//! use, free space, the journal.
//!
//! Each difference is sorted as it is found, nearly in disk order, so that only the maps of one volume are in memory, and
//! of very many differences their number is kept. The backup is the reference: table, filesystems and maps are
//! those that it holds. A sector of which some bytes are in use is in use.

use crate::skip_free::used_map;
use crate::survey::{Survey, Surveyed, survey};
use block::{ByteRange, Result, Role, SectorSize, Slice, Source};
use disk::TablePart;
use disk::probe::Usage;
use disk::used::Exactness;
use std::collections::BTreeMap;
use std::sync::Arc;

/// What lies at a place of a disk, by its backup.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// Of the partition table.
    Table(TablePart),
    /// Between the table and the first partition: boot loaders lie there.
    BootGap,
    /// In no partition.
    Unpartitioned,
    /// The superblock that drivers write when they mount a filesystem.
    Superblock,
    /// Journal or log of a filesystem.
    Journal,
    /// In use by a filesystem: its structures or files.
    Used,
    /// Free space of a filesystem.
    Free,
    /// Swap space.
    Swap,
    /// No map says what.
    Unclassified,
}

/// How much differs of one class in one partition, or outside of all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Differing {
    /// Number of the partition; `None`: in none, or the disk is not divided.
    pub partition: Option<u32>,
    /// What the partition, or the disk that is not divided, holds: "ext4", "swap".
    pub title: Option<String>,
    /// What lies there.
    pub class: Class,
    /// Bytes of the sectors that differ.
    pub bytes: u64,
    /// Runs of such sectors.
    pub places: u64,
    /// The first of these sectors.
    pub first_lba: u64,
    /// Of what is not classified: why. Of blocks in use: why some of them may be free.
    pub why: Option<String>,
}

/// Sorts the differences of a disk.
pub(crate) struct Sorter<'a> {
    backup: &'a Source,
    sector: SectorSize,
    live: bool,
    survey: Option<Survey>,
    /// The region that the last difference was in, by its number.
    area: Option<(usize, Area)>,
    found: BTreeMap<(Option<u32>, Class), Differing>,
}

/// What is known of a region, in bytes of the disk.
enum Area {
    /// Outside of all partitions: the parts of the table there, and what the rest is.
    Outside(Vec<(TablePart, ByteRange)>, Class),
    Volume(Volume),
}

struct Volume {
    partition: Option<u32>,
    title: Option<String>,
    superblock: ByteRange,
    /// Whole sectors, ascending, apart from each other, as those of `free`.
    journal: Vec<ByteRange>,
    free: Vec<ByteRange>,
    /// What the others are, and [`Differing::why`].
    rest: (Class, Option<String>),
}

impl<'a> Sorter<'a> {
    /// For differences from `backup`, a disk with sectors of this size. `live`: it was mounted read-write while
    /// it was saved.
    pub(crate) fn new(backup: &'a Source, sector: SectorSize, live: bool) -> Self {
        Self { backup, sector, live, survey: None, area: None, found: BTreeMap::new() }
    }

    /// Sorts a run of whole sectors in which every sector differs. Maps are read again where runs go back
    /// to a region that others followed: no more than a few times if they come nearly in disk order.
    pub(crate) fn add(&mut self, differs: ByteRange) -> Result<()> {
        // A disk that is the same needs no survey.
        let survey = match self.survey.take() {
            Some(survey) => survey,
            None => survey(self.backup, Some(self.sector), false)?,
        };
        let first = survey.regions.partition_point(|found| found.region.range.end() <= differs.start());
        for (number, found) in survey.regions.iter().enumerate().skip(first) {
            let here = found.region.range.intersect(differs);
            if here.is_empty() {
                break;
            }
            let area = match self.area.take() {
                Some((known, area)) if known == number => area,
                _ => self.area_of(&survey, found)?,
            };
            self.sort(&area, here);
            self.area = Some((number, area));
        }
        self.survey = Some(survey);
        Ok(())
    }

    /// What was found, by its first sector.
    pub(crate) fn finish(self) -> Vec<Differing> {
        let mut found: Vec<_> = self.found.into_values().collect();
        found.sort_by_key(|differing| (differing.first_lba, differing.class));
        found
    }

    fn area_of(&self, survey: &Survey, found: &Surveyed) -> Result<Area> {
        let undivided = matches!(survey.layout.table, disk::Table::None);
        let partition = match found.region.role {
            Role::Partition(number) => Some(number),
            Role::Whole if undivided => None,
            role => {
                let rest = match role {
                    Role::Preamble => Class::BootGap,
                    Role::Whole => Class::Unclassified,
                    _ => Class::Unpartitioned,
                };
                let mut parts = survey.layout.table_parts();
                parts.retain(|(_, range)| range.overlaps(found.region.range));
                return Ok(Area::Outside(parts, rest));
            }
        };
        self.volume(survey, found, partition).map(Area::Volume)
    }

    fn volume(&self, survey: &Survey, found: &Surveyed, partition: Option<u32>) -> Result<Volume> {
        let range = found.region.range;
        let kind = || {
            let mut all = survey.layout.partitions.iter();
            all.find(|known| Some(known.number) == partition)?.type_name().map(str::to_owned)
        };
        let title = found.content.as_ref().map(|content| content.title.clone()).or_else(kind);
        let nothing = ByteRange::span(range.start(), range.start());
        let plain = |class, why| Volume {
            partition,
            title,
            superblock: nothing,
            journal: vec![],
            free: vec![],
            rest: (class, why),
        };
        let content = match &found.content {
            Some(content) if content.usage == Usage::Swap => return Ok(plain(Class::Swap, None)),
            content => content.as_ref(),
        };
        let why = match (self.live, &survey.member) {
            (true, _) => {
                Some("it was mounted read-write while it was saved, so that a map of it may be torn")
            }
            (_, Some(_)) => Some("the disk itself belongs to an array"),
            _ => None,
        };
        if let Some(why) = why {
            return Ok(plain(Class::Unclassified, Some(why.to_owned())));
        }
        let map = used_map(self.backup, found)?;
        let rest = match map.exactness() {
            Exactness::Exact => (Class::Used, None),
            Exactness::Conservative(why) => (Class::Used, Some(why.clone())),
            Exactness::Unknown(why) => (Class::Unclassified, Some(why.clone())),
        };
        let Some(content) = content else { return Ok(plain(rest.0, rest.1)) };
        let on_disk = |run: ByteRange| run.moved(0, range.start());
        let whole = |run: ByteRange| Some(self.whole_sectors(on_disk(run))).filter(|run| !run.is_empty());
        let journal = disk::used::journal(&Slice::new(Arc::clone(self.backup), range)?, content)?;
        let superblock = disk::used::superblock(content).map_or(nothing, on_disk);
        Ok(Volume {
            superblock: self.all_sectors(superblock).intersect(range),
            journal: journal.into_iter().filter_map(whole).collect(),
            free: map.free(1).filter_map(whole).collect(),
            ..plain(rest.0, rest.1)
        })
    }

    /// The sectors that lie in it as a whole.
    fn whole_sectors(&self, run: ByteRange) -> ByteRange {
        let unit = self.sector.bytes();
        ByteRange::span(run.start().div_ceil(unit).saturating_mul(unit), run.end() - run.end() % unit)
    }

    /// The sectors of which it has a byte.
    fn all_sectors(&self, run: ByteRange) -> ByteRange {
        let unit = self.sector.bytes();
        match run.is_empty() {
            true => run,
            false => ByteRange::span(
                run.start() - run.start() % unit,
                run.end().div_ceil(unit).saturating_mul(unit),
            ),
        }
    }

    /// Adds `here`, which lies in `area`, to what was found.
    fn sort(&mut self, area: &Area, here: ByteRange) {
        let mut left = here;
        let mut open: Option<(Class, ByteRange)> = None;
        while !left.is_empty() {
            let (class, end) = area.class_at(left.start());
            let piece = ByteRange::span(left.start(), end).intersect(left);
            left = ByteRange::span(piece.end(), left.end());
            open = match open {
                Some((same, run)) if same == class => Some((same, ByteRange::span(run.start(), piece.end()))),
                other => {
                    other.into_iter().for_each(|(class, run)| self.count(area, class, run));
                    Some((class, piece))
                }
            };
        }
        open.into_iter().for_each(|(class, run)| self.count(area, class, run));
    }

    fn count(&mut self, area: &Area, class: Class, run: ByteRange) {
        let first_lba = self.sector.lba(run.start()).0;
        let (partition, title, why) = match area {
            Area::Outside(..) => (None, None, None),
            Area::Volume(volume) => {
                let why = Some(&volume.rest).filter(|rest| rest.0 == class).and_then(|rest| rest.1.clone());
                (volume.partition, volume.title.clone(), why)
            }
        };
        let new = Differing { partition, title, class, bytes: 0, places: 0, first_lba, why };
        let known = self.found.entry((partition, class)).or_insert(new);
        known.bytes = known.bytes.saturating_add(run.len());
        known.places = known.places.saturating_add(1);
        known.first_lba = known.first_lba.min(first_lba);
    }
}

impl Area {
    /// What lies at byte `at` of the disk, and an end, behind `at`, up to which it may be the same.
    fn class_at(&self, at: u64) -> (Class, u64) {
        match self {
            Self::Outside(parts, rest) => {
                let part = parts.iter().find(|(_, range)| range.contains(at));
                let bounds = parts.iter().flat_map(|(_, range)| [range.start(), range.end()]);
                let end = bounds.filter(|bound| *bound > at).min().unwrap_or(u64::MAX);
                (part.map_or(*rest, |(part, _)| Class::Table(*part)), end)
            }
            Self::Volume(volume) => {
                let superblock = std::slice::from_ref(&volume.superblock);
                let kinds = [
                    (superblock, Class::Superblock),
                    (&volume.journal, Class::Journal),
                    (&volume.free, Class::Free),
                ];
                let (mut class, mut end) = (None, u64::MAX);
                for (runs, kind) in kinds {
                    match runs.get(runs.partition_point(|run| run.end() <= at)) {
                        Some(run) if run.contains(at) => {
                            class = class.or(Some(kind));
                            end = end.min(run.end());
                        }
                        Some(run) => end = end.min(run.start()),
                        None => {}
                    }
                }
                (class.unwrap_or(volume.rest.0), end)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use testkit::Memory;

    fn sorter(disk: &Source, sector: SectorSize) -> Sorter<'_> {
        Sorter::new(disk, sector, false)
    }

    fn volume() -> Area {
        let r = ByteRange::span;
        Area::Volume(Volume {
            partition: Some(1),
            title: None,
            superblock: r(1024, 2048),
            journal: vec![r(4096, 8192)],
            // Damaged: the journal is free by the map.
            free: vec![r(6144, 10240), r(12288, 16384)],
            rest: (Class::Used, None),
        })
    }

    #[test]
    fn a_run_is_cut_at_what_it_crosses() {
        let disk: Source = Arc::new(Memory::new(vec![0; 1 << 20]));
        let mut sorter = sorter(&disk, SectorSize::B512);
        sorter.sort(&volume(), ByteRange::span(512, 20480));
        sorter.sort(&volume(), ByteRange::span(12288, 12800));
        let found: Vec<_> =
            sorter.finish().iter().map(|d| (d.class, d.bytes, d.places, d.first_lba)).collect();
        let want = [
            (Class::Used, 512 + 2048 + 2048 + 4096, 4, 1),
            (Class::Superblock, 1024, 1, 2),
            (Class::Journal, 4096, 1, 8),
            (Class::Free, 2048 + 4096 + 512, 3, 16),
        ];
        assert_eq!(found, want);
    }

    #[test]
    fn a_sector_that_is_in_use_in_part_is_in_use() {
        let disk: Source = Arc::new(Memory::new(vec![0; 1 << 20]));
        let large = sorter(&disk, SectorSize::B4096);
        let r = ByteRange::span;
        assert_eq!(large.whole_sectors(r(1024, 13000)), r(4096, 12288));
        assert!(large.whole_sectors(r(1024, 4095)).is_empty());
        assert_eq!(large.all_sectors(r(9216, 10240)), r(8192, 12288));
        assert!(large.all_sectors(r(9216, 9216)).is_empty());
    }

    #[test]
    fn parts_of_a_table_that_overlap_end() {
        let r = ByteRange::span;
        let parts = vec![
            (TablePart::Mbr, r(0, 512)),
            (TablePart::GptHeader, r(512, 1024)),
            (TablePart::GptEntries, r(0, 4096)),
        ];
        let disk: Source = Arc::new(Memory::new(vec![0; 1 << 20]));
        let mut sorter = sorter(&disk, SectorSize::B512);
        sorter.sort(&Area::Outside(parts, Class::BootGap), r(0, 8192));
        let found: Vec<_> = sorter.finish().iter().map(|d| (d.class, d.bytes)).collect();
        let table = Class::Table;
        let want = [
            (table(TablePart::Mbr), 512),
            (table(TablePart::GptHeader), 512),
            (table(TablePart::GptEntries), 3072),
            (Class::BootGap, 4096),
        ];
        assert_eq!(found, want);
    }

    #[test]
    fn what_is_not_recognised_is_not_classified() {
        let disk: Source = Arc::new(Memory::new(testkit::pattern(1 << 20)));
        let mut sorter = sorter(&disk, SectorSize::B512);
        sorter.add(ByteRange::span(1024, 2048)).unwrap();
        let found = sorter.finish();
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].class, found[0].partition, found[0].bytes), (Class::Unclassified, None, 1024));
        assert!(found[0].why.is_some());
    }
}
