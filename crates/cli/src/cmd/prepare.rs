//! `prepare`: makes a disk ready to keep backups.

use super::{Tools, job, target};
use crate::args::PrepareArgs;
use crate::exit::Exit;
use crate::ui::progress::Names;
use crate::ui::text::{exact, quoted};
use crate::ui::{json, say};
use block::{Error, ErrorKind, Result};
use device::{Monitor, Place, Target};
use engine::{NewFs, OpenOptions, PrepareOptions, PreparePlan, PrepareStep};
use serde::Serialize;
use std::path::Path;

/// The final document; docs/JSON.md.
#[derive(Serialize)]
struct Document<'a> {
    result: &'static str,
    disk: &'a str,
    partition: &'a str,
    size: u64,
    filesystem: &'a str,
    label: &'a str,
    mounted: Option<&'a str>,
    notes: &'a [String],
}

/// Carries out `prepare`.
pub fn run(args: &PrepareArgs, tools: &Tools) -> Result<Exit> {
    let fs = NewFs::from(args.fs);
    tools.monitor.check_prepare()?;
    let place = tools.monitor.find(&args.disk)?;
    let options = PrepareOptions { fs, label: args.label.clone() };
    let plan = engine::plan_prepare(&place, &tools.opener(), &options)?;
    target::notes(&plan.write)?;
    let from = format!("nothing: a new partition table and an empty {fs} {}", quoted(&plan.label));
    target::confirm(from, &plan.write, tools)?;

    let disk = place.path.display().to_string();
    let mut partition = format!("the partition of {disk}");
    let mut step = PrepareStep::Table;
    let target = target::claim(&plan.write, tools)?;
    let done = steps(args, tools, (&place, target), &plan, &mut step, &mut partition);
    done.inspect_err(|_| {
        if plan.write.touched() {
            say(&step.state(&disk, &partition, fs));
        }
    })?;
    finish(args, &disk, &partition, &plan)
}

/// All that is done after the question; `step` is what was begun last.
fn steps(
    args: &PrepareArgs,
    tools: &Tools,
    (place, target): (&Place, Target),
    plan: &PreparePlan,
    step: &mut PrepareStep,
    partition: &mut String,
) -> Result<()> {
    let names = Names { sink: place.path.display().to_string(), ..Names::default() };
    let grid = image::grid_for(plan.write.need);
    let written =
        job::run(tools, args.job, names, grid, |ctx| engine::write_disk(&plan.write, &target, ctx))?;
    if let Some((first, last)) = written.differ.first() {
        let words = format!("LBA {first} to {last} do not read back as they were written: take another disk");
        return Err(Error::new(ErrorKind::Io, words));
    }
    *step = PrepareStep::Node;
    let reread = tools.monitor.reread_table(&target);
    reread
        .map_err(|why| Error::new(ErrorKind::Io, format!("the kernel did not read the new table: {why}")))?;
    // Held as a whole, the disk keeps others from its partitions.
    drop(target);
    let node = tools.monitor.new_partition(plan.partition)?;
    *partition = node.display().to_string();

    *step = PrepareStep::Filesystem;
    tools.monitor.make_filesystem()?;
    is_made(tools, &node, plan)?;

    *step = PrepareStep::Mount;
    tools.monitor.mount_filesystem()
}

/// Is the filesystem there, under its label?
fn is_made(tools: &Tools, node: &Path, plan: &PreparePlan) -> Result<()> {
    let subject = tools.opener().open(node, OpenOptions { live: true, ..OpenOptions::default() })?;
    let survey = engine::survey(&subject.source, subject.sector, false)?;
    let content = survey.regions.first().and_then(|region| region.content.as_ref());
    let fs = plan.fs.to_string();
    match content {
        Some(content) if content.type_name == fs && content.label.as_deref() == Some(&plan.label) => Ok(()),
        _ => Err(Error::new(ErrorKind::Io, format!("mkfs.{fs} said that all is well, but made no {fs}"))),
    }
}

fn finish(args: &PrepareArgs, disk: &str, partition: &str, plan: &PreparePlan) -> Result<Exit> {
    let mounted = args.mount.as_ref().map(|dir| dir.display().to_string());
    let fs = plan.fs.to_string();
    let document = Document {
        result: json::result(Exit::Done),
        disk,
        partition,
        size: plan.partition.len(),
        filesystem: &fs,
        label: &plan.label,
        mounted: mounted.as_deref(),
        notes: &plan.write.notes,
    };
    let at = mounted.as_ref().map_or(String::new(), |dir| format!(", mounted at {dir}"));
    let answer = format!("{partition}: {fs} {}, {}{at}", quoted(&plan.label), exact(plan.partition.len()));
    let next = match &mounted {
        Some(dir) => format!("Back up a disk to it: selfsame save DISK {dir}"),
        None => format!("Mount it to use it: mount {partition} DIR"),
    };
    job::end(args.job, Exit::Done, &document, &answer, &next)
}
