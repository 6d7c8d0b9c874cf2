//! Plans to write a backup back; [`crate::write_disk`] carries it out.

use crate::open::{OpenOptions, Opener};
use crate::plan::Plan;
use crate::relocate;
use crate::survey::{Survey, survey};
use crate::verify::plan_of;
use crate::write_disk::{Proof, Work, WritePlan, ends};
use block::{ByteRange, Error, ErrorKind, FillAbsent, Result, Role, SectorSize, Slice};
use device::{Facts, Monitor, Place, Refusal, Wanted};
use image::{Backup, RegionInfo};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

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

/// Decides where every byte goes, and collects all that speaks against it.
pub fn plan_restore(
    backup: &Arc<Backup>,
    destination: &Destination,
    opener: &Opener<'_>,
    options: RestoreOptions,
) -> Result<WritePlan> {
    let manifest = backup.manifest();
    if options.move_backup_gpt {
        can_move(manifest.table.kind == image::TableKind::Gpt, "this backup", destination)?;
    }
    let sector = SectorSize::new(manifest.disk.sector_size).unwrap_or(SectorSize::B512);
    let disk = backup.disk()?;
    let free = free_left_out(manifest, options.part);
    let region = options.part.map(|number| partition(backup, number)).transpose()?;
    let (mut notes, mut refusals, mut patched) = (vec![], vec![], vec![]);
    let mut plan = plan_of(manifest)?;
    let mut source = Arc::clone(&disk);
    let mut need = disk.size();
    let mut window = ByteRange::span(0, need);
    let target = match destination {
        Destination::File(_) => None,
        Destination::Device(place) => Some((place, look(opener, place)?)),
    };
    let fills = match &target {
        // A new file has holes.
        None => true,
        Some((place, _)) => zeroes_fast(opener.monitor, place)?,
    };
    if fills {
        source = Arc::new(FillAbsent(source));
    }
    if free > 0 {
        let becomes = if fills { "it becomes zeroes" } else { "the target keeps what it holds there" };
        notes.push(format!("{free} bytes of free space were not saved (--skip-free): {becomes}"));
    }
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
        if options.part.is_none() {
            refusals.extend(disk_onto_partition(backup, place));
        }
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
        Some((place, _)) => Some(wanted(opener.monitor, backup, place, need)?),
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
    let proof = Proof::Backup { backup: Arc::clone(backup), patched };
    Ok(WritePlan {
        need,
        notes,
        refusals,
        wanted,
        swapped: blank_backup && !blank,
        blank,
        holds: target.map(|(_, held)| held),
        work: Work {
            source,
            plan,
            filled: if fills { free } else { 0 },
            proof,
            last,
            sector,
            check: options.check,
            mend: false,
            touched: AtomicBool::new(false),
        },
    })
}

/// Bytes of free space that were left out of what is restored.
fn free_left_out(manifest: &image::Manifest, part: Option<u32>) -> u64 {
    if part.is_none() {
        let left_out: u64 = manifest.regions.iter().filter(|r| r.file.is_none()).map(|r| r.length).sum();
        return manifest.totals.map_or(0, |totals| totals.absent.saturating_sub(left_out));
    }
    let volumes = manifest.free_space.iter().flatten().filter(|volume| volume.partition == part);
    volumes.map(|volume| volume.absent).sum()
}

/// Does a target make zeroes at next to no cost? Disks with heads write them like everything else, and what they
/// held does no harm there.
fn zeroes_fast(monitor: &dyn Monitor, place: &Place) -> Result<bool> {
    let knows_how = monitor.io_hints(place.disk.instance)?.zeroes > 0;
    Ok(knows_how && place.disk.rotational == Some(false))
}

/// What a target holds, as it is shown before anything is written.
pub(crate) fn look(opener: &Opener<'_>, place: &Place) -> Result<Survey> {
    let subject = opener.open(&place.path, OpenOptions { live: true, ..OpenOptions::default() })?;
    survey(&subject.source, subject.sector, false)
}

fn wanted(monitor: &dyn Monitor, backup: &Backup, place: &Place, need: u64) -> Result<Wanted> {
    Ok(Wanted {
        instance: place.instance(),
        id: monitor.disk_id(place.instance())?,
        need,
        sector: backup.manifest().disk.sector_size,
        never: monitor.below(backup.store().path())?.disks,
    })
}

/// What speaks against this target now. It is judged again on the open handle.
pub(crate) fn in_the_way(monitor: &dyn Monitor, wanted: &Wanted, place: &Place) -> Result<Vec<String>> {
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

/// What has a partition table goes onto a whole disk.
fn disk_onto_partition(backup: &Backup, place: &Place) -> Option<String> {
    let manifest = backup.manifest();
    let is_disk =
        manifest.disk.kind == image::DiskKind::Disk || manifest.table.kind != image::TableKind::None;
    (is_disk && !place.is_whole_disk()).then(|| {
        format!(
            "{} is a partition, and this backup is of a whole disk: did you mean {}? For one partition of it: --part N",
            place.name(),
            place.disk.name
        )
    })
}

/// A partition goes onto a whole disk only where the same one is.
fn no_such_partition(region: &RegionInfo, place: &Place, held: &Survey) -> Option<String> {
    let same = |r: &&block::Region| r.role == region.role() && r.range == region.range();
    if held.layout.regions.iter().any(|r| same(&r)) {
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
    let has_gpt = backup.manifest().table.kind == image::TableKind::Gpt;
    notes.extend(if_larger(has_gpt, options.move_backup_gpt, have - need));
}

/// What to say of a target that has this many bytes more.
pub(crate) fn if_larger(has_gpt: bool, move_backup_gpt: bool, more: u64) -> Vec<String> {
    if move_backup_gpt {
        return vec![format!("the target is larger: the backup GPT moves to its end, {more} bytes on")];
    }
    let unused = format!("the target is larger: its last {more} bytes stay unused");
    let gpt = "the backup GPT will lie where it was, not at the target's end; --move-backup-gpt moves it";
    [unused].into_iter().chain(has_gpt.then(|| gpt.to_owned())).collect()
}

/// A backup GPT is moved only where there is one, and where the target has a size of its own.
pub(crate) fn can_move(has_gpt: bool, what: &str, destination: &Destination) -> Result<()> {
    let why = match (has_gpt, destination) {
        (true, Destination::Device(_)) => return Ok(()),
        (true, Destination::File(_)) => "a new image file is as large as the disk was".to_owned(),
        (false, _) => format!("{what} has no GPT"),
    };
    Err(Error::new(ErrorKind::Usage, format!("--move-backup-gpt: {why}")))
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
