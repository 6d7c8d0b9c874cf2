//! The copy loop against a model: one kind and one byte per place of the disk.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::cast_possible_truncation)]

use block::{
    Buffer, ByteRange, Encode, Error, ErrorKind, Extent, ExtentKind, FillAbsent, ReadAt, Region, Result,
    Role, SectorSize, Sink,
};
use engine::{AsIs, Check, Context, OnError, Plan, ToTarget, copy};
use proptest::prelude::*;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use testkit::{Memory, pattern};

const SECTOR: u64 = 512;

/// A disk, a plan for it, and how it is copied.
#[derive(Clone, Debug)]
struct Case {
    /// Sectors of each region, and its file: `None` left out, 0 gathered, others alone.
    regions: Vec<(u64, Option<usize>)>,
    /// First sector and count.
    holes: Vec<(u64, u64)>,
    /// First sector and count.
    bad: Vec<(u64, u64)>,
    buffer: usize,
    workers: usize,
    threads: usize,
}

fn cases() -> impl Strategy<Value = Case> {
    let spots = || prop::collection::vec((0..200_u64, 1..30_u64), 0..5);
    let regions = prop::collection::vec((1..40_u64, 0..5_u8), 1..9);
    let sizes = prop::sample::select(vec![512_usize, 1024, 4096, 8192]);
    (regions, spots(), spots(), sizes, 1..4_usize, 1..4_usize).prop_map(
        |(regions, holes, bad, buffer, workers, threads)| {
            let file = |(i, (len, sort)): (usize, (u64, u8))| match sort {
                0 => (len, None),
                1 | 2 => (len, Some(0)),
                _ => (len, Some(i + 1)),
            };
            let regions = regions.into_iter().enumerate().map(file).collect();
            Case { regions, holes, bad, buffer, workers, threads }
        },
    )
}

impl Case {
    fn sectors(&self) -> u64 {
        self.regions.iter().map(|(len, _)| len).sum()
    }

    fn plan(&self) -> Plan {
        let mut at = 0;
        let regions = self.regions.iter().map(|(len, file)| {
            let range = ByteRange::new(at, len * SECTOR).unwrap();
            at = range.end();
            (Region { range, role: Role::Gap }, *file)
        });
        Plan::new(self.sectors() * SECTOR, regions).unwrap()
    }

    /// The kind of each sector.
    fn kinds(&self) -> Vec<ExtentKind> {
        let inside = |spots: &[(u64, u64)], i| spots.iter().any(|(at, len)| (*at..at + len).contains(&i));
        (0..self.sectors())
            .map(|i| match (inside(&self.holes, i), inside(&self.bad, i)) {
                (true, _) => ExtentKind::Zero,
                (_, true) => ExtentKind::Bad,
                _ => ExtentKind::Data,
            })
            .collect()
    }

    /// Bytes as they are on the disk, what is bad included.
    fn bytes(&self) -> Vec<u8> {
        let mut bytes = pattern((self.sectors() * SECTOR) as usize);
        for range in ranges(&self.kinds(), ExtentKind::Zero) {
            bytes[range.index(0)].fill(0);
        }
        bytes
    }

    /// Bytes as a copy has them: what is bad is zero.
    fn readable(&self) -> Vec<u8> {
        let mut bytes = self.bytes();
        for range in ranges(&self.kinds(), ExtentKind::Bad) {
            bytes[range.index(0)].fill(0);
        }
        bytes
    }

    fn disk(&self) -> Memory {
        Memory::new(self.bytes()).with(|disk| {
            disk.holes = ranges(&self.kinds(), ExtentKind::Zero);
            disk.bad = ranges(&self.kinds(), ExtentKind::Bad);
            disk.threads = self.threads;
        })
    }

    fn context(&self, on_error: OnError) -> Context {
        context(self.buffer, self.workers, on_error)
    }

    /// Is this sector in a region that is kept?
    fn kept(&self) -> Vec<bool> {
        self.regions.iter().flat_map(|(len, file)| (0..*len).map(move |_| file.is_some())).collect()
    }
}

fn context(buffer: usize, workers: usize, on_error: OnError) -> Context {
    let mut ctx = Context::new(4096, |_| {});
    (ctx.buffer, ctx.workers, ctx.on_error) = (buffer, workers, on_error);
    ctx
}

/// The stretches of one kind.
fn ranges(kinds: &[ExtentKind], kind: ExtentKind) -> Vec<ByteRange> {
    let mut list = vec![];
    for (i, _) in kinds.iter().enumerate().filter(|(_, k)| **k == kind) {
        Extent { range: ByteRange::new(i as u64 * SECTOR, SECTOR).unwrap(), kind }.append(&mut list);
    }
    list.into_iter().map(|extent| extent.range).collect()
}

/// The sectors in a list of ranges, each as often as it is in them, ascending.
fn sectors(list: impl IntoIterator<Item = ByteRange>) -> Vec<u64> {
    let mut all: Vec<u64> =
        list.into_iter().flat_map(|range| range.start() / SECTOR..range.end() / SECTOR).collect();
    all.sort_unstable();
    all
}

/// Keeps the stored files, and refuses what is not the next byte of one.
struct Record {
    files: Vec<Vec<u8>>,
    extents: Vec<Extent>,
    grid: u64,
    finished: Arc<AtomicBool>,
}

impl Record {
    fn new(plan: &Plan, grid: usize) -> Self {
        let files = vec![vec![]; plan.files().len()];
        Self { files, extents: vec![], grid: grid as u64, finished: Arc::default() }
    }
}

impl Sink for Record {
    type Encoder = AsIs;
    type Summary = (Vec<Vec<u8>>, Vec<Extent>);

    fn encoder(&self) -> AsIs {
        AsIs
    }

    fn commit(&mut self, buffer: &Buffer, (): ()) -> Result<()> {
        assert_eq!(buffer.offset % self.grid, 0, "off the grid");
        for (at, extent, bytes) in buffer.pieces() {
            let file = &mut self.files[buffer.file];
            assert_eq!(at, file.len() as u64, "not in the order of the file");
            let len = extent.range.index(extent.range.start()).end;
            file.extend(if buffer.is_run() { vec![0; len] } else { bytes.to_vec() });
            self.extents.push(extent);
        }
        Ok(())
    }

    fn finish(self) -> Result<Self::Summary> {
        self.finished.store(true, SeqCst);
        Ok((self.files, self.extents))
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_byte_of_each_file_comes_once_in_order_with_its_kind(case in cases()) {
        let (plan, kinds, kept, want) = (case.plan(), case.kinds(), case.kept(), case.readable());
        let record = Record::new(&plan, case.buffer);
        let report = copy(&plan, &case.disk(), record, &case.context(OnError::Mark)).unwrap();
        let (files, extents) = report.summary;
        prop_assert_eq!(files.iter().map(|file| file.len() as u64).collect::<Vec<_>>(), plan.files());
        for placed in plan.regions() {
            let Some(file) = placed.file else { continue };
            let place = ByteRange::new(placed.offset, placed.region.range.len()).unwrap();
            prop_assert_eq!(&files[file][place.index(0)], &want[placed.region.range.index(0)]);
        }
        let expected = |kind| -> Vec<u64> {
            let all = (0..case.sectors()).zip(kept.iter().zip(&kinds));
            all.filter(|(_, (kept, k))| **kept && **k == kind).map(|(i, _)| i).collect()
        };
        for kind in [ExtentKind::Data, ExtentKind::Zero, ExtentKind::Bad] {
            let got = extents.iter().filter(|extent| extent.kind == kind).map(|extent| extent.range);
            prop_assert_eq!(sectors(got), expected(kind));
        }
        let bad = expected(ExtentKind::Bad);
        prop_assert!(report.missing.iter().all(|extent| extent.kind == ExtentKind::Bad));
        prop_assert_eq!(&sectors(report.missing.iter().map(|extent| extent.range)), &bad);
        prop_assert_eq!(&sectors(report.errors.iter().filter_map(Error::range)), &bad);
    }

    #[test]
    fn a_target_becomes_the_disk_also_in_two_copies(case in cases(), a in 0..50_u64, b in 1..50_u64) {
        let (plan, kept, mut want) = (case.plan(), case.kept(), case.readable());
        let old = vec![0xA5; want.len()];
        for (i, sector) in want.chunks_mut(512).enumerate().filter(|(i, _)| !kept[*i]) {
            sector.copy_from_slice(&old[i * 512..][..512]);
        }
        let (disk, ctx) = (case.disk(), case.context(OnError::Mark));
        let once = Memory::new(old.clone());
        copy(&plan, &disk, ToTarget(&once), &ctx).unwrap();
        prop_assert!(once.bytes() == want);

        let last = [ByteRange::new(a * SECTOR, b * SECTOR).unwrap()];
        let (body, end) = plan.split(&last);
        let twice = Memory::new(old);
        copy(&body, &disk, ToTarget(&twice), &ctx).unwrap();
        prop_assert!(twice.writes.lock().unwrap().iter().all(|write| !write.overlaps(last[0])));
        copy(&end, &disk, ToTarget(&twice), &ctx).unwrap();
        prop_assert!(twice.bytes() == want);
    }

    #[test]
    fn a_split_copy_stopped_anywhere_leaves_the_last_ranges_alone(case in cases(), n in 0..20_usize) {
        let plan = case.plan();
        let last = [ByteRange::span(0, 7 * SECTOR)];
        let target = Memory::new(vec![0; case.bytes().len()]).with(|disk| disk.fail_write = Some(n));
        let (body, _) = plan.split(&last);
        if let Err(error) = copy(&body, &case.disk(), ToTarget(&target), &case.context(OnError::Mark)) {
            prop_assert_eq!(error.kind(), ErrorKind::NoSpace);
        }
        prop_assert!(target.bytes().iter().take(7 * 512).all(|byte| *byte == 0));
    }

    #[test]
    fn check_names_exactly_the_sectors_that_differ(
        case in cases(), flips in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
    ) {
        let case = Case { bad: vec![], ..case };
        let (plan, kept, mut bytes) = (case.plan(), case.kept(), case.bytes());
        let mut places: Vec<usize> = flips.iter().map(|flip| flip.index(bytes.len())).collect();
        places.sort_unstable();
        places.dedup();
        places.iter().for_each(|at| bytes[*at] ^= 0x10);
        let mut want: Vec<u64> = places.iter().map(|at| *at as u64 / SECTOR).collect();
        want.retain(|sector| kept[*sector as usize]);
        want.dedup();
        let reference = Memory::new(bytes);
        let check = Check::against(&reference, SectorSize::B512);
        let report = copy(&plan, &case.disk(), check, &case.context(OnError::Stop)).unwrap();
        prop_assert_eq!(sectors(report.summary), want);
    }

    #[test]
    fn announced_holes_change_no_byte(case in cases()) {
        let case = Case { bad: vec![], ..case };
        let plan = case.plan();
        let files = |disk: &Memory| {
            copy(&plan, disk, Record::new(&plan, case.buffer), &case.context(OnError::Stop)).unwrap().summary.0
        };
        prop_assert_eq!(files(&case.disk()), files(&Memory::new(case.bytes())));
    }
}

/// A disk with an Absent range, whose reads first ask `read`.
struct Odd<F> {
    inner: Memory,
    absent: ByteRange,
    read: F,
}

impl<F: Fn(u64) -> Result<()> + Send + Sync> ReadAt for Odd<F> {
    fn size(&self) -> u64 {
        self.inner.size()
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<()> {
        (self.read)(offset)?;
        self.inner.read_at(offset, buf)
    }

    fn extent_at(&self, offset: u64) -> Result<Extent> {
        let kind = if self.absent.contains(offset) { ExtentKind::Absent } else { ExtentKind::Data };
        let ends = [self.absent.start(), self.absent.end(), self.size()];
        let end = ends.into_iter().filter(|end| *end > offset).min().unwrap();
        Ok(Extent { range: ByteRange::span(offset, end), kind })
    }

    fn concurrency(&self) -> usize {
        self.inner.threads
    }
}

const BUFFER: u64 = 4096;
const SIZE: u64 = 64 * BUFFER;

fn odd<F>(threads: usize, read: F) -> Odd<F> {
    let inner = Memory::new(pattern(SIZE as usize)).with(|disk| disk.threads = threads);
    Odd { inner, absent: ByteRange::span(0, 0), read }
}

fn small(workers: usize, on_error: OnError) -> Context {
    context(BUFFER as usize, workers, on_error)
}

#[test]
fn absent_is_left_and_fill_absent_makes_it_zero() {
    let absent = ByteRange::span(3 * BUFFER + 512, 9 * BUFFER);
    let source = Arc::new(Odd { absent, ..odd(2, |_| Ok(())) });
    let plan = Plan::whole(SIZE).unwrap();
    let target = Memory::new(vec![0xA5; SIZE as usize]);
    let report = copy(&plan, &*source, ToTarget(&target), &small(2, OnError::Stop)).unwrap();
    assert_eq!(report.missing, [Extent { range: absent, kind: ExtentKind::Absent }]);
    let mut want = pattern(SIZE as usize);
    want[absent.index(0)].fill(0xA5);
    assert!(target.bytes() == want);

    copy(&plan, &FillAbsent(source), ToTarget(&target), &small(2, OnError::Stop)).unwrap();
    want[absent.index(0)].fill(0);
    assert!(target.bytes() == want);
}

#[test]
fn the_first_error_in_plan_order_wins_and_other_kinds_stop_a_marking_job() {
    let plan = Plan::whole(SIZE).unwrap();
    for (threads, on_error) in
        [(1, OnError::Stop), (1, OnError::Mark), (4, OnError::Stop), (4, OnError::Mark)]
    {
        let source = odd(threads, |offset| match offset / BUFFER {
            10 => {
                std::thread::sleep(Duration::from_millis(50)); // the later ones fail earlier
                Err(Error::new(ErrorKind::Gone, "first"))
            }
            11.. => Err(Error::new(ErrorKind::Io, "later")),
            _ => Ok(()),
        });
        let record = Record::new(&plan, BUFFER as usize);
        let error = copy(&plan, &source, record, &small(3, on_error)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Gone);
    }
}

/// Encodes nothing, and panics at one buffer.
struct Panics;

impl Encode for Panics {
    type Out = ();

    fn encode(&mut self, buffer: &Buffer) -> Result<()> {
        assert_ne!(buffer.offset, 10 * BUFFER, "as told");
        Ok(())
    }
}

impl Sink for Panics {
    type Encoder = Self;
    type Summary = ();

    fn encoder(&self) -> Self {
        Self
    }

    fn commit(&mut self, _: &Buffer, (): ()) -> Result<()> {
        Ok(())
    }

    fn finish(self) -> Result<()> {
        panic!("an aborted job was finished")
    }
}

#[test]
fn a_panic_is_a_bug_and_hangs_nobody() {
    let plan = Plan::whole(SIZE).unwrap();
    for threads in [1, 4] {
        let encoder = copy(&plan, &odd(threads, |_| Ok(())), Panics, &small(2, OnError::Mark));
        assert_eq!(encoder.unwrap_err().kind(), ErrorKind::Bug);
        let source = odd(threads, |offset| if offset == 10 * BUFFER { panic!("as told") } else { Ok(()) });
        let record = Record::new(&plan, BUFFER as usize);
        let read = copy(&plan, &source, record, &small(2, OnError::Mark));
        assert_eq!(read.unwrap_err().kind(), ErrorKind::Bug);
    }
}

#[test]
fn cancelling_stops_and_never_finishes_the_sink() {
    let (ctx, plan) = (small(2, OnError::Mark), Plan::whole(SIZE).unwrap());
    let source = odd(1, |offset| {
        if offset == 20 * BUFFER {
            ctx.cancel();
        }
        Ok(())
    });
    let record = Record::new(&plan, BUFFER as usize);
    let finished = record.finished.clone();
    let error = copy(&plan, &source, record, &ctx).unwrap_err();
    assert_eq!((error.kind(), finished.load(SeqCst)), (ErrorKind::Cancelled, false));
    assert!(source.inner.reads.lock().unwrap().len() < 40, "it read on");
}

/// Its first commit waits, then counts what was read meanwhile.
struct Stuck<'a>(&'a Memory, &'a Mutex<usize>);

impl Sink for Stuck<'_> {
    type Encoder = AsIs;
    type Summary = ();

    fn encoder(&self) -> AsIs {
        AsIs
    }

    fn commit(&mut self, buffer: &Buffer, (): ()) -> Result<()> {
        if buffer.offset == 0 {
            std::thread::sleep(Duration::from_millis(300));
            *self.1.lock().unwrap() = self.0.reads.lock().unwrap().len();
        }
        Ok(())
    }

    fn finish(self) -> Result<()> {
        Ok(())
    }
}

#[test]
fn while_one_buffer_is_stuck_the_others_do_not_run_ahead() {
    for threads in [1, 4] {
        let source = odd(threads, |_| Ok(()));
        let (plan, most) = (Plan::whole(SIZE).unwrap(), Mutex::new(0));
        copy(&plan, &source, Stuck(&source.inner, &most), &small(2, OnError::Stop)).unwrap();
        assert_eq!(*most.lock().unwrap(), 2 * 2 + 2, "two permits a worker and two");
    }
}
