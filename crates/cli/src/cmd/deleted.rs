//! `ls --deleted` and `get --deleted`.

use super::file_line::{minute, rfc3339};
use super::{Tools, files, job};
use crate::args::{GetArgs, LsArgs};
use crate::exit::Exit;
use crate::ui::json::{self, Name};
use crate::ui::progress::Names;
use crate::ui::text::{Align, table};
use crate::ui::{answer, say};
use block::{Error, ErrorKind, Result};
use disk::deleted::{self, DeletedFile};
use engine::browse::{Locator, Volume, Volumes, undelete};
use serde::Serialize;

/// The document of `ls --deleted`; docs/JSON.md.
#[derive(Serialize)]
struct Document<'a> {
    source: String,
    part: &'a str,
    filesystem: &'static str,
    missing: &'a [String],
    deleted: Vec<FileOut>,
}

#[derive(Serialize)]
struct FileOut {
    id: u64,
    #[serde(flatten)]
    name: Option<Name>,
    folder: Option<String>,
    size: u64,
    chance: String,
    why: Option<&'static str>,
    modified: Option<String>,
    accessed: Option<String>,
    changed: Option<String>,
    created: Option<String>,
    deleted: Option<String>,
}

/// The volume, and what was deleted on it.
fn find(volumes: &Volumes, locator: &Locator) -> Result<(Volume, deleted::Found)> {
    if !locator.path.is_empty() {
        let words = "deleted files are looked for in a whole partition: PART without a path";
        return Err(Error::new(ErrorKind::Usage, words));
    }
    volumes.noting().take();
    let volume = volumes.find(locator)?;
    let found = deleted::find(&volume.source).map_err(|error| volumes.located(error))?;
    for missing in &found.missing {
        say(&format!("note: {} ({}): {missing}", volume.name, found.type_name));
    }
    Ok((volume, found))
}

/// Carries out `ls --deleted`.
pub(super) fn list(args: &LsArgs, volumes: &Volumes, locator: &Locator) -> Result<Exit> {
    let (volume, found) = find(volumes, locator)?;
    if args.json {
        json::answer(&Document {
            source: args.source.display().to_string(),
            part: &volume.name,
            filesystem: found.type_name,
            missing: &found.missing,
            deleted: found.files.iter().map(out).collect(),
        })?;
        return Ok(Exit::Done);
    }
    let row = |file: &DeletedFile| {
        let folder = file.folder.as_deref().filter(|folder| !folder.is_empty());
        let folder = folder.map(|folder| format!("{}/", String::from_utf8_lossy(folder)));
        let name = file.name.as_deref().map_or_else(|| "?".into(), String::from_utf8_lossy);
        let path = format!("{}{name}", folder.unwrap_or_default());
        let (id, size, time) =
            (file.id.to_string(), file.size.to_string(), minute(file.deleted.or(file.modified)));
        [id, file.chance.to_string(), size, time, crate::ui::text::printable(&path)]
    };
    let rows: Vec<_> = found.files.iter().map(row).collect();
    let columns = [
        ("id", Align::Right),
        ("bytes are", Align::Left),
        ("size", Align::Right),
        ("deleted or changed", Align::Left),
        ("name", Align::Left),
    ];
    answer(&table(columns, &rows))?;
    Ok(Exit::Done)
}

fn out(file: &DeletedFile) -> FileOut {
    FileOut {
        id: file.id,
        name: file.name.as_deref().map(Name::new),
        folder: file.folder.as_deref().map(|folder| String::from_utf8_lossy(folder).into_owned()),
        size: file.size,
        chance: file.chance.to_string(),
        why: file.why,
        modified: rfc3339(file.modified),
        accessed: rfc3339(file.accessed),
        changed: rfc3339(file.changed),
        created: rfc3339(file.created),
        deleted: rfc3339(file.deleted),
    }
}

/// Carries out `get --deleted`.
pub(super) fn get(args: &GetArgs, tools: &Tools) -> Result<Exit> {
    let Some((part, ids)) = args.what().split_first() else {
        return Err(Error::new(ErrorKind::Usage, "which partition?"));
    };
    let locator = Locator::parse(part)?;
    let id = |typed: &std::ffi::OsString| {
        let number = typed.to_str().and_then(|typed| typed.parse::<u64>().ok());
        number.ok_or_else(|| {
            let words = format!("{}: no id, as `ls --deleted` prints them", typed.to_string_lossy());
            Error::new(ErrorKind::Usage, words)
        })
    };
    let ids: Vec<u64> = ids.iter().map(id).collect::<Result<_>>()?;
    let volumes = files::volumes(tools, &args.source, args.sector_size)?;
    let files::Reached { volumes, locator, .. } = files::follow(tools, &volumes, locator, None)?;
    let (volume, found) = find(&volumes, &locator)?;
    let mut wanted: Vec<&DeletedFile> = found.files.iter().collect();
    if !ids.is_empty() {
        wanted.retain(|file| ids.contains(&file.id));
    }
    if let Some(missing) = ids.iter().find(|id| !wanted.iter().any(|file| file.id == **id)) {
        let words = format!("no deleted file has the id {missing}: see `selfsame ls SOURCE PART --deleted`");
        return Err(Error::new(ErrorKind::NotFound, words));
    }
    let out = args.out();
    let cannot = |error| Error::io(error, format!("opening {}", out.display()));
    let (mut outlet, only) = tools.monitor.outlet().map_err(cannot)?;
    let names = Names {
        source: args.source.display().to_string(),
        sink: out.display().to_string(),
        ..Names::default()
    };
    let got = job::run(tools, args.job, names, 128 << 10, |ctx| {
        undelete(&volumes, &volume.source, &wanted, &mut outlet, only.as_deref(), !ids.is_empty(), ctx)
    })?;
    super::get::end(args, &got)
}
