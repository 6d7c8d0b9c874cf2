//! `save`: backs up a disk.

use super::{Tools, job};
use crate::args::{Digest, Format, SaveArgs};
use crate::exit::Exit;
use crate::ui::text::{count, exact, percent, size};
use crate::ui::{json, progress::Names, say};
use block::{Files, Found, Result};
use engine::{Algorithm, OpenOptions, SaveOptions, SavePlan, Saved, Subject};
use serde::Serialize;

/// The final document; docs/JSON.md.
#[derive(Serialize)]
struct Document<'a> {
    result: &'static str,
    folder: String,
    seal: &'a str,
    name: &'a str,
    size: u64,
    stored: u64,
    missing: u64,
    absent: u64,
    notes: &'a [String],
}

/// What `--dry-run` prints; docs/JSON.md.
#[derive(Serialize)]
struct DryRun<'a> {
    result: &'static str,
    folder: String,
    size: u64,
    files: Vec<DryFile<'a>>,
    left_out: u64,
    free_left_out: u64,
    need: u64,
    free: u64,
    notes: &'a [String],
}

#[derive(Serialize)]
struct DryFile<'a> {
    name: &'a str,
    length: u64,
}

/// Carries out `save`.
pub fn run(args: &SaveArgs, tools: &Tools) -> Result<Exit> {
    let subject = tools
        .opener()
        .open(&args.source, OpenOptions { live: args.live, exclusive: true, sector: args.sector_size })?;
    let options = options(args);
    if args.name.is_none() && subject.kind != engine::Kind::Image {
        say(&format!("named after this machine: {}; --name gives another name", options.host));
    }
    let plan = engine::plan_save(&subject, &tools.opener(), &args.dest, options)?;
    plan.notes.iter().for_each(|note| say(&format!("note: {note}")));
    for part in &plan.unfinished {
        say(&format!(
            "note: an unfinished backup of this disk is in {}; delete it if it is not needed",
            part.display()
        ));
    }
    if args.dry_run {
        return dry_run(args, &subject, &plan);
    }
    let names = Names {
        source: subject.path.display().to_string(),
        sink: args.dest.display().to_string(),
        dest: match tools.monitor.find(&args.dest) {
            Ok(Found::Folder(folder) | Found::Nothing(folder, _)) => Some(folder),
            _ => None,
        },
        regions: plan
            .survey
            .regions
            .iter()
            .map(|r| (r.region.range.len(), r.region.role.to_string()))
            .collect(),
    };
    let notes = plan.notes.clone();
    let saved = job::run(tools, args.job, names, plan.grid(), |ctx| {
        engine::save(&subject, plan, &tools.monitor, ctx)
    })?;
    finish(args, &saved, &notes)
}

fn options(args: &SaveArgs) -> SaveOptions {
    SaveOptions {
        name: args.name.clone(),
        format: match args.format {
            Format::Zst => image::Encoding::Zst,
            Format::Raw => image::Encoding::Raw,
        },
        whole: args.whole,
        skip_free: args.skip_free,
        level: args.level,
        digests: args
            .digest
            .iter()
            .map(|digest| match digest {
                Digest::Sha256 => Algorithm::Sha256,
                Digest::Sha1 => Algorithm::Sha1,
                Digest::Md5 => Algorithm::Md5,
                Digest::Blake3 => Algorithm::Blake3,
            })
            .collect(),
        parts: args.part.clone(),
        split: args.split,
        note: args.note.clone(),
        check: !args.no_check,
        command_line: std::env::args_os()
            .map(|word| word.to_string_lossy().into_owned())
            .collect::<Vec<_>>()
            .join(" "),
        host: rustix::system::uname().nodename().to_string_lossy().into_owned(),
    }
}

fn dry_run(args: &SaveArgs, subject: &Subject, plan: &SavePlan) -> Result<Exit> {
    let folder = plan.dest.join(&plan.folder_name).display().to_string();
    let document = DryRun {
        result: "dry run",
        folder: folder.clone(),
        size: subject.source.size(),
        files: plan.files.iter().map(|file| DryFile { name: &file.name, length: file.length }).collect(),
        left_out: plan.left_out,
        free_left_out: plan.free_left_out,
        need: plan.need,
        free: plan.free,
        notes: &plan.notes,
    };
    let mut lines = vec![format!("would make {folder}")];
    lines.extend(plan.files.iter().map(|file| format!("  {:<40} of {}", file.name, exact(file.length))));
    if plan.left_out > 0 {
        lines.push(format!("left out: {}", exact(plan.left_out)));
    }
    if plan.free_left_out > 0 {
        lines.push(format!("free space left out: {}", exact(plan.free_left_out)));
    }
    lines.push(format!("needs about {}; {} are free", exact(plan.need), exact(plan.free)));
    match args.job.json {
        true => json::answer(&document)?,
        false => crate::ui::answer(&lines.join("\n"))?,
    }
    Ok(Exit::Done)
}

fn finish(args: &SaveArgs, saved: &Saved, notes: &[String]) -> Result<Exit> {
    let manifest = &saved.manifest;
    let folder = saved.folder.display().to_string();
    let document = Document {
        result: json::result(if saved.missing > 0 { Exit::Losses } else { Exit::Done }),
        folder: folder.clone(),
        seal: &saved.seal,
        name: &manifest.name,
        size: manifest.disk.size,
        stored: saved.stored,
        missing: saved.missing,
        absent: manifest.totals.map_or(0, |totals| totals.absent),
        notes,
    };
    let files = count(manifest.files.len() as u64, "stored file");
    let free = manifest.free_space.iter().flatten().map(|volume| volume.absent).sum();
    let without = match free {
        0 => String::new(),
        free => format!("\n{} of free space are not in it", exact(free)),
    };
    let answer = format!(
        "{folder}\n{} kept in {} ({}), {files}{without}\nseal {}",
        exact(manifest.disk.size),
        size(saved.stored),
        percent(saved.stored, manifest.disk.size),
        saved.seal
    );
    let (exit, next) = match (saved.missing, args.no_check) {
        (0, false) => (
            Exit::Done,
            format!("It was read back and is intact. Keep the seal: selfsame verify {folder} --expect SEAL"),
        ),
        (0, true) => (Exit::Done, format!("It was not read back. To check it: selfsame verify {folder}")),
        (bytes, _) => (Exit::Losses, format!("{} could not be read", exact(bytes))),
    };
    job::end(args.job, exit, &document, &answer, &next)
}
