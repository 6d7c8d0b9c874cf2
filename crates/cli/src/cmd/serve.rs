//! `serve`: the disk over NBD.

use super::Tools;
use crate::args::ServeArgs;
use crate::exit::Exit;
use crate::nbd::{self, Export};
use crate::ui::text::{count, size};
use crate::ui::{answer, json, say};
use block::{Error, ErrorKind, FillAbsent, Result, Role, Slice, Source, WriteAt};
use engine::{OpenOptions, Subject, Survey};
use image::Overlay;
use serde::Serialize;
use std::path::Path;
use std::sync::Arc;

/// The document that says that it is ready; docs/JSON.md.
#[derive(Serialize)]
struct Document<'a> {
    uri: &'a str,
    exports: Vec<ExportOut<'a>>,
}

#[derive(Serialize)]
struct ExportOut<'a> {
    name: &'a str,
    description: &'a str,
    size: u64,
}

/// Carries out `serve`.
pub fn run(args: &ServeArgs, tools: &Tools) -> Result<Exit> {
    let opening = OpenOptions { live: args.live, exclusive: true, sector: args.sector_size };
    let subject = tools.opener().open(&args.source, opening)?;
    let survey = engine::survey(&subject.source, subject.sector, false)?;
    let source: Source = Arc::new(FillAbsent(Arc::clone(&subject.source)));
    let overlay = args.overlay.as_deref().map(|path| overlay(path, &subject, &source, tools)).transpose()?;
    let shown: Source = match &overlay {
        Some(overlay) => Arc::clone(overlay) as Source,
        None => source,
    };
    let writes = overlay.as_ref().map(|overlay| Arc::clone(overlay) as Arc<dyn WriteAt>);
    let exports = exports(&subject.name, (&shown, writes), &survey, args.part)?;
    let (listener, uri) = tools.monitor.listen()?;
    if args.listen.is_some_and(|address| !address.ip().is_loopback()) {
        say("WARNING: whoever reaches this port can read the whole disk");
    }
    let stop = tools.signals.begin_job();
    let described = |export: &Arc<Export>| export.description.clone();
    say(&exports.iter().map(described).collect::<Vec<_>>().join("\n"));
    match args.json {
        true => json::answer(&document(&uri, &exports))?,
        false => answer(&uri)?,
    }
    say(match &args.overlay {
        Some(_) => "serving, changes go to the overlay; Ctrl-C ends it",
        None => "serving, read-only; Ctrl-C ends it",
    });
    let clients = nbd::serve(&listener, &exports, &stop).map_err(|error| Error::io(error, "serving"))?;
    overlay.map_or(Ok(()), |overlay| overlay.sync())?;
    say(&format!("DONE. {} came", count(clients as u64, "client")));
    Ok(Exit::Done)
}

/// The file that keeps what is written. It belongs to one backup, or to one disk as it was.
fn overlay(path: &Path, subject: &Subject, source: &Source, tools: &Tools) -> Result<Arc<Overlay>> {
    let usage = |words: &str| Error::new(ErrorKind::Usage, format!("{}: {words}", path.display()));
    let name = path.file_name().ok_or_else(|| usage("no file name"))?;
    let folder = engine::folder(&tools.monitor, block::folder_of(path), "folder")?;
    let known_by = match &subject.backup {
        Some(backup) => format!("backup {}", backup.manifest().backup_id),
        None => format!("disk {}", device::disk_id(&device::Identity::default(), &**source)?),
    };
    Ok(Arc::new(Overlay::open(Arc::clone(source), &known_by, &*folder, name)?))
}

/// The disk under no name, then its partitions by their numbers, read-only; with `part` only that one, under no
/// name.
fn exports(
    name: &str,
    (source, overlay): (&Source, Option<Arc<dyn WriteAt>>),
    survey: &Survey,
    part: Option<u32>,
) -> Result<Vec<Arc<Export>>> {
    let mut exports = vec![];
    for surveyed in &survey.regions {
        let Role::Partition(number) = surveyed.region.role else { continue };
        let content = surveyed.content.as_ref().map_or_else(String::new, |c| format!(", {}", c.sentence()));
        let bytes = size(surveyed.region.range.len());
        exports.push(Arc::new(Export {
            name: number.to_string(),
            description: format!("export {number}: partition {number} of {name}, {bytes}{content}"),
            source: Arc::new(Slice::new(Arc::clone(source), surveyed.region.range)?),
            overlay: None,
        }));
    }
    let whole = |source: &Source, description, overlay| {
        Arc::new(Export { name: String::new(), description, source: Arc::clone(source), overlay })
    };
    let Some(number) = part else {
        let words = format!("export \"\": {name}, {}", size(source.size()));
        exports.insert(0, whole(source, words, overlay));
        return Ok(exports);
    };
    match exports.iter().find(|export| export.name == number.to_string()) {
        Some(export) => Ok(vec![whole(&export.source, export.description.clone(), None)]),
        None => {
            let there: Vec<&str> = exports.iter().map(|export| export.name.as_str()).collect();
            let words = format!("no partition {number} in {name}; there are: {}", there.join(", "));
            Err(Error::new(ErrorKind::Usage, words))
        }
    }
}

fn document<'a>(uri: &'a str, exports: &'a [Arc<Export>]) -> Document<'a> {
    let out = |export: &'a Arc<Export>| ExportOut {
        name: &export.name,
        description: &export.description,
        size: export.source.size(),
    };
    Document { uri, exports: exports.iter().map(out).collect() }
}
