//! Writes a backup back: what makes it a disk goes first to zero and comes last, then all is read back.

use crate::context::{Context, Side, UNIT};
use crate::copy::copy;
use crate::open::{OpenOptions, Opener, Subject};
use crate::plan::Plan;
use crate::relocate;
use crate::sinks::{Check, ToTarget};
use crate::survey::{Survey, survey};
use crate::verify::{plan_of, sectors};
use block::{
    ByteRange, Error, ErrorKind, ExtentKind, FillAbsent, Result, Role, SectorSize, Slice, Source, WriteAt,
};
use device::{Facts, Monitor, Place, Refusal, Wanted};
use image::{Backup, RegionInfo};
use std::path::PathBuf;
use std::sync::Arc;

/// How a backup is to be written back.
#[derive(Clone, Copy, Debug)]
pub struct RestoreOptions {
    /// Only this partition.
    pub part: Option<u32>,
    /// Read the target back.
    pub check: bool,
    /// On a larger disk, move the backup GPT to its end.
    pub move_backup_gpt: bool,
}

/// Where a backup is written to.
#[derive(Clone, Debug)]
pub enum Destination {
    /// A disk, partition or volume.
    Device(Box<Place>),
    /// A new image file.
    File(PathBuf),
}

/// What a restore will do, judged before anybody is asked.
pub struct RestorePlan {
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
    /// The backup is of a blank disk and the target is not blank: are they swapped?
    pub swapped: bool,
    backup: Arc<Backup>,
    source: Source,
    plan: Plan,
    /// What does not come from the backup as it is, ascending.
    patched: Vec<ByteRange>,
    /// The sectors that make the target what it will be, ascending.
    last: Vec<ByteRange>,
    sector: SectorSize,
    check: bool,
}

/// What a restore did.
#[derive(Debug, Default)]
pub struct Restored {
    /// Bytes of the disk that the target holds now.
    pub bytes: u64,
    /// Bytes that are bad in the backup; zeroes on the target.
    pub bad: u64,
    /// Bytes that the backup does not hold; zeroes on the target.
    pub absent: u64,
    /// First and last sector of what does not read back as it was written.
    pub differ: Vec<(u64, u64)>,
}

/// At either end of a disk or partition: what makes it one. More than the sectors of any table (LBA 0-33
/// and the last 34), and the superblocks of all filesystems, LVM and RAID.
const ENDS: u64 = 1 << 20;

/// Decides where every byte goes, and collects all that speaks against it.
pub fn plan_restore(
    backup: &Arc<Backup>,
    destination: &Destination,
    opener: &Opener<'_>,
    options: RestoreOptions,
) -> Result<RestorePlan> {
    let manifest = backup.manifest();
    if options.move_backup_gpt {
        can_move(manifest.table.kind, destination)?;
    }
    let sector = SectorSize::new(manifest.disk.sector_size).unwrap_or(SectorSize::B512);
    let disk = backup.disk()?;
    let region = options.part.map(|number| partition(backup, number)).transpose()?;
    let (mut notes, mut refusals, mut patched) = (vec![], vec![], vec![]);
    let mut plan = plan_of(manifest)?;
    let mut source: Source = Arc::new(FillAbsent(Arc::clone(&disk)));
    let mut need = disk.size();
    let mut window = ByteRange::span(0, need);
    let target = match destination {
        Destination::File(_) => None,
        Destination::Device(place) => Some((place, look(opener, place)?)),
    };
    if let Some(region) = region {
        let range = region.range();
        let onto_disk = target.as_ref().is_some_and(|(place, _)| place.is_whole_disk());
        if let Some((place, held)) = target.as_ref().filter(|_| onto_disk) {
            refusals.extend(no_such_partition(region, place, held));
            window = range;
            plan = plan.only(range);
            need = range.end();
        } else {
            source = Arc::new(Slice::new(source, range)?);
            need = range.len();
            window = ByteRange::span(0, need);
            // Under the number of its stored file, if it begins where that does: then digests prove it.
            let file = region.file.filter(|_| region.plain().is_some_and(|(_, plain)| plain.start() == 0));
            let whole = block::Region { range: window, role: Role::Whole };
            plan = Plan::new(need, [(whole, Some(file.unwrap_or(manifest.files.len())))])?;
        }
    }
    let mut last = ends(window);
    if let Some((place, _)) = &target {
        let have = place.size();
        judge_size(backup, need, have, options, &mut refusals, &mut notes);
        if place.sector() != manifest.disk.sector_size {
            refusals.push(format!(
                "{} has sectors of {} bytes, the backup was made of a disk with {}: its table would be \
                 misread; restore to an image file, or onto a disk with {} bytes a sector",
                place.name(),
                place.sector(),
                manifest.disk.sector_size,
                manifest.disk.sector_size
            ));
        }
        if options.part.is_none() && have > need {
            if options.move_backup_gpt {
                let moved = disk::gpt_moved(&*disk, sector, have)?;
                patched.extend(moved.iter().map(relocate::place));
                (source, plan) = relocate::larger(source, &plan, have, moved)?;
                need = have;
                last = ends(ByteRange::span(0, have));
            } else {
                // An old backup GPT at the target's end must not speak for the new disk.
                last.extend(ends(ByteRange::span(0, have)).pop());
            }
        }
    }
    let wanted = match &target {
        Some((place, held)) => Some(wanted(opener.monitor, backup, place, held, need)?),
        None => None,
    };
    if let (Some((place, _)), Some(wanted)) = (&target, &wanted) {
        refusals.extend(in_the_way(opener.monitor, wanted, place)?);
    }
    if manifest.totals.is_some_and(|totals| totals.bad > 0) {
        notes.push("some sectors could not be read when it was saved: they become zeroes".to_owned());
    }
    let blank_backup = manifest.totals.is_some_and(|totals| totals.data == 0);
    let blank = target.as_ref().is_none_or(|(_, held)| held.is_blank());
    Ok(RestorePlan {
        need,
        notes,
        refusals,
        wanted,
        swapped: blank_backup && !blank,
        blank,
        holds: target.map(|(_, held)| held.survey),
        backup: Arc::clone(backup),
        source,
        plan,
        patched,
        last,
        sector,
        check: options.check,
    })
}

/// A target as it is shown before anything is written.
struct Held {
    survey: Survey,
    subject: Subject,
}

impl Held {
    fn is_blank(&self) -> bool {
        self.survey.is_blank()
    }
}

fn look(opener: &Opener<'_>, place: &Place) -> Result<Held> {
    let subject = opener.open(&place.path, OpenOptions { live: true, ..OpenOptions::default() })?;
    Ok(Held { survey: survey(&subject.source, subject.sector, false)?, subject })
}

fn wanted(monitor: &dyn Monitor, backup: &Backup, place: &Place, held: &Held, need: u64) -> Result<Wanted> {
    Ok(Wanted {
        instance: place.instance(),
        id: device::disk_id(&place.identity(), &*held.subject.source)?,
        need,
        sector: backup.manifest().disk.sector_size,
        never: monitor.below(backup.store().path())?.disks,
    })
}

/// What speaks against this target now. It is judged again on the open handle.
fn in_the_way(monitor: &dyn Monitor, wanted: &Wanted, place: &Place) -> Result<Vec<String>> {
    let facts = Facts {
        name: place.name(),
        instance: wanted.instance,
        disk: place.disk.attached(),
        id: wanted.id,
        size: place.size(),
        read_only: place.disk.read_only,
        usage: monitor.usage_of(place.devno)?,
    };
    // Its size was judged with more words.
    let said = |refusal: &Refusal| matches!(refusal, Refusal::TooSmall { .. } | Refusal::SectorSize { .. });
    let refusals = device::judge(wanted, &facts).into_iter().filter(|refusal| !said(refusal));
    Ok(refusals.map(|refusal| refusal.to_string()).collect())
}

fn partition(backup: &Backup, number: u32) -> Result<&RegionInfo> {
    let regions = &backup.manifest().regions;
    let is = |region: &&RegionInfo| region.role() == Role::Partition(number);
    match regions.iter().find(is) {
        None => {
            let there: Vec<String> =
                regions.iter().filter_map(|r| r.partition).map(|n| n.to_string()).collect();
            let words = format!("no partition {number} in this backup; there are: {}", there.join(", "));
            Err(Error::new(ErrorKind::Usage, words))
        }
        Some(region) if region.file.is_none() => {
            let words = format!("partition {number} was left out when this backup was made");
            Err(Error::new(ErrorKind::Absent, words))
        }
        Some(region) => Ok(region),
    }
}

/// A partition goes onto a whole disk only where the same one is.
fn no_such_partition(region: &RegionInfo, place: &Place, held: &Held) -> Option<String> {
    let same = |r: &&block::Region| r.role == region.role() && r.range == region.range();
    if held.survey.layout.regions.iter().any(|r| same(&r)) {
        return None;
    }
    Some(format!(
        "{} has no {} at byte {} with {} bytes: name the partition that is to be overwritten, as `selfsame \
         disks` lists it",
        place.name(),
        region.role(),
        region.start,
        region.length,
    ))
}

fn judge_size(
    backup: &Backup,
    need: u64,
    have: u64,
    options: RestoreOptions,
    refusals: &mut Vec<String>,
    notes: &mut Vec<String>,
) {
    if have < need {
        let out =
            backup.manifest().regions.iter().filter(|r| options.part.is_none() && r.range().end() > have);
        let out: Vec<String> = out.map(|region| region.role().to_string()).collect();
        let out =
            if out.is_empty() { String::new() } else { format!("; beyond its end: {}", out.join(", ")) };
        refusals.push(format!("the target is too small by {} bytes{out}: take a larger one", need - have));
    }
    if have <= need || options.part.is_some() {
        return;
    }
    if options.move_backup_gpt {
        notes
            .push(format!("the target is larger: the backup GPT moves to its end, {} bytes on", have - need));
        return;
    }
    notes.push(format!("the target is larger: its last {} bytes stay unused", have - need));
    if backup.manifest().table.kind == image::TableKind::Gpt {
        notes.push(
            "the backup GPT will lie where it was, not at the target's end; --move-backup-gpt moves it"
                .to_owned(),
        );
    }
}

/// A backup GPT is moved only where there is one, and where the target has a size of its own.
fn can_move(table: image::TableKind, destination: &Destination) -> Result<()> {
    let why = match (table, destination) {
        (image::TableKind::Gpt, Destination::Device(_)) => return Ok(()),
        (image::TableKind::Gpt, Destination::File(_)) => "a new image file is as large as the disk was",
        _ => "this backup has no GPT",
    };
    Err(Error::new(ErrorKind::Usage, format!("--move-backup-gpt: {why}")))
}

/// The ranges at both ends of `window`, which may meet.
fn ends(window: ByteRange) -> Vec<ByteRange> {
    let first = ByteRange::span(window.start(), window.start() + ENDS).intersect(window);
    let last = ByteRange::span(window.end().saturating_sub(ENDS).max(first.end()), window.end());
    [first, last].into_iter().filter(|range| !range.is_empty()).collect()
}

/// Carries out a plan on a claimed target or a new file. If it fails or stops anywhere, the target is no
/// disk: its ends are zeroes.
pub fn restore(plan: &RestorePlan, target: &dyn WriteAt, ctx: &Context) -> Result<Restored> {
    let bytes = plan.plan.bytes();
    let check = if plan.check { bytes } else { 0 };
    ctx.expect(&[(bytes, UNIT), (check, UNIT / 2)]);
    ctx.phase("writing", Side::Source, bytes, UNIT);
    plan.last.iter().try_for_each(|range| target.write_zeroes(*range))?;
    target.sync()?;
    let kept: Vec<ByteRange> =
        plan.last.iter().map(|range| range.intersect(ByteRange::span(0, plan.need))).collect();
    let (body, last) = plan.plan.split(&kept);
    let source = &*plan.source;
    let mut restored = Restored { bytes, ..Restored::default() };
    for part in [&body, &last] {
        let report = copy(part, source, ToTarget(target), ctx)?;
        let lost = |kind| report.missing.iter().filter(move |e| e.kind == kind).map(|e| e.range.len());
        restored.bad += lost(ExtentKind::Bad).sum::<u64>();
        restored.absent += lost(ExtentKind::Absent).sum::<u64>();
    }
    if plan.check {
        ctx.phase("reading back", Side::Sink, check, UNIT / 2);
        let same = Check::against(source, plan.sector).proved_by(&plan.backup, &plan.patched);
        let mut differ = copy(&plan.plan, target, same, ctx)?.summary;
        differ.sort_unstable();
        restored.differ = differ.into_iter().map(|range| sectors(range, plan.sector)).collect();
    }
    Ok(restored)
}

/// The disks of this machine that a backup may have come from: by serial or WWN, and size.
pub fn propose_target(backup: &Backup, monitor: &dyn Monitor) -> Result<Vec<Place>> {
    let was = &backup.manifest().disk;
    let same = |disk: &device::Disk| {
        let now = &disk.identity;
        now.size == was.size
            && now.model == was.model
            && (!was.wwn.is_empty() && now.wwn == was.wwn
                || !was.serial.is_empty() && now.serial == was.serial)
    };
    let disks = monitor.disks()?;
    disks.iter().filter(|disk| same(disk)).map(|disk| monitor.find(&disk.name)).collect()
}
