//! `prepare`: makes a disk ready to keep backups.

use super::{Tools, job, restore};
use crate::args::{Fs, PrepareArgs};
use crate::confirm::Given;
use crate::exit::Exit;
use crate::ui::progress::Names;
use crate::ui::text::{exact, printable, quoted};
use crate::ui::{json, say};
use block::{Error, ErrorKind, Result};
use device::{Place, Target};
use engine::{NewFs, OpenOptions, PrepareOptions, PreparePlan, PrepareStep};
use serde::Serialize;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

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

/// Programs of the system, run with the privileges that they need.
trait Programs {
    /// Fails with [`ErrorKind::NotFound`] if there is no such program.
    fn find(&self, name: &str) -> Result<PathBuf>;

    /// Runs a program with its arguments to its end; fails with what it said.
    fn run(&self, words: &[String]) -> Result<()>;
}

/// Run by this process itself.
struct Here;

impl Programs for Here {
    fn find(&self, name: &str) -> Result<PathBuf> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        // The path of a user who became root by `su` lacks these.
        let more = ["/usr/sbin", "/sbin"].map(PathBuf::from);
        let found =
            std::env::split_paths(&path).chain(more).map(|dir| dir.join(name)).find(|file| file.is_file());
        found.ok_or_else(|| {
            let package = if name == "mkfs.exfat" { "exfatprogs" } else { "e2fsprogs" };
            let words =
                format!("there is no program {name}: install the package {package}; nothing was written");
            Error::new(ErrorKind::NotFound, words)
        })
    }

    fn run(&self, words: &[String]) -> Result<()> {
        let (name, rest) = words.split_first().ok_or_else(|| Error::new(ErrorKind::Bug, "no program"))?;
        let failed = |error| Error::io(error, format!("running {name}"));
        let output =
            Command::new(self.find(name)?).args(rest).stdin(Stdio::null()).output().map_err(failed)?;
        if output.status.success() {
            return Ok(());
        }
        let said = String::from_utf8_lossy(&output.stderr);
        Err(Error::new(ErrorKind::Io, format!("{name} failed: {}", printable(said.trim()))))
    }
}

/// How often and at what distance the node of the new partition is looked for.
const TRIES: u32 = 50;
const PAUSE: Duration = Duration::from_millis(100);

/// Carries out `prepare`.
pub fn run(args: &PrepareArgs, tools: &Tools) -> Result<Exit> {
    carry_out(args, tools, &Here)
}

fn carry_out(args: &PrepareArgs, tools: &Tools, programs: &dyn Programs) -> Result<Exit> {
    let fs = match args.fs {
        Fs::Ext4 => NewFs::Ext4,
        Fs::Exfat => NewFs::Exfat,
    };
    programs.find(&format!("mkfs.{fs}"))?;
    if let Some(dir) = args.mount.as_deref().filter(|dir| !dir.is_dir()) {
        return Err(Error::new(ErrorKind::NotFound, format!("no such folder: {}", dir.display())));
    }
    let place = tools.machine.find(&args.disk)?;
    let options = PrepareOptions { fs, label: args.label.clone() };
    let plan = engine::plan_prepare(&place, tools.machine.io_hints(&place.disk), &tools.opener(), &options)?;
    plan.write.notes.iter().for_each(|note| say(&format!("note: {note}")));
    if !plan.write.refusals.is_empty() {
        return Err(Error::new(ErrorKind::Refused, plan.write.refusals.join("; ")));
    }
    let given = Given { yes: args.yes, target_id: args.target_id.as_deref() };
    let from = format!("nothing: a new partition table and an empty {fs} {}", quoted(&plan.label));
    restore::confirm(&from, given, &plan.write, &place)?;

    let disk = place.path.display().to_string();
    let mut partition = format!("the partition of {disk}");
    let mut step = PrepareStep::Table;
    let target = restore::claim(&plan.write, tools)?;
    let done = steps(args, tools, programs, (&place, target), &plan, &mut step, &mut partition);
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
    programs: &dyn Programs,
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
    target
        .reread_table()
        .map_err(|why| Error::new(ErrorKind::Io, format!("the kernel did not read the new table: {why}")))?;
    // Held as a whole, the disk keeps others from its partitions.
    drop(target);
    let node = node(tools, place, plan)?;
    *partition = node.display().to_string();

    *step = PrepareStep::Filesystem;
    let id = |name: &str| std::env::var(name).ok()?.parse::<u32>().ok();
    let owner = id("SUDO_UID").zip(id("SUDO_GID"));
    programs.run(&engine::mkfs(plan.fs, &plan.label, partition, owner))?;
    is_made(tools, &node, plan)?;

    *step = PrepareStep::Mount;
    if let Some(dir) = &args.mount {
        let dir = dir.canonicalize().map_err(|error| Error::io(error, dir.display().to_string()))?;
        programs.run(&engine::mount(plan.fs, partition, &dir.to_string_lossy(), owner))?;
    }
    Ok(())
}

/// The node of the new partition, for which the kernel takes a moment.
fn node(tools: &Tools, place: &Place, plan: &PreparePlan) -> Result<PathBuf> {
    for _ in 0..TRIES {
        let disks = tools.machine.disks()?;
        let this = disks.iter().find(|disk| disk.instance == place.disk.instance);
        let this = this.ok_or_else(|| Error::new(ErrorKind::Gone, "the disk is gone"))?;
        let made = this.partitions.iter().find(|p| p.number == 1 && p.range == plan.partition);
        if let Some(made) = made.filter(|made| made.path.exists()) {
            return Ok(made.path.clone());
        }
        sleep(PAUSE);
    }
    Err(Error::new(ErrorKind::Io, "the kernel made no node for the new partition"))
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
