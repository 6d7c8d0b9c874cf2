//! What `restore`, `clone` and `prepare` write to: named, shown, claimed, written.

use super::Tools;
use crate::exit::Exit;
use crate::monitor::Asked;
use crate::ui::say;
use crate::ui::text::size;
use block::{Error, ErrorKind, Result, WriteAt};
use device::Monitor;
use engine::{Destination, WritePlan, Written};
use image::ImageFile;
use std::path::Path;

/// A plan that is to be carried out.
pub(super) struct Job<'a> {
    /// What is written.
    pub(super) plan: &'a WritePlan,
    /// What is copied, in words.
    pub(super) from: String,
    /// Over an image file that exists.
    pub(super) force: bool,
    /// The kernel shall read the partition table of a disk that was written.
    pub(super) table: bool,
}

impl Job<'_> {
    /// Has `write` do the work, on a file that gets its name only when all is well, or on a disk that was confirmed
    /// and claimed. The target's name, and what was written.
    pub(super) fn run(
        self,
        destination: &Destination,
        tools: &Tools,
        notes: &mut Vec<String>,
        write: impl FnOnce(&dyn WriteAt, &str) -> Result<Written>,
    ) -> Result<(String, Written)> {
        let plan = self.plan;
        let place = match destination {
            Destination::File(path) => {
                let name = path.display().to_string();
                let target = ImageFile::create(&tools.monitor, path, plan.need, self.force)?;
                let written = write(&target, &name)?;
                if written.differ.is_empty() {
                    target.publish()?;
                }
                return Ok((name, written));
            }
            Destination::Device(place) => place,
        };
        confirm(self.from, plan, tools)?;
        let target = claim(plan, tools)?;
        let name = place.path.display().to_string();
        let written = write(&target, &name).inspect_err(|_| {
            if plan.touched() {
                say(&format!("{name} is no disk now: what makes it one was not written"));
            }
        })?;
        if self.table
            && place.is_whole_disk()
            && let Err(why) = tools.monitor.reread_table(&target)
        {
            let words = format!(
                "the kernel did not read the new table ({why}): unplug the disk and plug it in again"
            );
            notes.push(words);
        }
        Ok((name, written))
    }
}

/// Says the notes of a plan, which come back; fails with what speaks against it.
pub(super) fn notes(plan: &WritePlan) -> Result<Vec<String>> {
    plan.notes.iter().for_each(|note| say(&format!("note: {note}")));
    match plan.refusals.is_empty() {
        true => Ok(plan.notes.clone()),
        false => Err(Error::new(ErrorKind::Refused, plan.refusals.join("; "))),
    }
}

/// How it went.
pub(super) fn exit(written: &Written) -> Exit {
    match written {
        written if !written.differ.is_empty() => Exit::Mismatch,
        written if written.bad > 0 => Exit::Losses,
        _ => Exit::Done,
    }
}

/// Lines about sectors that did not keep what was written to them: the first ones.
pub(super) fn differences(written: &Written) -> impl Iterator<Item = String> + '_ {
    let line =
        |(first, last): &(u64, u64)| format!("LBA {first} to {last} do not read back as they were written");
    written.differ.iter().take(20).map(line)
}

/// What a word names: a device, or a new image file, which has a slash in its name.
pub(super) fn named(path: &Path, tools: &Tools) -> Result<Destination> {
    let word = path.to_string_lossy();
    match tools.monitor.find(&word) {
        Ok(place) => Ok(Destination::Device(Box::new(place))),
        // Several have this serial: which one is meant is not guessed.
        Err(several) if several.kind() == ErrorKind::Usage => Err(several.with_kind(ErrorKind::Refused)),
        Err(no_device) if word.starts_with("/dev/") => Err(no_device.with_kind(ErrorKind::Refused)),
        Err(no_device) if !word.contains('/') => {
            Err(no_device.context(format!("for a new image file write ./{word}")))
        }
        Err(_) => Ok(Destination::File(path.to_owned())),
    }
}

/// Has the monitor show what would be written and what would be lost, and ask. `from`: what is copied.
pub(super) fn confirm(from: String, plan: &WritePlan, tools: &Tools) -> Result<()> {
    let wanted = plan.wanted.as_ref().ok_or_else(|| Error::new(ErrorKind::Bug, "no target"))?;
    let mut holds = vec![];
    if let Some(survey) = plan.holds.as_ref().filter(|_| !plan.blank) {
        if survey.regions.iter().all(|surveyed| surveyed.content.is_none()) {
            holds.push("  nothing that is recognised, but bytes that are not zero".to_owned());
        }
        for surveyed in &survey.regions {
            if let Some(content) = &surveyed.content {
                holds.push(format!(
                    "  {}: {}, {}",
                    surveyed.region.role,
                    size(surveyed.region.range.len()),
                    content.sentence()
                ));
            }
        }
    }
    if plan.swapped {
        holds.push("What is copied is a BLANK disk and this disk is not blank: are they swapped?".to_owned());
    }
    let (instance, id) = (wanted.instance, wanted.id);
    tools.monitor.confirm(Asked { instance, id, blank: plan.blank, from, holds })
}

/// Claims what was confirmed.
pub(super) fn claim(plan: &WritePlan, tools: &Tools) -> Result<device::Target> {
    let wanted = plan.wanted.as_ref().ok_or_else(|| Error::new(ErrorKind::Bug, "no target"))?;
    tools.monitor.claim(wanted)?.map_err(|refusals| {
        let all: Vec<String> = refusals.iter().map(ToString::to_string).collect();
        Error::new(ErrorKind::Refused, all.join("; "))
    })
}
