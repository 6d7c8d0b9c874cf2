//! Plans to copy a disk to a disk; [`crate::write_disk`] carries it out.

use crate::fit::{self, Device};
use crate::open::{Kind, Opener, Subject};
use crate::plan::Plan;
use crate::relocate;
use crate::restore::{Destination, can_move, if_larger, in_the_way, look};
use crate::save_plan::is_below;
use crate::survey::{Survey, survey};
use crate::write_disk::{Proof, Work, WritePlan, ends};
use block::{ByteRange, Error, ErrorKind, Found, Result, Role, SectorSize, Source};
use device::{Attached, Hidden, Place, Wanted};
use disk::Table;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// How a disk is to be copied.
#[derive(Clone, Copy, Debug)]
pub struct CloneOptions {
    /// Read the target back.
    pub check: bool,
    /// On a larger disk, move the backup GPT to its end.
    pub move_backup_gpt: bool,
    /// Give the copy ids of its own.
    pub new_ids: bool,
    /// Compare, and write only what differs. Onto devices only.
    pub mend: bool,
}

/// What a clone will do, judged before anybody is asked.
pub struct ClonePlan {
    /// What will be written.
    pub write: WritePlan,
    /// What is copied.
    pub survey: Survey,
    /// Ids that both disks have afterwards.
    pub twins: Vec<Twin>,
}

/// An id that is on two disks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Twin {
    /// Of what: "disk", "partition 1", "ext4 in partition 1".
    pub what: String,
    /// The id.
    pub id: String,
}

/// Decides where every byte goes, and collects all that speaks against it.
pub fn plan_clone(
    subject: &Subject,
    destination: &Destination,
    opener: &Opener<'_>,
    options: CloneOptions,
) -> Result<ClonePlan> {
    if subject.kind == Kind::Backup {
        let words = format!("{} is a backup: selfsame restore writes it to a disk", subject.word);
        return Err(Error::new(ErrorKind::Usage, words));
    }
    if subject.source.size() == 0 {
        return Err(Error::new(ErrorKind::Usage, format!("{} has no bytes", subject.word)));
    }
    let survey = survey(&subject.source, subject.sector, false)?;
    let has_gpt = matches!(survey.layout.table, Table::Gpt(_));
    if options.move_backup_gpt {
        can_move(has_gpt, &subject.name, destination)?;
    }
    let target = match destination {
        Destination::File(_) if options.mend => {
            let words = "--mend: a new image file has nothing that could be kept";
            return Err(Error::new(ErrorKind::Usage, words));
        }
        Destination::File(path) => {
            not_over_itself(subject, path, opener)?;
            None
        }
        Destination::Device(place) => Some((place, look(opener, place)?)),
    };
    let mut notes = notes(subject, &survey, opener);
    let mut refusals = vec![];
    let have = target.as_ref().map_or(subject.source.size(), |(place, _)| place.size());
    if let Some((place, _)) = &target {
        refusals.extend(another_kind(subject, &survey, place));
        if have < subject.source.size() {
            let too_large = does_not_fit(subject, &survey, have);
            if too_large.is_empty() {
                notes.extend(if_smaller(&survey, have));
            }
            refusals.extend(too_large);
        }
    }
    let mut placed = Placed::whole(subject)?;
    if options.new_ids {
        notes.extend(if_new_ids(&survey));
        let patches = disk::new_ids(&*subject.source, &survey.layout, || Ok(image::random_id()?.0))?;
        placed.source = relocate::patched(placed.source, subject.source.size(), patches);
    }
    // What does not fit cannot be placed either.
    if refusals.is_empty() {
        placed = placed.onto(have, &survey, options.move_backup_gpt, &mut notes)?;
    }
    let Placed { source, plan, last } = placed;
    let need = source.size();
    let sector = survey.layout.sector;
    let wanted = match &target {
        Some((place, _)) => Some(wanted(subject, opener, sector, place, need)?),
        None => None,
    };
    if let (Some((place, _)), Some(wanted)) = (&target, &wanted) {
        refusals.extend(in_the_way(opener.monitor, wanted, place)?);
    }
    let blank = target.as_ref().is_none_or(|(_, held)| held.is_blank());
    let write = WritePlan {
        need,
        notes,
        refusals,
        wanted,
        swapped: survey.is_blank() && !blank,
        blank,
        holds: target.map(|(_, held)| held),
        work: Work {
            source,
            plan,
            filled: 0,
            proof: Proof::Passed,
            last,
            sector,
            check: options.check,
            mend: options.mend,
            touched: AtomicBool::new(false),
        },
    };
    Ok(ClonePlan { write, twins: twins(&survey, options.new_ids), survey })
}

/// What the target will read as, and in which order it is written.
struct Placed {
    source: Source,
    plan: Plan,
    /// What makes it a disk.
    last: Vec<ByteRange>,
}

impl Placed {
    /// As it is. In one piece, so that what one read moves is aligned on the disk, not in its partitions.
    fn whole(subject: &Subject) -> Result<Self> {
        let size = subject.source.size();
        let source = Arc::clone(&subject.source);
        Ok(Self { source, plan: Plan::whole(size)?, last: ends(ByteRange::span(0, size)) })
    }

    /// On a target of `have` bytes.
    fn onto(self, have: u64, survey: &Survey, move_gpt: bool, notes: &mut Vec<String>) -> Result<Self> {
        let size = self.source.size();
        let sector = survey.layout.sector;
        let is_gpt = matches!(survey.layout.table, Table::Gpt(_));
        if have < size {
            let patches = if is_gpt { disk::gpt_moved(&*self.source, sector, have)? } else { vec![] };
            let source = relocate::patched(self.source, have, patches);
            return Ok(Self { source, plan: Plan::whole(have)?, last: ends(ByteRange::span(0, have)) });
        }
        if have == size {
            return Ok(self);
        }
        notes.extend(if_larger(is_gpt, move_gpt, have - size));
        let mut last = ends(ByteRange::span(0, have));
        if move_gpt {
            let moved = disk::gpt_moved(&*self.source, sector, have)?;
            let (source, plan) = relocate::larger(self.source, &self.plan, have, moved)?;
            return Ok(Self { source, plan, last });
        }
        // An old backup GPT at the target's end must not speak for the new disk.
        let behind = last.pop();
        Ok(Self { last: self.last.into_iter().chain(behind).collect(), ..self })
    }
}

/// What to know of the source before it is copied.
fn notes(subject: &Subject, survey: &Survey, opener: &Opener<'_>) -> Vec<String> {
    let mut notes = survey.advice();
    let Hidden { known, .. } =
        subject.place.as_ref().map(|place| opener.monitor.hidden(place.disk.instance)).unwrap_or_default();
    notes.extend(known.iter().map(|what| format!("not copied, the drive keeps it apart: {what}")));
    if subject.live {
        notes.push("it is mounted read-write: the copy may hold a torn state".to_owned());
    }
    notes
}

/// What does not find a copy with other ids.
fn if_new_ids(survey: &Survey) -> Vec<String> {
    let is_ntfs =
        |region: &crate::Surveyed| region.content.as_ref().is_some_and(|content| content.type_name == "ntfs");
    let mbr = matches!(survey.layout.table, Table::Mbr(_));
    let windows = mbr && survey.regions.iter().any(is_ntfs);
    let named = "what names the old ids (PARTUUID= in /etc/fstab or for the kernel) does not find the copy";
    let bcd = "Windows finds its system by the disk id: after the change it must be repaired (bcdboot)";
    [named].into_iter().chain(windows.then_some(bcd)).map(str::to_owned).collect()
}

/// Why it does not fit onto a smaller target, and what shrinks it.
fn does_not_fit(subject: &Subject, survey: &Survey, have: u64) -> Vec<String> {
    let path = subject.path.display();
    if subject.place.is_some() {
        return fit::onto_smaller(survey, have, &Device(path.to_string()));
    }
    let mut why = fit::onto_smaller(survey, have, &Device(Device::LOOP.to_owned()));
    if why.iter().any(|why| why.contains(Device::LOOP)) {
        why.push(format!("its loop device is made by `losetup --find --show --partscan {path}`"));
    }
    why
}

/// What a smaller target leaves out.
fn if_smaller(survey: &Survey, have: u64) -> Vec<String> {
    let layout = &survey.layout;
    let out = layout.size - have;
    let behind =
        |region: &&crate::Surveyed| region.region.range.end() > have && region.region.role == Role::Gap;
    let empty = survey.regions.iter().filter(behind).all(|r| r.filled.as_ref().is_none_or(|f| f.zero));
    let mut notes = vec![format!(
        "the target is smaller: the last {out} bytes, where no partition lies, are left out{}",
        if empty { "" } else { "; they are not all empty" }
    )];
    if matches!(layout.table, Table::Gpt(_)) {
        notes.push("the GPT is written for the smaller disk, its backup at the new end".to_owned());
    }
    notes
}

/// A disk goes onto a disk and a partition onto a partition, with sectors of one size.
fn another_kind(subject: &Subject, survey: &Survey, place: &Place) -> Vec<String> {
    let (from, to) = (&subject.name, place.name());
    let mut refusals = vec![];
    let has_table = survey.layout.table != Table::None;
    if subject.kind == Kind::Partition && place.is_whole_disk() && !place.disk.is_volume() {
        refusals.push(format!(
            "{from} is a partition and {to} a whole disk: name the partition to write to, or the disk to copy"
        ));
    }
    if !place.is_whole_disk() && (subject.kind == Kind::Disk || has_table) {
        refusals
            .push(format!("{from} is a whole disk and {to} a partition: did you mean {}?", place.disk.name));
    }
    let sector = survey.layout.sector;
    if u64::from(place.sector()) != sector.bytes() {
        refusals.push(format!(
            "{to} has sectors of {} bytes, {from} has {sector}: its table would be misread; copy it to an image \
             file, or onto a disk with {sector} bytes a sector",
            place.sector()
        ));
    }
    refusals
}

/// A new image file must not replace the one that is read, nor lie on what is read.
fn not_over_itself(subject: &Subject, path: &Path, opener: &Opener<'_>) -> Result<()> {
    let refused = |words: String| Err(Error::new(ErrorKind::Refused, words));
    // Where there is no such folder, making the file says so.
    let Ok(Found::Folder(folder)) = opener.files.find(block::folder_of(path)) else { return Ok(()) };
    if path.file_name().is_some_and(|name| folder.path().join(name) == subject.path) {
        return refused(format!("{} is what is copied: choose another name", path.display()));
    }
    if is_below(subject, opener.monitor, &opener.monitor.below(folder.path())?)? {
        return refused(format!(
            "{} lies on what is copied: choose a folder on another disk",
            path.display()
        ));
    }
    Ok(())
}

fn wanted(
    subject: &Subject,
    opener: &Opener<'_>,
    sector: SectorSize,
    place: &Place,
    need: u64,
) -> Result<Wanted> {
    Ok(Wanted {
        instance: place.instance(),
        id: opener.monitor.disk_id(place.instance())?,
        need,
        sector: u32::try_from(sector.bytes()).unwrap_or(512),
        never: never(subject, opener, place)?,
    })
}

/// The disks that must not be written to: the one that is read, or those that its file lies on; and a loop
/// device over that file.
fn never(subject: &Subject, opener: &Opener<'_>, target: &Place) -> Result<Vec<Attached>> {
    if let Some(place) = &subject.place {
        return Ok(vec![place.disk.attached()]);
    }
    let shows_it = target.disk.backing.as_deref().map(Path::new) == Some(&subject.path);
    let below = opener.monitor.below(subject.path.parent().unwrap_or(&subject.path))?.disks;
    Ok(below.into_iter().chain(shows_it.then(|| target.disk.attached())).collect())
}

/// The ids that the copy shares with what it was made of.
fn twins(survey: &Survey, new_ids: bool) -> Vec<Twin> {
    let layout = &survey.layout;
    let twin = |what: String, id: String| Twin { what, id };
    let mut twins = vec![];
    if !new_ids {
        twins.extend(layout.disk_label_id().map(|id| twin("disk".to_owned(), id)));
        // Those of an MBR follow from its disk id.
        let guids = layout.partitions.iter().filter_map(|p| Some((p.number, p.guid?)));
        twins.extend(guids.map(|(number, guid)| twin(format!("partition {number}"), guid.to_string())));
    }
    let volumes = survey.regions.iter().filter_map(|region| {
        let content = region.content.as_ref()?;
        Some(twin(format!("{} in {}", content.title, region.region.role), content.uuid.clone()?))
    });
    twins.extend(volumes);
    twins
}
