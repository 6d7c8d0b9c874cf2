//! What is on the disk, where each part is kept, and which of it is visited in what order. Data.

use block::{ByteRange, Error, ErrorKind, Extent, ExtentKind, ReadAt, Region, Result, Role, extents};

/// A region and the stored file that keeps it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Placed {
    /// Where on the disk, and what.
    pub region: Region,
    /// Number of the stored file; `None` if it is left out.
    pub file: Option<usize>,
    /// Of its first byte in that file.
    pub offset: u64,
}

/// A coverage that forgets no sector, and an order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    regions: Vec<Placed>,
    files: Vec<u64>,
    visits: Vec<ByteRange>,
}

/// One extent to move.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// Number of the stored file.
    pub file: usize,
    /// Of its first byte in that file.
    pub offset: u64,
    /// Where it is read, and its kind.
    pub extent: Extent,
    /// The buffer that it belongs to is complete after it.
    pub ends: bool,
}

impl Plan {
    /// Refuses regions that leave a byte of the disk out or hold one twice; visits all that is kept, in
    /// LBA order. The regions of one file lie in it end to end. One file at most may hold several
    /// regions (`.rest`): the one that the copy gathers.
    pub fn new(size: u64, regions: impl IntoIterator<Item = (Region, Option<usize>)>) -> Result<Self> {
        let mut at = 0;
        let mut placed: Vec<Placed> = vec![];
        let mut files: Vec<u64> = vec![];
        let mut gathered = None;
        for (region, file) in regions {
            if region.range.start() != at || region.range.is_empty() {
                return Err(
                    Error::new(ErrorKind::Bug, "the regions do not cover the disk").with_range(region.range)
                );
            }
            at = region.range.end();
            let mut offset = 0;
            if let Some(file) = file {
                if files.len() <= file {
                    files.resize(file + 1, 0);
                }
                offset = files[file];
                if offset > 0 && *gathered.get_or_insert(file) != file {
                    return Err(Error::new(ErrorKind::Bug, "two files are gathered from several regions"));
                }
                files[file] += region.range.len();
            }
            placed.push(Placed { region, file, offset });
        }
        if at != size {
            return Err(Error::new(ErrorKind::Bug, "the regions do not cover the disk"));
        }
        let mut plan = Self { regions: placed, files, visits: vec![] };
        plan.visits = plan.kept().collect();
        Ok(plan)
    }

    /// One region, one file.
    pub fn whole(size: u64) -> Result<Self> {
        let region = Region { range: ByteRange::span(0, size), role: Role::Whole };
        Self::new(size, [(region, Some(0))])
    }

    /// The regions in disk order.
    pub fn regions(&self) -> &[Placed] {
        &self.regions
    }

    /// Plain bytes of each stored file.
    pub fn files(&self) -> &[u64] {
        &self.files
    }

    /// Bytes that it visits.
    pub fn bytes(&self) -> u64 {
        self.visits.iter().map(|visit| visit.len()).sum()
    }

    fn kept(&self) -> impl Iterator<Item = ByteRange> {
        self.regions.iter().filter(|placed| placed.file.is_some()).map(|placed| placed.region.range)
    }

    /// The same, visiting only what lies in `window`.
    #[must_use]
    pub fn only(&self, window: ByteRange) -> Self {
        let visits =
            self.visits.iter().map(|visit| visit.intersect(window)).filter(|visit| !visit.is_empty());
        Self { visits: visits.collect(), ..self.clone() }
    }

    /// Two plans that together visit the same: all but `last` (ascending, disjoint), then `last`.
    pub fn split(&self, last: &[ByteRange]) -> (Self, Self) {
        let (mut body, mut end) = (vec![], vec![]);
        for visit in &self.visits {
            let mut left = *visit;
            for range in last.iter().filter(|range| range.overlaps(*visit)) {
                let [front, behind] = left.minus(*range);
                body.push(front);
                end.push(left.intersect(*range));
                left = behind;
            }
            body.push(left);
        }
        let not_empty = |list: Vec<ByteRange>| list.into_iter().filter(|range| !range.is_empty()).collect();
        let visiting = |visits| Self { visits, ..self.clone() };
        (visiting(not_empty(body)), visiting(not_empty(end)))
    }

    /// All extents to move, cut so that buffers of `cell` bytes lie on the grid of their file. Lazy.
    pub fn steps<'a>(&'a self, source: &'a dyn ReadAt, cell: u64) -> impl Iterator<Item = Result<Step>> + 'a {
        self.visits.iter().flat_map(move |visit| {
            let mut known = extents(source, *visit);
            let mut left = Extent { range: ByteRange::span(0, 0), kind: ExtentKind::Data };
            std::iter::from_fn(move || {
                if left.range.is_empty() {
                    left = match known.next()? {
                        Ok(extent) => extent,
                        Err(error) => return Some(Err(error)),
                    };
                }
                let step = self.step(cell, left, visit.end());
                let end = step.as_ref().map_or(left.range.end(), |step| step.extent.range.end());
                left.range = ByteRange::span(end, left.range.end());
                Some(step)
            })
        })
    }

    /// The first step of what is `left` of an extent, in a visit that goes on to `visit_end`.
    fn step(&self, cell: u64, left: Extent, visit_end: u64) -> Result<Step> {
        let Extent { range, kind } = left;
        let at = range.start();
        let placed = &self.regions[self.regions.partition_point(|placed| placed.region.range.end() <= at)];
        let (Some(file), region) = (placed.file, placed.region.range) else {
            return Err(Error::new(ErrorKind::Bug, "a visit to a region that is left out").with_range(range));
        };
        let offset = placed.offset + at - region.start();
        let mut run = range.len();
        let to_edge = cell - offset % cell;
        let to_end = self.files[file] - offset;
        let no_bytes = matches!(kind, ExtentKind::Zero | ExtentKind::Absent);
        if no_bytes && to_edge == cell && run > cell && run < to_end {
            run -= run % cell; // whole cells in one step, however many
        } else if !(no_bytes && to_edge == cell && run == to_end) {
            run = run.min(to_edge);
        }
        // Only the gathered file's buffers wait while other files are read.
        let alone = self.files[file] == region.len();
        let ends = run >= to_edge || run == to_end || alone && at + run == visit_end;
        let extent = Extent { range: ByteRange::span(at, at + run), kind };
        Ok(Step { file, offset, extent, ends })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use testkit::Memory;

    fn region(start: u64, end: u64, role: Role) -> Region {
        Region { range: ByteRange::span(start, end), role }
    }

    fn plan() -> Plan {
        let regions = [
            (region(0, 100, Role::Preamble), Some(0)),
            (region(100, 1000, Role::Partition(1)), Some(1)),
            (region(1000, 1010, Role::Gap), Some(2)),
            (region(1010, 1500, Role::Partition(2)), None),
            (region(1500, 1530, Role::Gap), Some(2)),
        ];
        Plan::new(1530, regions).unwrap()
    }

    #[test]
    fn a_plan_forgets_nothing() {
        assert_eq!(plan().files(), [100, 900, 40]);
        assert_eq!(plan().bytes(), 1530 - 490);
        for bad in [vec![(0, 10)], vec![(0, 5), (6, 20)], vec![(0, 12), (11, 20)], vec![(0, 20), (20, 20)]] {
            let regions = bad.iter().map(|(a, b)| (region(*a, *b, Role::Gap), Some(0)));
            assert!(Plan::new(20, regions).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_split_visits_everything_once() {
        let last = [ByteRange::span(0, 34), ByteRange::span(990, 1005), ByteRange::span(1520, 1530)];
        let (body, end) = plan().split(&last);
        assert_eq!(body.bytes() + end.bytes(), plan().bytes());
        assert_eq!(end.visits.len(), 4, "cut at the regions' edge");
        assert!(body.visits.iter().all(|visit| last.iter().all(|range| !visit.overlaps(*range))));
    }

    #[test]
    fn steps_lie_on_the_grid_of_their_file_and_runs_pass_in_one() {
        let disk = Memory::new(vec![0; 1530]).with(|disk| disk.holes = vec![ByteRange::span(164, 900)]);
        let plan = plan();
        let steps: Vec<_> = plan.steps(&disk, 64).collect::<Result<_>>().unwrap();
        let partition: Vec<_> = steps.iter().filter(|step| step.file == 1).collect();
        assert_eq!(partition[1].extent, Extent { range: ByteRange::span(164, 868), kind: ExtentKind::Zero });
        assert!(partition.iter().all(|step| step.offset % 64 == 0 || step.extent.range.start() == 900));
        let rest: Vec<_> = steps.iter().filter(|step| step.file == 2).collect();
        assert_eq!((rest[0].ends, rest[1].ends, rest[1].offset), (false, true, 10));
        assert_eq!(steps.iter().map(|step| step.extent.range.len()).sum::<u64>(), plan.bytes());
    }
}
