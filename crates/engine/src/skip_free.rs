//! `--skip-free`: what a filesystem does not use is absent. A source that says so, and how it came to be, volume
//! by volume. The copy, the sink and the format need no other word for it.
//!
//! A free run is left out where it covers whole cells of the grid of its stored file: so no frame is absent in
//! part, and what is not worth a frame is kept. Whatever is in doubt is kept: see [`disk::used`].

use crate::open::Subject;
use crate::plan::Plan;
use crate::survey::{Survey, Surveyed};
use block::{ByteRange, Error, ErrorKind, Extent, ExtentKind, ReadAt, Result, Role, Slice, Source};
use disk::used::{Exactness, UsedMap};
use image::{FreeInfo, MapWord};
use std::sync::Arc;

/// What becomes of the free space of a disk.
pub(crate) struct Skipping {
    /// The disk without it.
    pub(crate) source: Source,
    /// One for each partition or volume that is kept, in disk order.
    pub(crate) volumes: Vec<FreeInfo>,
}

/// Which bytes of what lies in a region are in use. Without content all of them.
pub fn used_map(source: &Source, found: &Surveyed) -> Result<UsedMap> {
    let volume = Slice::new(Arc::clone(source), found.region.range)?;
    match &found.content {
        Some(content) => disk::used::used(&volume, content),
        None => Ok(UsedMap::whole(volume.size(), "nothing that is recognised lies there")),
    }
}

/// Looks for free space in everything that `plan` keeps. `grid`: bytes of a frame.
pub(crate) fn look(subject: &Subject, survey: &Survey, plan: &Plan, grid: u64) -> Result<Skipping> {
    let (mut free, mut volumes) = (vec![], vec![]);
    let is_volume = |found: &&Surveyed| matches!(found.region.role, Role::Partition(_) | Role::Whole);
    for found in survey.regions.iter().filter(is_volume) {
        let range = found.region.range;
        let kept = plan.regions().iter().find(|placed| placed.region.range.covers(range));
        // In its stored file.
        let Some(start) = kept.filter(|placed| placed.file.is_some()) else { continue };
        let start = start.offset + (range.start() - start.region.range.start());
        let map = match why_whole(subject, survey) {
            Some(why) => UsedMap::whole(range.len(), why),
            None => used_map(&subject.source, found)?,
        };
        let before: u64 = free.iter().map(|range: &ByteRange| range.len()).sum();
        let cells = map.free(grid).filter_map(|run| whole_cells(run.moved(0, start), grid));
        free.extend(cells.map(|cells| cells.moved(start, range.start())));
        let after: u64 = free.iter().map(|range| range.len()).sum();
        volumes.push(info(found, &map, after - before));
    }
    let inner = Arc::clone(&subject.source);
    Ok(Skipping { source: Arc::new(SkipFree { inner, free }), volumes })
}

/// What speaks against believing any map of this disk.
fn why_whole(subject: &Subject, survey: &Survey) -> Option<String> {
    if subject.live {
        return Some("it was mounted read-write, so that a map of it may be torn".to_owned());
    }
    if survey.member.is_some() {
        return Some("the disk itself belongs to an array".to_owned());
    }
    survey.layout.must_be_whole.clone()
}

/// The cells of the grid that lie in a run as a whole.
fn whole_cells(run: ByteRange, grid: u64) -> Option<ByteRange> {
    let cells = ByteRange::span(run.start().next_multiple_of(grid), run.end() - run.end() % grid);
    (!cells.is_empty()).then_some(cells)
}

fn info(found: &Surveyed, map: &UsedMap, absent: u64) -> FreeInfo {
    let (word, why) = match map.exactness() {
        Exactness::Exact => (MapWord::Exact, None),
        Exactness::Conservative(why) => (MapWord::Conservative, Some(why.clone())),
        Exactness::Unknown(why) => (MapWord::Whole, Some(why.clone())),
    };
    FreeInfo {
        start: found.region.range.start(),
        length: found.region.range.len(),
        partition: match found.region.role {
            Role::Partition(number) => Some(number),
            _ => None,
        },
        title: found.content.as_ref().map(|content| content.title.clone()),
        map: word,
        why,
        used: map.used_bytes(),
        absent,
    }
}

/// What a person should know of a volume whose free space was asked to be left out.
pub(crate) fn sentence(info: &FreeInfo) -> String {
    let name = match info.partition {
        Some(number) => format!("partition {number}"),
        None => "all of it".to_owned(),
    };
    let what = info.title.as_ref().map_or(String::new(), |title| format!(" ({title})"));
    match (info.map, &info.why) {
        (MapWord::Whole, why) => {
            format!(
                "{name}{what} is copied as a whole: {}",
                why.as_deref().unwrap_or("its free space is not known")
            )
        }
        (_, why) => {
            let why = why.as_ref().map_or(String::new(), |why| format!("; {why}"));
            format!(
                "{name}{what}: {} of its {} bytes are in use, {} are left out{why}",
                info.used, info.length, info.absent
            )
        }
    }
}

/// A source without what is free.
struct SkipFree {
    inner: Source,
    /// Ascending, apart from each other, not empty.
    free: Vec<ByteRange>,
}

/// A disk of which these ranges are absent.
#[cfg(test)]
pub(crate) fn without(inner: Source, free: Vec<ByteRange>) -> Source {
    Arc::new(SkipFree { inner, free })
}

impl SkipFree {
    /// The first free run that does not end before `offset`.
    fn next(&self, offset: u64) -> Option<ByteRange> {
        self.free.get(self.free.partition_point(|run| run.end() <= offset)).copied()
    }
}

impl ReadAt for SkipFree {
    fn size(&self) -> u64 {
        self.inner.size()
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<()> {
        let want = ByteRange::within(self.size(), offset, buf.len() as u64)?;
        let hole = self.next(offset).map(|free| free.intersect(want)).filter(|hole| !hole.is_empty());
        let good = ByteRange::span(offset, hole.map_or(want.end(), ByteRange::start));
        if !good.is_empty() {
            self.inner.read_at(offset, &mut buf[good.index(offset)])?;
        }
        hole.map_or(Ok(()), |hole| Err(Error::at(ErrorKind::Absent, hole)))
    }

    fn extent_at(&self, offset: u64) -> Result<Extent> {
        ByteRange::within(self.size(), offset, 1)?;
        match self.next(offset) {
            Some(free) if free.contains(offset) => {
                Ok(Extent { range: ByteRange::span(offset, free.end()), kind: ExtentKind::Absent })
            }
            next => {
                let known = self.inner.extent_at(offset)?;
                let end = next.map_or(known.range.end(), |free| known.range.end().min(free.start()));
                Ok(Extent { range: ByteRange::span(offset, end), ..known })
            }
        }
    }

    fn concurrency(&self) -> usize {
        self.inner.concurrency()
    }

    fn granule(&self) -> u64 {
        self.inner.granule()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use testkit::{Memory, pattern};

    #[test]
    fn what_is_free_cannot_be_read() {
        let hole = ByteRange::span(300, 700);
        let mut bytes = pattern(1000);
        bytes[hole.index(0)].fill(0);
        let disk = Memory::new(bytes.clone()).with(|disk| disk.holes = vec![hole]);
        let free = vec![ByteRange::span(100, 200), ByteRange::span(400, 500)];
        let source = SkipFree { inner: Arc::new(disk), free };
        let all: Vec<_> = block::extents(&source, ByteRange::span(0, 1000)).map(Result::unwrap).collect();
        let kinds: Vec<_> = all.iter().map(|extent| (extent.range.start(), extent.kind)).collect();
        use ExtentKind::{Absent, Data, Zero};
        assert_eq!(
            kinds,
            [(0, Data), (100, Absent), (200, Data), (300, Zero), (400, Absent), (500, Zero), (700, Data)]
        );
        let mut buf = [0; 100];
        source.read_at(200, &mut buf).unwrap();
        assert_eq!(buf, bytes[200..300]);
        let error = source.read_at(150, &mut buf).unwrap_err();
        assert_eq!((error.kind(), error.range()), (ErrorKind::Absent, Some(ByteRange::span(150, 200))));
        let error = source.read_at(60, &mut buf).unwrap_err();
        assert_eq!((error.kind(), error.range()), (ErrorKind::Absent, Some(ByteRange::span(100, 160))));
        assert_eq!(buf[..40], bytes[60..100]);
        assert_eq!(source.read_at(901, &mut buf).unwrap_err().kind(), ErrorKind::OutOfRange);
    }

    #[test]
    fn only_whole_cells() {
        let r = ByteRange::span;
        assert_eq!(whole_cells(r(1, 300), 100), Some(r(100, 300)));
        assert_eq!(whole_cells(r(100, 399), 100), Some(r(100, 300)));
        assert_eq!(whole_cells(r(101, 299), 100), None);
    }
}
