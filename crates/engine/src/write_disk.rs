//! Writes a disk: what makes it one goes first to zero and comes last, then all is read back. What restore
//! and clone have in common.

use crate::context::{Context, Side, UNIT};
use crate::copy::copy;
use crate::mend;
use crate::passed::{Passed, Recorded};
use crate::plan::Plan;
use crate::save::name_sectors;
use crate::sinks::{Check, ToTarget};
use crate::survey::Survey;
use crate::verify::sectors;
use block::{ByteRange, ExtentKind, Result, SectorSize, Source, WriteAt};
use device::Wanted;
use image::Backup;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// What will be written, judged before anybody is asked.
pub struct WritePlan {
    /// Bytes that the target must have.
    pub need: u64,
    /// What the user should know.
    pub notes: Vec<String>,
    /// What speaks against it; with one of these it cannot be done.
    pub refusals: Vec<String>,
    /// What will be claimed, if it is a device.
    pub wanted: Option<Wanted>,
    /// What the target holds now, if it is a device.
    pub holds: Option<Survey>,
    /// The target holds nothing.
    pub blank: bool,
    /// What is copied is a blank disk and the target is not blank: are they swapped?
    pub swapped: bool,
    pub(crate) work: Work,
}

/// What is read and where it goes.
pub(crate) struct Work {
    /// Reads as the target will.
    pub(crate) source: Source,
    pub(crate) plan: Plan,
    /// Bytes that nobody has and that the source fills with zeroes.
    pub(crate) filled: u64,
    /// How the read-back knows what was written.
    pub(crate) proof: Proof,
    /// The sectors that make the target what it will be, ascending.
    pub(crate) last: Vec<ByteRange>,
    pub(crate) sector: SectorSize,
    /// Read the target back.
    pub(crate) check: bool,
    /// Write only what differs.
    pub(crate) mend: bool,
    /// The first write has begun.
    pub(crate) touched: AtomicBool,
}

impl WritePlan {
    /// Was the target written to, so that after a failure it is no disk?
    pub fn touched(&self) -> bool {
        self.work.touched.load(Ordering::Relaxed)
    }
}

impl Work {
    /// Takes away what makes the target a disk: the first that is written.
    pub(crate) fn zero_ends(&self, target: &dyn WriteAt) -> Result<()> {
        self.touched.store(true, Ordering::Relaxed);
        self.last.iter().try_for_each(|range| target.write_zeroes(*range))?;
        target.sync()
    }
}

/// How the read-back knows what was written.
pub(crate) enum Proof {
    /// By the digests of this backup, but for what does not come from it as it is: `patched`, ascending.
    Backup { backup: Arc<Backup>, patched: Vec<ByteRange> },
    /// By digests that are taken while it is written. The source is not read again: it may have changed, or
    /// be dying.
    Passed,
}

/// What was written.
#[derive(Debug, Default)]
pub struct Written {
    /// Bytes of the disk that the target holds now.
    pub bytes: u64,
    /// Bytes that are bad in the source; zeroes on the target.
    pub bad: u64,
    /// Bytes that the source does not hold; zeroes on the target but for those that are `kept`.
    pub absent: u64,
    /// Bytes that the source does not hold and where the target keeps what it held.
    pub kept: u64,
    /// First and last sector of what does not read back as it was written.
    pub differ: Vec<(u64, u64)>,
    /// Of a mend: bytes that differed and were written.
    pub mended: Option<u64>,
}

/// At either end of a disk or partition: what makes it one. More than the sectors of any table (LBA 0-33
/// and the last 34), and the superblocks of all filesystems, LVM and RAID.
const ENDS: u64 = 1 << 20;

/// The ranges at both ends of `window`, which may meet.
pub(crate) fn ends(window: ByteRange) -> Vec<ByteRange> {
    let first = ByteRange::span(window.start(), window.start() + ENDS).intersect(window);
    let last = ByteRange::span(window.end().saturating_sub(ENDS).max(first.end()), window.end());
    [first, last].into_iter().filter(|range| !range.is_empty()).collect()
}

/// Carries out a plan on a claimed target or a new file. If it fails or stops anywhere, the target is no
/// disk: its ends are zeroes. A sector that cannot be read ends it, with its LBA.
pub fn write_disk(plan: &WritePlan, target: &dyn WriteAt, ctx: &Context) -> Result<Written> {
    write(&plan.work, target, ctx).map_err(|error| name_sectors(error, plan.work.sector))
}

pub(crate) fn write(work: &Work, target: &dyn WriteAt, ctx: &Context) -> Result<Written> {
    let bytes = work.plan.bytes();
    let check = if work.check { bytes } else { 0 };
    ctx.expect(&[(bytes, UNIT), (check, UNIT / 2)]);
    let inside = ByteRange::span(0, work.source.size());
    let kept: Vec<ByteRange> = work.last.iter().map(|range| range.intersect(inside)).collect();
    let (body, last) = work.plan.split(&kept);
    let mut written = Written { bytes, ..Written::default() };
    if work.mend {
        let mended = mend::mend(work, [&body, &last], target, ctx)?;
        if mended.bytes > 0 {
            let (_, touched) = body.split(&mended.touched);
            written.differ = read_back(work, &[&touched, &last], target, None, ctx)?;
        }
        written.mended = Some(mended.bytes);
        return Ok(written);
    }
    ctx.phase("writing", Side::Source, bytes, UNIT);
    work.zero_ends(target)?;
    let source = &*work.source;
    let mut passed = Passed::default();
    for part in [&body, &last] {
        let report = match &work.proof {
            Proof::Passed if work.check => copy(part, source, Recorded::new(target, &mut passed), ctx)?,
            _ => copy(part, source, ToTarget(target), ctx)?,
        };
        let lost = |kind| report.missing.iter().filter(move |e| e.kind == kind).map(|e| e.range.len());
        written.bad += lost(ExtentKind::Bad).sum::<u64>();
        written.kept += lost(ExtentKind::Absent).sum::<u64>();
    }
    written.absent = written.kept + work.filled;
    written.differ = match &work.proof {
        Proof::Backup { .. } => read_back(work, &[&work.plan], target, None, ctx)?,
        // In the buffers in which it was written.
        Proof::Passed => read_back(work, &[&body, &last], target, Some(&passed), ctx)?,
    };
    Ok(written)
}

/// First and last sector of what the target does not have as the source has it, of what `parts` visit.
fn read_back(
    work: &Work,
    parts: &[&Plan],
    target: &dyn WriteAt,
    passed: Option<&Passed>,
    ctx: &Context,
) -> Result<Vec<(u64, u64)>> {
    if !work.check {
        return Ok(vec![]);
    }
    ctx.phase("reading back", Side::Sink, parts.iter().map(|part| part.bytes()).sum(), UNIT / 2);
    let mut differ = vec![];
    for part in parts {
        let check = Check::against(&*work.source, work.sector);
        let check = match (&work.proof, passed) {
            (Proof::Backup { backup, patched }, _) => check.proved_by(backup, patched),
            (Proof::Passed, Some(passed)) => check.known_by(passed),
            (Proof::Passed, None) => check,
        };
        differ.extend(copy(part, target, check, ctx)?.summary);
    }
    differ.sort_unstable();
    Ok(differ.into_iter().map(|range| sectors(range, work.sector)).collect())
}

#[cfg(test)]
impl Work {
    /// All of a disk, read back.
    pub(crate) fn whole(source: testkit::Memory) -> Self {
        let size = block::ReadAt::size(&source);
        Self {
            source: Arc::new(source),
            plan: Plan::whole(size).expect("a plan of one region"),
            filled: 0,
            proof: Proof::Passed,
            last: ends(ByteRange::span(0, size)),
            sector: SectorSize::B512,
            check: true,
            mend: false,
            touched: AtomicBool::new(false),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use block::{ErrorKind, ReadAt};
    use testkit::{Memory, pattern};

    const SIZE: u64 = 5 << 20;

    fn disk() -> Vec<u8> {
        pattern(usize::try_from(SIZE).unwrap())
    }

    fn old() -> Memory {
        Memory::new(vec![0xFF; usize::try_from(SIZE).unwrap()])
    }

    fn ctx() -> Context {
        let mut ctx = Context::new(64 << 10, |_| {});
        (ctx.buffer, ctx.workers) = (256 << 10, 2);
        ctx
    }

    /// Nothing at either end.
    fn is_no_disk(target: &Memory) -> bool {
        let bytes = target.bytes();
        let mib = 1 << 20;
        [&bytes[..mib], &bytes[bytes.len() - mib..]].iter().all(|end| end.iter().all(|byte| *byte == 0))
    }

    #[test]
    fn what_makes_a_disk_comes_last() {
        let target = old();
        let written = write(&Work::whole(Memory::new(disk())), &target, &ctx()).unwrap();
        assert_eq!((written.bytes, written.differ), (SIZE, vec![]));
        assert!(target.bytes() == disk());
        let writes = target.writes.lock().unwrap().clone();
        let is_end =
            |range: &ByteRange| ends(ByteRange::span(0, SIZE)).iter().any(|end| end.overlaps(*range));
        assert!(writes[..2].iter().all(is_end), "zeroed first");
        let body = writes.iter().skip(2).take_while(|range| !is_end(range)).count();
        assert!(body > 0 && writes[2 + body..].iter().all(is_end), "written last: {writes:?}");
    }

    #[test]
    fn the_source_is_read_once() {
        let source = Arc::new(Memory::new(disk()));
        let work = Work { source: source.clone(), ..Work::whole(Memory::new(disk())) };
        write(&work, &old(), &ctx()).unwrap();
        let read: u64 = source.reads.lock().unwrap().iter().map(|range| range.len()).sum();
        assert_eq!(read, SIZE);
    }

    #[test]
    fn what_nobody_has_is_left_as_it_was_and_is_no_difference() {
        let mib = 1 << 20;
        let hole = ByteRange::span(2 * mib + 65536, 3 * mib);
        let source = crate::skip_free::without(Arc::new(Memory::new(disk())), vec![hole]);
        let work = Work { source, ..Work::whole(Memory::new(disk())) };
        let target = old();
        let written = write(&work, &target, &ctx()).unwrap();
        assert_eq!((written.kept, written.absent, written.bad), (hole.len(), hole.len(), 0));
        assert_eq!(written.differ, []);
        let bytes = target.bytes();
        assert!(bytes[hole.index(0)].iter().all(|byte| *byte == 0xFF));
        assert!(bytes[..hole.index(0).start] == disk()[..hole.index(0).start]);
        assert!(bytes[hole.index(0).end..] == disk()[hole.index(0).end..]);
    }

    #[test]
    fn a_failing_write_leaves_no_disk() {
        for n in 2..12 {
            let target = old().with(|target| target.fail_write = Some(n));
            let error = write(&Work::whole(Memory::new(disk())), &target, &ctx()).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::NoSpace);
            assert!(is_no_disk(&target), "{n}");
        }
    }

    #[test]
    fn an_unreadable_sector_is_named_and_leaves_no_disk() {
        let bad = ByteRange::span(3 << 20, (3 << 20) + 1024);
        let target = old();
        let source = Memory::new(disk()).with(|source| source.bad = vec![bad]);
        let error = write_disk(&plan(Work::whole(source)), &target, &ctx()).unwrap_err();
        assert!(error.to_string().starts_with("LBA 6144 to 6145 could not be read"), "{error}");
        assert!(is_no_disk(&target));
    }

    /// A target that forgets a bit.
    struct Forgetful(Memory, u64);

    impl ReadAt for Forgetful {
        fn size(&self) -> u64 {
            self.0.size()
        }

        fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<()> {
            self.0.read_at(offset, buf)?;
            let want = ByteRange::span(offset, offset + buf.len() as u64);
            if want.contains(self.1) {
                buf[ByteRange::span(self.1, self.1 + 1).index(offset)][0] ^= 1;
            }
            Ok(())
        }
    }

    impl WriteAt for Forgetful {
        fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<()> {
            self.0.write_at(offset, bytes)
        }

        fn sync(&self) -> Result<()> {
            Ok(())
        }
    }

    #[test]
    fn what_does_not_read_back_is_named() {
        for at in [0, 700, 2_000_000, SIZE - 1] {
            let target = Forgetful(old(), at);
            let written = write(&Work::whole(Memory::new(disk())), &target, &ctx()).unwrap();
            assert_eq!(written.differ, [(at / 512, at / 512)]);
            let unchecked = Work { check: false, ..Work::whole(Memory::new(disk())) };
            assert_eq!(write(&unchecked, &target, &ctx()).unwrap().differ, []);
            let mend = Work { mend: true, ..Work::whole(Memory::new(disk())) };
            assert_eq!(write(&mend, &target, &ctx()).unwrap().differ, [(at / 512, at / 512)]);
        }
    }

    fn plan(work: Work) -> WritePlan {
        WritePlan {
            need: work.source.size(),
            notes: vec![],
            refusals: vec![],
            wanted: None,
            holds: None,
            blank: true,
            swapped: false,
            work,
        }
    }
}
