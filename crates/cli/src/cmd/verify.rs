//! `verify`: proves a backup intact, and compares it with a disk.

use super::{Tools, checked, differing, job};
use crate::args::VerifyArgs;
use crate::exit::Exit;
use crate::ui::json;
use crate::ui::progress::Names;
use crate::ui::text::{count, exact};
use block::Result;
use engine::{Differences, Fault, OpenOptions, Verified};
use image::{Backup, Store};
use serde::Serialize;

/// The final document; docs/JSON.md.
#[derive(Serialize)]
struct Document<'a> {
    result: &'static str,
    intact: bool,
    faults: Vec<FaultOut<'a>>,
    seal: &'a str,
    name: &'a str,
    files: usize,
    bytes: u64,
    bad: u64,
    absent: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    against: Option<AgainstOut<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    filesystems: Option<checked::CheckedOut>,
}

#[derive(Serialize)]
struct FaultOut<'a> {
    file: &'a str,
    region: Option<&'a str>,
    first_lba: Option<u64>,
    last_lba: Option<u64>,
    what: &'a str,
}

#[derive(Serialize)]
struct AgainstOut<'a> {
    differing_sectors: u64,
    ranges: &'a [(u64, u64)],
    places: u64,
    classes: Vec<differing::DifferingOut<'a>>,
    not_compared: u64,
    size_difference: i128,
}

/// Ranges that are printed; a JSON document has more.
const SHOWN: usize = 20;

/// Carries out `verify`.
pub fn run(args: &VerifyArgs, tools: &Tools) -> Result<Exit> {
    let folder = engine::folder(&tools.monitor, &args.backup, "backup")?;
    let grid = job::grid(&folder);
    let names = Names { source: args.backup.display().to_string(), ..Names::default() };
    let expect = args.expect.as_deref();
    let found = job::run(tools, args.job, names, grid, |ctx| engine::verify(&folder, expect, ctx))?;
    let intact = found.faults.is_empty();
    let differences = match &args.against {
        Some(word) if intact => {
            let reference =
                tools.opener().open(word, OpenOptions { live: true, ..OpenOptions::default() })?;
            let backup = Backup::of(Store::of(folder))?;
            let names = Names { source: reference.path.display().to_string(), ..Names::default() };
            Some(job::run(tools, args.job, names, grid, |ctx| engine::against(&backup, &reference, ctx))?)
        }
        _ => None,
    };
    let files = match args.files && intact {
        true => Some(checked::check(args, tools, grid)?),
        false => None,
    };
    let same = differences.as_ref().is_none_or(|found| found.sectors == 0 && found.size == 0);
    let exit = match (intact && same, &files) {
        (true, Some(files)) => checked::exit(files),
        (true, None) => Exit::Done,
        (false, _) => Exit::Mismatch,
    };
    let document = Document {
        result: json::result(exit),
        intact,
        faults: found.faults.iter().map(out).collect(),
        seal: &found.seal,
        name: &found.name,
        files: found.files,
        bytes: found.bytes,
        bad: found.bad,
        absent: found.absent,
        against: differences.as_ref().map(|found| AgainstOut {
            differing_sectors: found.sectors,
            ranges: &found.lba,
            places: found.places,
            classes: found.classes.iter().map(differing::out).collect(),
            not_compared: found.not_compared,
            size_difference: found.size,
        }),
        filesystems: files.as_ref().map(checked::out),
    };
    let mut lines = report(&found);
    if let (Some(found), Some(word)) = (&differences, &args.against) {
        lines.extend(compared(found, &word.display().to_string()));
    }
    lines.extend(files.iter().flat_map(checked::lines));
    let next = match (intact, same) {
        (true, true) if exit == Exit::Losses => {
            "Some files are not whole: their sectors could not be read when it was saved"
        }
        (true, true) if exit == Exit::Mismatch => {
            "The backup is intact; what it holds was damaged already: check the disk's filesystems"
        }
        (false, _) => "Do not restore from it; save the disk again while it is there",
        (true, false) => "The backup is intact, but the other one is not the same",
        (true, true) => "",
    };
    job::end(args.job, exit, &document, &lines.join("\n"), next)
}

fn out(fault: &Fault) -> FaultOut<'_> {
    FaultOut {
        file: &fault.file,
        region: fault.region.as_deref(),
        first_lba: fault.lba.map(|(first, _)| first),
        last_lba: fault.lba.map(|(_, last)| last),
        what: &fault.what,
    }
}

fn report(found: &Verified) -> Vec<String> {
    let mut lines: Vec<String> = found.faults.iter().map(|fault| format!("damaged: {fault}")).collect();
    if lines.is_empty() {
        let files = count(found.files as u64, "file");
        lines.push(format!("{}: intact: {files}, {}", found.name, exact(found.bytes)));
    }
    if found.bad > 0 {
        lines.push(format!("{} of the disk could not be read when it was saved", exact(found.bad)));
    }
    if found.absent > 0 {
        lines.push(format!("{} of the disk were left out when it was saved", exact(found.absent)));
    }
    lines.push(format!("seal {}", found.seal));
    lines
}

fn compared(found: &Differences, word: &str) -> Vec<String> {
    let mut lines = match found.sectors {
        0 => vec![format!("{word}: every sector of the backup is the same")],
        sectors => vec![format!("{word}: {} differ", count(sectors, "sector"))],
    };
    for (first, last) in found.lba.iter().take(SHOWN) {
        lines.push(format!("  LBA {first} to {last}"));
    }
    if found.places > SHOWN as u64 {
        lines.push(format!("  and {} more ranges", found.places - SHOWN as u64));
    }
    if found.size != 0 {
        lines.push(format!("{word} has {:+} bytes", found.size));
    }
    if found.not_compared > 0 {
        lines.push(format!("not compared: {} that the backup does not hold", exact(found.not_compared)));
    }
    lines.extend(differing::lines(&found.classes));
    lines
}
