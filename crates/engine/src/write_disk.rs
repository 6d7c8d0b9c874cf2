//! Writes a disk: what makes it one goes first to zero and comes last, then all is read back. What restore
//! and clone have in common.

use crate::context::{Context, Side, UNIT};
use crate::copy::copy;
use crate::plan::Plan;
use crate::sinks::{Check, ToTarget};
use crate::survey::Survey;
use crate::verify::sectors;
use block::{ByteRange, ExtentKind, Result, SectorSize, Source, WriteAt};
use device::Wanted;
use image::Backup;
use std::sync::Arc;

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
    /// How the read-back knows what was written.
    pub(crate) proof: Proof,
    /// The sectors that make the target what it will be, ascending.
    pub(crate) last: Vec<ByteRange>,
    pub(crate) sector: SectorSize,
    /// Read the target back.
    pub(crate) check: bool,
}

/// How the read-back knows what was written.
pub(crate) enum Proof {
    /// By the digests of this backup, but for what does not come from it as it is: `patched`, ascending.
    Backup { backup: Arc<Backup>, patched: Vec<ByteRange> },
}

/// What was written.
#[derive(Debug, Default)]
pub struct Written {
    /// Bytes of the disk that the target holds now.
    pub bytes: u64,
    /// Bytes that are bad in the source; zeroes on the target.
    pub bad: u64,
    /// Bytes that the source does not hold; zeroes on the target.
    pub absent: u64,
    /// First and last sector of what does not read back as it was written.
    pub differ: Vec<(u64, u64)>,
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
/// disk: its ends are zeroes.
pub fn write_disk(plan: &WritePlan, target: &dyn WriteAt, ctx: &Context) -> Result<Written> {
    let work = &plan.work;
    let bytes = work.plan.bytes();
    let check = if work.check { bytes } else { 0 };
    ctx.expect(&[(bytes, UNIT), (check, UNIT / 2)]);
    ctx.phase("writing", Side::Source, bytes, UNIT);
    work.last.iter().try_for_each(|range| target.write_zeroes(*range))?;
    target.sync()?;
    let kept: Vec<ByteRange> =
        work.last.iter().map(|range| range.intersect(ByteRange::span(0, plan.need))).collect();
    let (body, last) = work.plan.split(&kept);
    let source = &*work.source;
    let mut written = Written { bytes, ..Written::default() };
    for part in [&body, &last] {
        let report = copy(part, source, ToTarget(target), ctx)?;
        let lost = |kind| report.missing.iter().filter(move |e| e.kind == kind).map(|e| e.range.len());
        written.bad += lost(ExtentKind::Bad).sum::<u64>();
        written.absent += lost(ExtentKind::Absent).sum::<u64>();
    }
    if work.check {
        ctx.phase("reading back", Side::Sink, check, UNIT / 2);
        let Proof::Backup { backup, patched } = &work.proof;
        let same = Check::against(source, work.sector).proved_by(backup, patched);
        let mut differ = copy(&work.plan, target, same, ctx)?.summary;
        differ.sort_unstable();
        written.differ = differ.into_iter().map(|range| sectors(range, work.sector)).collect();
    }
    Ok(written)
}
