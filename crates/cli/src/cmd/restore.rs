//! `restore`: writes a backup to a disk or to a new image file.

use super::boot::{Boot, BootOut};
use super::{Tools, job};
use crate::args::RestoreArgs;
use crate::exit::Exit;
use crate::monitor::Asked;
use crate::ui::progress::Names;
use crate::ui::text::{exact, size};
use crate::ui::{json, say};
use block::{Error, ErrorKind, Result};
use device::{Monitor, Place};
use engine::{Destination, Origin, RestoreOptions, WritePlan, Written};
use image::{Backup, ImageFile, Store};
use serde::Serialize;
use std::path::Path;
use std::sync::Arc;

/// The final document; docs/JSON.md.
#[derive(Serialize)]
struct Document<'a> {
    result: &'static str,
    target: &'a str,
    bytes: u64,
    bad: u64,
    absent: u64,
    differ: &'a [(u64, u64)],
    #[serde(skip_serializing_if = "Option::is_none")]
    boot: Option<BootOut<'a>>,
    notes: &'a [String],
}

/// Carries out `restore`.
pub fn run(args: &RestoreArgs, tools: &Tools) -> Result<Exit> {
    let folder = engine::folder(&tools.monitor, &args.backup, "backup")?;
    let backup = Arc::new(Backup::of(Store::of(folder))?);
    let destination = destination(args, &backup, tools)?;
    let options =
        RestoreOptions { part: args.part, check: !args.no_check, move_backup_gpt: args.move_backup_gpt };
    let plan = engine::plan_restore(&backup, &destination, &tools.opener(), options)?;
    let mut notes = plan.notes.clone();
    notes.iter().for_each(|note| say(&format!("note: {note}")));
    if !plan.refusals.is_empty() {
        return Err(Error::new(ErrorKind::Refused, plan.refusals.join("; ")));
    }
    let (name, restored) = match &destination {
        Destination::File(path) => {
            let target = ImageFile::create(&tools.monitor, path, plan.need, args.force)?;
            let restored = write(args, tools, &backup, &plan, &target, &path.display().to_string())?;
            if restored.differ.is_empty() {
                target.publish()?;
            }
            (path.display().to_string(), restored)
        }
        Destination::Device(place) => {
            let manifest = backup.manifest();
            let from = format!("{}: {}, {}", args.backup.display(), manifest.name, size(manifest.disk.size));
            confirm(from, &plan, tools)?;
            let target = claim(&plan, tools)?;
            let name = place.path.display().to_string();
            let restored =
                write(args, tools, &backup, &plan, &target, &name).inspect_err(|_| no_disk(&name, &plan))?;
            if args.part.is_none()
                && let Err(why) = tools.monitor.reread_table(&target)
            {
                notes.push(format!(
                    "the kernel did not read the new table ({why}): unplug the disk and plug it in again"
                ));
            }
            (name, restored)
        }
    };
    let boot = if args.part.is_none() { boot(&backup, &plan, &destination) } else { None };
    let is_disk = matches!(&destination, Destination::Device(place) if place.is_whole_disk());
    let twin = backup.manifest().table.id.as_deref().filter(|_| is_disk && args.part.is_none());
    finish(args, &name, &restored, &notes, twin, boot.as_ref())
}

/// Whether what was written will start.
fn boot(backup: &Backup, plan: &WritePlan, destination: &Destination) -> Option<Boot> {
    let manifest = backup.manifest();
    let device = match destination {
        Destination::Device(place) if place.is_whole_disk() => Some(place),
        Destination::Device(_) => return None,
        Destination::File(_) => None,
    };
    let origin = Origin {
        firmware: manifest.firmware.as_ref().map(|firmware| firmware.entries.clone()).unwrap_or_default(),
        transport: manifest.disk.transport.clone(),
        now: device.map(|place| place.identity().transport).unwrap_or_default(),
    };
    let path = device.map(|place| place.path.display().to_string());
    Boot::of(engine::boot_report(plan, &origin), path.as_deref())
}

/// Proves what is not read anyway, then writes.
fn write(
    args: &RestoreArgs,
    tools: &Tools,
    backup: &Backup,
    plan: &WritePlan,
    target: &dyn block::WriteAt,
    name: &str,
) -> Result<Written> {
    let names =
        Names { source: args.backup.display().to_string(), sink: name.to_owned(), ..Names::default() };
    job::run(tools, args.job, names, backup.manifest().grid, |ctx| {
        engine::check_rest(backup, ctx)?;
        engine::write_disk(plan, target, ctx)
    })
}

/// What TARGET names: a device, or a new image file, which has a slash in its name.
fn destination(args: &RestoreArgs, backup: &Backup, tools: &Tools) -> Result<Destination> {
    let Some(path) = &args.target else {
        let found = engine::propose_target(backup, &tools.monitor)?;
        return match <[Place; 1]>::try_from(found) {
            Ok([place]) => Ok(Destination::Device(Box::new(place))),
            Err(none) if none.is_empty() => {
                let was = &backup.manifest().disk;
                let why = match was.serial.is_empty() && was.wwn.is_empty() {
                    true => "has neither serial nor WWN to be known by",
                    false => "is not here",
                };
                let words = format!(
                    "the disk that this backup came from {why}: name the disk or the new image file (./NAME) to write to"
                );
                Err(Error::new(ErrorKind::NotFound, words))
            }
            Err(several) => {
                let names: Vec<String> = several.iter().map(Place::name).collect();
                let words =
                    format!("several disks may be the one it came from: {}: name one", names.join(", "));
                Err(Error::new(ErrorKind::Refused, words))
            }
        };
    };
    named(path, tools)
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

/// After a failure: what the target is now, if it was written to.
pub(super) fn no_disk(name: &str, plan: &WritePlan) {
    if plan.touched() {
        say(&format!("{name} is no disk now: what makes it one was not written"));
    }
}

/// Claims what was confirmed.
pub(super) fn claim(plan: &WritePlan, tools: &Tools) -> Result<device::Target> {
    let wanted = plan.wanted.as_ref().ok_or_else(|| Error::new(ErrorKind::Bug, "no target"))?;
    tools.monitor.claim(wanted)?.map_err(|refusals| {
        let all: Vec<String> = refusals.iter().map(ToString::to_string).collect();
        Error::new(ErrorKind::Refused, all.join("; "))
    })
}

/// `twin`: the disk id that the target shares now with the disk that was saved.
fn finish(
    args: &RestoreArgs,
    name: &str,
    restored: &Written,
    notes: &[String],
    twin: Option<&str>,
    boot: Option<&Boot>,
) -> Result<Exit> {
    let exit = match restored {
        restored if !restored.differ.is_empty() => Exit::Mismatch,
        restored if restored.bad > 0 => Exit::Losses,
        _ => Exit::Done,
    };
    let document = Document {
        result: json::result(exit),
        target: name,
        bytes: restored.bytes,
        bad: restored.bad,
        absent: restored.absent,
        differ: &restored.differ,
        boot: boot.map(Boot::out),
        notes,
    };
    let mut lines = vec![format!("{name}: {} written", exact(restored.bytes))];
    for (first, last) in restored.differ.iter().take(20) {
        lines.push(format!("LBA {first} to {last} do not read back as they were written"));
    }
    if restored.bad > 0 {
        lines.push(format!("{} are bad in the backup and are zeroes now", exact(restored.bad)));
    }
    if restored.absent > 0 {
        lines.push(format!("{} are not in the backup and are zeroes now", exact(restored.absent)));
    }
    lines.extend(boot.iter().filter(|_| exit != Exit::Mismatch).flat_map(|boot| boot.lines()));
    let next = match (exit, args.no_check) {
        (Exit::Mismatch, _) => "The target is not to be trusted: try another one",
        (_, true) => "It was not read back",
        _ => "It was read back and is the same",
    };
    let next = match twin.filter(|_| exit != Exit::Mismatch) {
        Some(id) => {
            format!("{next}. Two disks have id {id} now: unplug one of them before you start a system")
        }
        None => next.to_owned(),
    };
    job::end(args.job, exit, &document, &lines.join("\n"), &next)
}
