//! `verify --files`: what became of reading all files, in words and JSON.

use super::{Tools, files, job};
use crate::args::VerifyArgs;
use crate::exit::Exit;
use crate::ui::json::Name;
use crate::ui::progress::Names;
use crate::ui::text::{count, exact};
use block::Result;
use engine::browse::{FileFault, FilesChecked, PartChecked, check_files};
use serde::Serialize;

/// Faults that are printed; a JSON document has more.
const SHOWN: usize = 100;

/// `filesystems` of the document; docs/JSON.md.
#[derive(Serialize)]
pub(super) struct CheckedOut {
    parts: Vec<PartOut>,
    failed: u64,
    faults: Vec<FaultOut>,
}

#[derive(Serialize)]
struct PartOut {
    part: String,
    #[serde(rename = "type")]
    kind: Option<&'static str>,
    refused: Option<String>,
    files: u64,
    folders: u64,
    others: u64,
    bytes: u64,
}

#[derive(Serialize)]
pub(super) struct FaultOut {
    part: String,
    #[serde(flatten)]
    name: Name,
    error: String,
    lost: bool,
    first_lba: Option<u64>,
    last_lba: Option<u64>,
}

/// Reads all files of a backup.
pub(super) fn check(args: &VerifyArgs, tools: &Tools, grid: u64) -> Result<FilesChecked> {
    let volumes = files::volumes(tools, &args.backup, None)?;
    let names = Names { source: args.backup.display().to_string(), ..Names::default() };
    job::run(tools, args.job, names, grid, |ctx| check_files(&volumes, ctx, |_| true))
}

/// Wrong bytes are worse than those that are known to be lost.
pub(super) fn exit(files: &FilesChecked) -> Exit {
    match (files.failed, files.wrong) {
        (0, _) => Exit::Done,
        (_, 0) => Exit::Losses,
        _ => Exit::Mismatch,
    }
}

pub(super) fn out(files: &FilesChecked) -> CheckedOut {
    let part = |part: &PartChecked| PartOut {
        part: part.name.clone(),
        kind: part.type_name,
        refused: part.refused.clone(),
        files: part.files,
        folders: part.folders,
        others: part.others,
        bytes: part.bytes,
    };
    CheckedOut {
        parts: files.parts.iter().map(part).collect(),
        failed: files.failed,
        faults: files.faults.iter().map(fault_out).collect(),
    }
}

pub(super) fn fault_out(fault: &FileFault) -> FaultOut {
    FaultOut {
        part: fault.part.clone(),
        name: Name::new(&fault.path),
        error: fault.what.clone(),
        lost: fault.lost,
        first_lba: fault.lba.map(|(first, _)| first),
        last_lba: fault.lba.map(|(_, last)| last),
    }
}

/// One file, as it is typed for `ls`.
pub(super) fn fault_line(fault: &FileFault) -> String {
    let place = match fault.lba {
        Some((first, last)) if first == last => format!("; LBA {first} of the disk"),
        Some((first, last)) => format!("; LBA {first} to {last} of the disk"),
        None => String::new(),
    };
    format!("{}/{}: {}{place}", fault.part, String::from_utf8_lossy(&fault.path), fault.what)
}

pub(super) fn lines(files: &FilesChecked) -> Vec<String> {
    let part = |part: &PartChecked| match &part.refused {
        Some(why) => format!("files not read: {why}"),
        None => format!(
            "{}: {} read: {}, {}, {}",
            part.name,
            part.type_name.unwrap_or("files"),
            count(part.files, "file"),
            count(part.folders, "folder"),
            exact(part.bytes)
        ),
    };
    let mut lines: Vec<_> = files.parts.iter().map(part).collect();
    lines.extend(files.faults.iter().take(SHOWN).map(fault_line));
    if files.failed > SHOWN as u64 {
        lines.push(format!("and {} more", files.failed - SHOWN as u64));
    }
    lines
}
