//! `restore`: writes a backup to a disk or to a new image file.

use super::boot::{Boot, BootOut};
use super::target::{self, Job};
use super::{Tools, job};
use crate::args::RestoreArgs;
use crate::exit::Exit;
use crate::ui::json;
use crate::ui::progress::Names;
use crate::ui::text::{exact, size};
use block::{Error, ErrorKind, Result};
use device::Place;
use engine::{Destination, Origin, RestoreOptions, WritePlan, Written};
use image::{Backup, Store};
use serde::Serialize;
use std::sync::Arc;

/// The final document; docs/JSON.md.
#[derive(Serialize)]
struct Document<'a> {
    result: &'static str,
    target: &'a str,
    bytes: u64,
    bad: u64,
    absent: u64,
    kept: u64,
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
    let mut notes = target::notes(&plan)?;
    let manifest = backup.manifest();
    let from = format!("{}: {}, {}", args.backup.display(), manifest.name, size(manifest.disk.size));
    let whole = args.part.is_none();
    let job = Job { plan: &plan, from, force: args.force, table: whole };
    let (name, restored) = job.run(&destination, tools, &mut notes, |target, name| {
        let names =
            Names { source: args.backup.display().to_string(), sink: name.to_owned(), ..Names::default() };
        job::run(tools, args.job, names, backup.manifest().grid, |ctx| {
            // What is not read anyway is proved first.
            engine::check_rest(&backup, ctx)?;
            engine::write_disk(&plan, target, ctx)
        })
    })?;
    let boot = if whole { boot(&backup, &plan, &destination) } else { None };
    let is_disk = matches!(&destination, Destination::Device(place) if place.is_whole_disk());
    let twin = backup.manifest().table.id.as_deref().filter(|_| is_disk && whole);
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
    target::named(path, tools)
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
    let exit = target::exit(restored);
    let document = Document {
        result: json::result(exit),
        target: name,
        bytes: restored.bytes,
        bad: restored.bad,
        absent: restored.absent,
        kept: restored.kept,
        differ: &restored.differ,
        boot: boot.map(Boot::out),
        notes,
    };
    let mut lines = vec![format!("{name}: {} written", exact(restored.bytes))];
    lines.extend(target::differences(restored));
    if restored.bad > 0 {
        lines.push(format!("{} are bad in the backup and are zeroes now", exact(restored.bad)));
    }
    let zeroed = restored.absent.saturating_sub(restored.kept);
    if zeroed > 0 {
        lines.push(format!("{} are not in the backup and are zeroes now", exact(zeroed)));
    }
    if restored.kept > 0 {
        let kept = exact(restored.kept);
        lines.push(format!("{kept} that were not saved keep what the target held"));
    }
    lines.extend(boot.iter().filter(|_| exit != Exit::Mismatch).flat_map(|boot| boot.lines()));
    let next = match (exit, args.no_check) {
        (Exit::Mismatch, _) => "The target is not to be trusted: try another one",
        (_, true) => "It was not read back",
        _ if restored.absent > 0 => {
            "All that the backup holds was read back and is the same; the free space is not that of the disk that was saved"
        }
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
