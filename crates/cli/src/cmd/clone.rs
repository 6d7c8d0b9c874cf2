//! `clone`: copies a disk to a disk, without an image between.

use super::boot::{Boot, BootOut};
use super::target::{self, Job};
use super::{Tools, job};
use crate::args::CloneArgs;
use crate::exit::Exit;
use crate::ui::json;
use crate::ui::progress::Names;
use crate::ui::text::{count, exact, quoted, size};
use block::Result;
use device::Monitor;
use engine::{CloneOptions, ClonePlan, Destination, OpenOptions, Origin, Subject, Twin, Written};
use serde::Serialize;

/// The final document; docs/JSON.md.
#[derive(Serialize)]
struct Document<'a> {
    result: &'static str,
    target: &'a str,
    bytes: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    mended: Option<u64>,
    bad: u64,
    differ: &'a [(u64, u64)],
    twins: Vec<TwinOut<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    boot: Option<BootOut<'a>>,
    notes: &'a [String],
}

/// An id that two disks have now.
#[derive(Serialize)]
struct TwinOut<'a> {
    what: &'a str,
    id: &'a str,
}

/// Carries out `clone`.
pub fn run(args: &CloneArgs, tools: &Tools) -> Result<Exit> {
    let opening = OpenOptions { live: args.live, exclusive: true, sector: args.sector_size };
    let destination = target::named(&args.target, tools)?;
    let subject = tools.opener().open(&args.source, opening)?;
    let options = CloneOptions {
        check: !args.no_check,
        move_backup_gpt: args.move_backup_gpt,
        new_ids: args.new_ids,
        mend: args.mend,
    };
    let plan = engine::plan_clone(&subject, &destination, &tools.opener(), options)?;
    let mut notes = target::notes(&plan.write)?;
    let job = Job { plan: &plan.write, from: from(&subject, &plan), force: args.force, table: true };
    let (name, written) = job.run(&destination, tools, &mut notes, |target, name| {
        let names =
            Names { source: subject.path.display().to_string(), sink: name.to_owned(), ..Names::default() };
        let grid = image::grid_for(plan.write.need);
        job::run(tools, args.job, names, grid, |ctx| engine::write_disk(&plan.write, target, ctx))
    })?;
    let boot = boot(&subject, &plan, &destination, tools);
    let is_device = matches!(destination, Destination::Device(_));
    let twins = if is_device { &plan.twins[..] } else { &[] };
    finish(args, &name, &written, &notes, twins, boot.as_ref())
}

/// Whether what was written will start.
fn boot(subject: &Subject, plan: &ClonePlan, destination: &Destination, tools: &Tools) -> Option<Boot> {
    let device = match destination {
        Destination::Device(place) if place.is_whole_disk() => Some(place),
        Destination::Device(_) => return None,
        Destination::File(_) => None,
    };
    let from = subject.place.as_ref();
    let firmware = from.and_then(|_| engine::firmware(&tools.monitor.boot_variables(), &plan.survey.layout));
    let origin = Origin {
        firmware: firmware.map(|firmware| firmware.entries).unwrap_or_default(),
        transport: from.map(|place| place.identity().transport).unwrap_or_default(),
        now: device.map(|place| place.identity().transport).unwrap_or_default(),
    };
    let path = device.map(|place| place.path.display().to_string());
    Boot::of(engine::boot_report(&plan.write, &origin), path.as_deref())
}

/// What is copied, in words.
fn from(subject: &Subject, plan: &ClonePlan) -> String {
    let path = subject.path.display();
    let bytes = size(subject.source.size());
    let Some(place) = &subject.place else { return format!("{path}: {}, {bytes}", subject.kind) };
    let identity = place.identity();
    let held = plan.survey.regions.iter().filter_map(|region| region.content.as_ref());
    let labels: Vec<String> = held.filter_map(|content| content.label.as_deref().map(quoted)).collect();
    let labels = if labels.is_empty() { String::new() } else { format!(", holds {}", labels.join(", ")) };
    let serial = if identity.serial.is_empty() { "-" } else { &identity.serial };
    format!("{path}: {} {}, serial {serial}, {bytes}{labels}", identity.transport, identity.model)
}

fn finish(
    args: &CloneArgs,
    name: &str,
    written: &Written,
    notes: &[String],
    twins: &[Twin],
    boot: Option<&Boot>,
) -> Result<Exit> {
    let exit = target::exit(written);
    let document = Document {
        result: json::result(exit),
        target: name,
        bytes: written.bytes,
        mended: written.mended,
        bad: written.bad,
        differ: &written.differ,
        twins: twins.iter().map(|twin| TwinOut { what: &twin.what, id: &twin.id }).collect(),
        boot: boot.map(Boot::out),
        notes,
    };
    let mut lines = vec![match written.mended {
        Some(bytes) => format!("{name}: {} compared, {} written", exact(written.bytes), exact(bytes)),
        None => format!("{name}: {} written", exact(written.bytes)),
    }];
    lines.extend(target::differences(written));
    if !twins.is_empty() && exit != Exit::Mismatch {
        lines.push("on both disks now:".to_owned());
        lines.extend(twins.iter().map(|twin| format!("  id of {}: {}", twin.what, twin.id)));
    }
    lines.extend(boot.iter().filter(|_| exit != Exit::Mismatch).flat_map(|boot| boot.lines()));
    let next = match (exit, args.no_check) {
        (Exit::Mismatch, _) => "The target is not to be trusted: try another one".to_owned(),
        (_, _) if written.mended == Some(0) => format!("It was the same already{}", unplug(twins)),
        (_, true) => format!("It was not read back{}", unplug(twins)),
        _ => format!("It was read back and is the same{}", unplug(twins)),
    };
    job::end(args.job, exit, &document, &lines.join("\n"), &next)
}

/// What to do about ids that two disks have.
fn unplug(twins: &[Twin]) -> String {
    let Some(first) = twins.first() else { return String::new() };
    let more = match twins.len() {
        1 => String::new(),
        all => format!(" and {}", count(all as u64 - 1, "more id")),
    };
    let what = if first.what == "disk" { String::new() } else { format!(" of {}", first.what) };
    format!(". Two disks have id {}{what}{more} now: unplug one of them before you start a system", first.id)
}
