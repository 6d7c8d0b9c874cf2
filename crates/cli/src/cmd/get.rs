//! `get`: files out of a filesystem inside a source.

use super::{Tools, files, job};
use crate::args::GetArgs;
use crate::exit::Exit;
use crate::ui::json::{self, Name};
use crate::ui::progress::Names;
use crate::ui::text::{count, exact};
use block::{Error, ErrorKind, Result};
use engine::browse::{Found, Get, GetOptions, Got, expand};
use image::Lacking;
use serde::Serialize;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

/// The final document; docs/JSON.md.
#[derive(Serialize)]
struct Document {
    result: &'static str,
    files: u64,
    folders: u64,
    symlinks: u64,
    links: u64,
    bytes: u64,
    lost: u64,
    failed: u64,
    faults: Vec<FaultOut>,
    notes: Vec<String>,
}

#[derive(Serialize)]
struct FaultOut {
    #[serde(flatten)]
    name: Name,
    error: String,
}

/// Carries out `get`.
pub fn run(args: &GetArgs, tools: &Tools) -> Result<Exit> {
    if args.deleted {
        return super::deleted::get(args, tools);
    }
    let locators = files::locators(args.what().iter().map(OsString::as_os_str))?;
    let source = files::volumes(tools, &args.source, args.sector_size)?;
    let (mut found, mut unknown, mut all, mut name) = (vec![], vec![], None, None);
    for locator in locators {
        let last = all.take().map(|(_, opened)| opened);
        let mut reached = files::follow(tools, &source, locator, last)?;
        let opened = reached.open()?;
        if *name.get_or_insert_with(|| opened.volume.name.clone()) != opened.volume.name {
            let words = "all that is copied at once must be in one partition";
            return Err(Error::new(ErrorKind::Usage, words));
        }
        // As cp -a has it: a link is copied, unless the name ends in a slash.
        let more = expand(&*opened.fs, &reached.locator.path, false);
        let more = more.map_err(|error| reached.volumes.located(error))?;
        found.extend(more.found);
        unknown.extend(more.failed);
        all = Some((reached.volumes, opened));
    }
    let Some((volumes, opened)) = all else { return Err(Error::new(ErrorKind::Usage, "nothing to copy")) };
    let out = args.out();
    let cannot = |error| Error::io(error, format!("opening {}", out.display()));
    let (mut outlet, only) = tools.monitor.outlet().map_err(cannot)?;
    if only.is_some() && found.len() > 1 {
        let words = format!("{}: no such folder, and several files cannot have one name", out.display());
        return Err(Error::new(ErrorKind::Usage, words));
    }
    let names = Names {
        source: args.source.display().to_string(),
        sink: out.display().to_string(),
        ..Names::default()
    };
    let options = GetOptions { recursive: args.recursive, streams: args.streams, devices: args.devices };
    let size = opened.volume.source.size();
    let got = job::run(tools, args.job, names, 128 << 10, |ctx| {
        let mut get = Get::new(&*opened.fs, &volumes, &mut outlet, options, ctx);
        get.begin(&found, size);
        unknown.into_iter().for_each(|(dir, error)| get.failed(&dir, error));
        for found in std::mem::take(&mut found) {
            let name = named(&found, only.as_deref());
            get.copy(found, name.as_deref())?;
        }
        get.finish()
    })?;
    end(args, &got)
}

/// Under which name it is made; the root of a filesystem has none.
fn named(found: &Found, only: Option<&OsStr>) -> Option<OsString> {
    let own = Some(OsStr::from_bytes(found.name())).filter(|name| !name.is_empty());
    only.or(own).map(OsStr::to_owned)
}

/// Tells what became of it.
pub(super) fn end(args: &GetArgs, got: &Got) -> Result<Exit> {
    let exit = match (got.lost, got.failed) {
        (0, 0) => Exit::Done,
        (0, _) => Exit::Failed,
        _ => Exit::Losses,
    };
    let notes = notes(args, got);
    let document = Document {
        result: json::result(exit),
        files: got.files,
        folders: got.folders,
        symlinks: got.symlinks,
        links: got.links,
        bytes: got.bytes,
        lost: got.lost,
        failed: got.failed,
        faults: got
            .faults
            .iter()
            .map(|fault| FaultOut { name: Name::new(&fault.path), error: fault.what.clone() })
            .collect(),
        notes: notes.clone(),
    };
    let mut lines = vec![format!("{}: {}, {}", args.out().display(), copied(got), exact(got.bytes))];
    lines.extend(notes.into_iter().map(|note| format!("note: {note}")));
    let next = match exit {
        Exit::Losses => "Some files are not whole, or are missing: see above".to_owned(),
        Exit::Failed => format!("{} not copied: see above", was(got.failed)),
        _ => String::new(),
    };
    job::end(args.job, exit, &document, &lines.join("\n"), &next)
}

fn was(failed: u64) -> String {
    format!("{} {}", count(failed, "file"), if failed == 1 { "was" } else { "were" })
}

fn copied(got: &Got) -> String {
    let mut parts = vec![count(got.files, "file")];
    for (number, thing) in
        [(got.folders, "folder"), (got.symlinks, "symbolic link"), (got.links, "hard link")]
    {
        if number > 0 {
            parts.push(count(number, thing));
        }
    }
    parts.join(", ")
}

fn notes(args: &GetArgs, got: &Got) -> Vec<String> {
    let mut notes = vec![];
    if got.streams_left > 0 {
        notes.push(format!("{} left out; --streams copies them", count(got.streams_left, "stream")));
    }
    if got.specials_left > 0 {
        let things = match got.specials_left {
            1 => "1 pipe, socket or device node".to_owned(),
            many => format!("{many} pipes, sockets or device nodes"),
        };
        let hint = if args.devices { "" } else { "; --devices copies pipes and device nodes, as root" };
        notes.push(format!("{things} left out{hint}"));
    }
    for (lacking, number) in &got.lacking {
        let what = match lacking {
            Lacking::Owner => "owner",
            Lacking::Mode => "mode",
            Lacking::Xattrs => "extended attributes",
            Lacking::Times => "times",
        };
        notes.push(format!("{} could not be given their {what} there", count(*number, "file")));
    }
    notes
}
