//! `ls`: names of a filesystem inside a source.

use super::Tools;
use super::file_line::{EntryOut, columns};
use super::files::{self, Opened};
use crate::args::LsArgs;
use crate::exit::Exit;
use crate::ui::text::{Align, count, printable, size, table};
use crate::ui::{Out, answer, json, say};
use block::{Error, Result};
use disk::fs::{DirEntry, FileKind, FileSystem, Metadata, NodeId};
use engine::browse::{
    Below, Found, Locator, Unread, Volume, Volumes, expand, has_unread, kind_of, list, unread,
};
use serde::Serialize;
use std::sync::Arc;

/// The document of `ls SOURCE`; docs/JSON.md.
#[derive(Serialize)]
struct VolumesOut {
    source: String,
    volumes: Vec<VolumeOut>,
}

#[derive(Serialize)]
struct VolumeOut {
    part: String,
    start: Option<u64>,
    size: u64,
    #[serde(rename = "type")]
    kind: Option<&'static str>,
    title: Option<String>,
    label: Option<String>,
    readable: bool,
}

/// `filesystem` of the document of `ls SOURCE PART`.
#[derive(Serialize)]
struct FilesystemOut<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    engine: &'static str,
    condition: String,
    missing: &'a [String],
}

#[derive(Serialize)]
struct FailedOut {
    path: String,
    error: String,
}

/// Carries out `ls`.
pub fn run(args: &LsArgs, tools: &Tools) -> Result<Exit> {
    let volumes = files::volumes(tools, &args.source, args.sector_size)?;
    let locator = args.locator.as_deref().map_or_else(|| Ok(Locator::default()), Locator::parse)?;
    let mut reached = files::follow(tools, &volumes, locator, None)?;
    let (volumes, locator) = (Arc::clone(&reached.volumes), reached.locator.clone());
    if locator.part.is_none() {
        let all = volumes.all()?;
        match args.json {
            true => json::answer(&volumes_out(args, &all))?,
            false => answer(&volumes_text(&all))?,
        }
        return Ok(Exit::Done);
    }
    if args.deleted {
        return super::deleted::list(args, &volumes, &locator);
    }
    let opened = reached.open()?;
    let follow = !args.long;
    let all = expand(&*opened.fs, &locator.path, follow).map_err(|error| volumes.located(error))?;
    let incomplete = (args.long || args.json) && has_unread(&*opened.volume.source)?;
    let mut listing = Listing {
        args,
        incomplete,
        volumes: &volumes,
        fs: &*opened.fs,
        out: Out::new(),
        failed: vec![],
        below: Below::default(),
        first: true,
    };
    if args.json {
        listing.begin_document(&opened)?;
    }
    all.failed.into_iter().for_each(|(dir, error)| listing.fail(&dir, error));
    // Nobody reads any more: `| head`.
    let _ = listing.all(all.found)?;
    listing.end()
}

fn volumes_out(args: &LsArgs, all: &[Volume]) -> VolumesOut {
    let out = |volume: &Volume| VolumeOut {
        part: volume.name.clone(),
        start: volume.range.map(|range| range.start()),
        size: volume.source.size(),
        kind: volume.content.as_ref().map(|content| content.type_name),
        title: volume.content.as_ref().map(|content| content.title.clone()),
        label: volume.content.as_ref().and_then(|content| content.label.clone()),
        readable: volume.is_readable(),
    };
    VolumesOut { source: args.source.display().to_string(), volumes: all.iter().map(out).collect() }
}

fn volumes_text(all: &[Volume]) -> String {
    let row = |volume: &Volume| {
        let what = volume.content.as_ref().map_or_else(|| "-".to_owned(), disk::probe::Content::sentence);
        [volume.name.clone(), size(volume.source.size()), what]
    };
    let rows: Vec<_> = all.iter().map(row).collect();
    table([("part", Align::Left), ("size", Align::Right), ("what", Align::Left)], &rows)
}

/// A name with what is known of it: no more than is printed.
struct Row {
    name: Vec<u8>,
    node: NodeId,
    kind: Option<FileKind>,
    meta: Option<Metadata>,
}

/// A listing in the making. Functions that print give `false` when nobody reads any more.
struct Listing<'a> {
    args: &'a LsArgs,
    /// The volume has places that nobody has read: files are asked for theirs.
    incomplete: bool,
    volumes: &'a Volumes,
    fs: &'a dyn FileSystem,
    out: Out,
    failed: Vec<FailedOut>,
    below: Below,
    /// Nothing is printed yet.
    first: bool,
}

impl Listing<'_> {
    /// What was named: files first, then what is in directories.
    fn all(&mut self, found: Vec<Found>) -> Result<bool> {
        let (dirs, others): (Vec<_>, Vec<_>) =
            found.into_iter().partition(|found| found.meta.kind == FileKind::Directory);
        let row = |found: Found| Row {
            name: found.path,
            node: found.node,
            kind: Some(found.meta.kind),
            meta: Some(found.meta),
        };
        let titled = self.args.recursive || dirs.len() + others.len() > 1;
        let rows: Vec<_> = others.into_iter().map(row).collect();
        if !rows.is_empty() && !self.rows(b"", &rows)? {
            return Ok(false);
        }
        for dir in dirs {
            if !self.dir(dir.node, dir.path, titled)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// A directory, and with `-R` what is below it. By hand, because they may lie deep in each other.
    fn dir(&mut self, node: NodeId, path: Vec<u8>, titled: bool) -> Result<bool> {
        let mut left = vec![(node, path, 0_usize)];
        while let Some((node, path, depth)) = left.pop() {
            if let Err(error) = self.below.enter(node, depth) {
                self.fail(&path, error);
                continue;
            }
            let (entries, failed) = list(self.fs, node);
            if let Some(error) = failed {
                self.fail(&path, error);
            }
            let rows = self.looked_at(&path, entries);
            if titled && !self.args.json && !self.title(&path)? {
                return Ok(false);
            }
            if !self.rows(&path, &rows)? {
                return Ok(false);
            }
            if self.args.recursive {
                let dirs = rows.iter().rev().filter(|row| row.kind == Some(FileKind::Directory));
                left.extend(dirs.map(|row| (row.node, join(&path, &row.name), depth + 1)));
            }
        }
        Ok(true)
    }

    fn title(&mut self, path: &[u8]) -> Result<bool> {
        let gap = if self.first { "" } else { "\n" };
        let path = if path.is_empty() { b"/" } else { path };
        self.first = false;
        self.out.text(&format!("{gap}{}:\n", printable(&String::from_utf8_lossy(path))))
    }

    /// Entries with what must be known of them, by name.
    fn looked_at(&mut self, dir: &[u8], mut entries: Vec<DirEntry>) -> Vec<Row> {
        // Inodes that lie together are read together.
        entries.sort_by_key(|entry| entry.node);
        let mut rows = Vec::with_capacity(entries.len());
        for entry in entries {
            let mut row = Row { name: entry.name.clone(), node: entry.node, kind: entry.kind, meta: None };
            let known = if self.args.long || self.args.json {
                self.fs.metadata(entry.node).map(|meta| {
                    row.kind = Some(meta.kind);
                    row.meta = Some(meta);
                })
            } else if self.args.recursive {
                kind_of(self.fs, &entry).map(|kind| row.kind = Some(kind))
            } else {
                Ok(())
            };
            if let Err(error) = known {
                self.fail(&join(dir, &entry.name), error);
            }
            rows.push(row);
        }
        rows.sort_by(|a, b| a.name.cmp(&b.name));
        rows
    }

    fn fail(&mut self, path: &[u8], error: Error) {
        let error = self.volumes.located(error).to_string();
        let path = if path.is_empty() { b"/" } else { path };
        let path = String::from_utf8_lossy(path).into_owned();
        say(&format!("selfsame: {path}: {error}"));
        self.failed.push(FailedOut { path, error });
    }

    fn rows(&mut self, dir: &[u8], rows: &[Row]) -> Result<bool> {
        // In a document the first entry tells by itself.
        self.first &= rows.is_empty() || self.args.json;
        match (self.args.json, self.args.long) {
            (true, _) => self.json_rows(dir, rows),
            (_, true) => self.long_rows(dir, rows),
            _ => {
                for row in rows {
                    let name = String::from_utf8_lossy(&row.name);
                    if !self.out.text(&printable(&name))? || !self.out.text("\n")? {
                        return Ok(false);
                    }
                }
                Ok(true)
            }
        }
    }

    fn long_rows(&mut self, dir: &[u8], rows: &[Row]) -> Result<bool> {
        let unknown = || ["?", "-", "-", "-", "-", "-"].map(str::to_owned);
        let cells: Vec<_> = rows.iter().map(|row| row.meta.as_ref().map_or_else(unknown, columns)).collect();
        let width = |i: usize| cells.iter().filter_map(|row| row.get(i)).map(String::len).max().unwrap_or(0);
        let widths = [0, 1, 2, 3, 4, 5].map(width);
        for (row, [mode, links, uid, gid, size, time]) in rows.iter().zip(&cells) {
            let [m, l, u, g, s, t] = widths;
            let mut line = format!("{mode:m$} {links:>l$} {uid:>u$} {gid:>g$} {size:>s$} {time:t$} ");
            let name = printable(&String::from_utf8_lossy(&row.name));
            let (target, streams) = self.more(dir, row);
            line += &name;
            if let Some(target) = target {
                line += &format!(" -> {}", printable(&String::from_utf8_lossy(&target)));
            }
            let lost = self.unread(dir, row);
            match lost.bad.saturating_add(lost.absent) {
                0 => {}
                bytes => line += &format!("  ({} unread)", count(bytes, "byte")),
            }
            line.push('\n');
            for stream in streams {
                let bytes = stream.size;
                let words = printable(&String::from_utf8_lossy(&stream.name));
                line += &format!(
                    "{:m$} {:l$} {:u$} {:g$} {bytes:>s$} {:t$} {name}:{words}\n",
                    "", "", "", "", ""
                );
            }
            if !self.out.text(&line)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn json_rows(&mut self, dir: &[u8], rows: &[Row]) -> Result<bool> {
        for row in rows {
            let Some(meta) = &row.meta else { continue };
            let (target, streams) = self.more(dir, row);
            let lost = self.unread(dir, row);
            let entry = EntryOut::new(&join(dir, &row.name), meta, target.as_deref(), &streams, lost);
            let comma = if std::mem::take(&mut self.first) { "\n" } else { ",\n" };
            if !self.out.text(&format!("{comma}{}", json::line(&entry)?))? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Where a link leads, and the streams of a file.
    fn more(&mut self, dir: &[u8], row: &Row) -> (Option<Vec<u8>>, Vec<disk::fs::Stream>) {
        let target = match row.kind {
            Some(FileKind::Symlink) => self.fs.read_link(row.node).map(Some),
            _ => Ok(None),
        };
        let target = target.unwrap_or_else(|error| {
            self.fail(&join(dir, &row.name), error);
            None
        });
        let streams = self.fs.streams(row.node).unwrap_or_else(|error| {
            self.fail(&join(dir, &row.name), error);
            vec![]
        });
        (target, streams)
    }

    /// What the source does not have of a file.
    fn unread(&mut self, dir: &[u8], row: &Row) -> Unread {
        let size = row.meta.as_ref().map_or(0, |meta| meta.size);
        if !self.incomplete || row.kind != Some(FileKind::File) {
            return Unread::default();
        }
        unread(self.fs, row.node, size).unwrap_or_else(|error| {
            self.fail(&join(dir, &row.name), error);
            Unread::default()
        })
    }

    fn begin_document(&mut self, opened: &Opened) -> Result<()> {
        let info = self.fs.info();
        let filesystem = FilesystemOut {
            kind: info.type_name,
            engine: info.engine,
            condition: info.condition.to_string(),
            missing: &info.missing,
        };
        let source = json::line(&self.args.source.display().to_string())?;
        let (part, filesystem) = (json::line(&opened.volume.name)?, json::line(&filesystem)?);
        let _ = self.out.text(&format!(
            "{{\n\"source\": {source},\n\"part\": {part},\n\"filesystem\": {filesystem},\n\"entries\": ["
        ))?;
        Ok(())
    }

    fn end(mut self) -> Result<Exit> {
        if self.args.json {
            let _ = self.out.text(&format!("\n],\n\"failed\": {}\n}}\n", json::line(&self.failed)?))?;
        }
        self.out.finish()?;
        Ok(if self.failed.is_empty() { Exit::Done } else { Exit::Failed })
    }
}

fn join(dir: &[u8], name: &[u8]) -> Vec<u8> {
    if dir.is_empty() { name.to_vec() } else { [dir, b"/", name].concat() }
}
