//! `backups`: the backups of a folder.

use super::Tools;
use crate::args::BackupsArgs;
use crate::exit::Exit;
use crate::ui::text::{Align, size, table};
use crate::ui::{answer, json};
use block::Result;
use engine::{Listed, State};
use serde::Serialize;

/// The document; docs/JSON.md.
#[derive(Serialize)]
struct Document {
    backups: Vec<BackupOut>,
}

#[derive(Serialize)]
struct BackupOut {
    folder: String,
    state: &'static str,
    why: Option<String>,
    name: String,
    model: Option<String>,
    serial: Option<String>,
    size: Option<u64>,
    started: Option<String>,
    finished: Option<String>,
    stored: u64,
    note: Option<String>,
}

/// Carries out `backups`.
pub fn run(args: &BackupsArgs, tools: &Tools) -> Result<Exit> {
    let found = engine::backups(&engine::folder(&tools.monitor, &args.dir, "folder")?)?;
    match args.json {
        true => json::answer(&Document { backups: found.iter().map(out).collect() })?,
        false if found.is_empty() => answer(&format!("no backups in {}", args.dir.display()))?,
        false => answer(&text(&found))?,
    }
    Ok(Exit::Done)
}

fn state(state: &State) -> (&'static str, Option<String>) {
    match state {
        State::Whole => ("whole", None),
        State::Unfinished => ("unfinished", None),
        State::Damaged(why) => ("damaged", Some(why.clone())),
    }
}

fn folder(listed: &Listed) -> String {
    let name = listed.folder.file_name().unwrap_or(listed.folder.as_os_str());
    name.to_string_lossy().into_owned()
}

fn text(found: &[Listed]) -> String {
    let columns = [
        ("backup", Align::Left),
        ("disk", Align::Right),
        ("stored", Align::Right),
        ("started", Align::Left),
        ("state", Align::Left),
        ("of", Align::Left),
    ];
    let rows: Vec<_> = found
        .iter()
        .map(|listed| {
            let (word, why) = state(&listed.state);
            let (of, disk, started) = match &listed.manifest {
                Some(manifest) => {
                    let disk = &manifest.disk;
                    let note = manifest.note.as_deref().map(|note| format!(", {note}")).unwrap_or_default();
                    let named = [disk.model.as_str(), disk.serial.as_str()].join(" ");
                    let named = if named.trim().is_empty() { disk.source.clone() } else { named };
                    (format!("{}{note}", named.trim()), size(disk.size), manifest.started.clone())
                }
                None => (why.unwrap_or_default(), String::new(), String::new()),
            };
            [folder(listed), disk, size(listed.stored), started, word.to_owned(), of]
        })
        .collect();
    table(columns, &rows)
}

fn out(listed: &Listed) -> BackupOut {
    let (state, why) = state(&listed.state);
    let manifest = listed.manifest.as_ref();
    BackupOut {
        folder: listed.folder.display().to_string(),
        state,
        why,
        name: folder(listed),
        model: manifest.map(|manifest| manifest.disk.model.clone()),
        serial: manifest.map(|manifest| manifest.disk.serial.clone()),
        size: manifest.map(|manifest| manifest.disk.size),
        started: manifest.map(|manifest| manifest.started.clone()),
        finished: manifest.and_then(|manifest| manifest.finished.clone()),
        stored: listed.stored,
        note: manifest.and_then(|manifest| manifest.note.clone()),
    }
}
