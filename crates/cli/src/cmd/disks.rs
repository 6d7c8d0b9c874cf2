//! `disks`: who is who, what is on them, in use by whom.

use super::Tools;
use super::content::{ContentOut, FIRST_SECTOR, words};
use crate::args::DisksArgs;
use crate::exit::Exit;
use crate::ui::text::{Align, quoted, size, table};
use crate::ui::{answer, json};
use block::{ErrorKind, Result, Role};
use device::{Disk, DiskKind, Hidden, Monitor, Usage};
use engine::{OpenOptions, Survey, Surveyed};
use serde::Serialize;

/// The document; docs/JSON.md.
#[derive(Serialize)]
struct Document {
    disks: Vec<DiskOut>,
    /// Controllers whose disks are not seen.
    unseen: Vec<String>,
}

#[derive(Serialize)]
struct DiskOut {
    name: String,
    path: String,
    id: Option<String>,
    kind: &'static str,
    transport: String,
    model: String,
    serial: String,
    wwn: String,
    size: u64,
    sector_size: u32,
    physical_sector_size: u32,
    rotational: Option<bool>,
    read_only: bool,
    removable: bool,
    system: bool,
    diskseq: u64,
    stable_names: Vec<String>,
    hidden: Vec<String>,
    hidden_unknown: Vec<String>,
    slow_link: Option<String>,
    backing: Option<String>,
    content: Option<ContentOut>,
    /// Why it could not be looked into.
    unreadable: Option<String>,
    mounted: Vec<String>,
    swap: Vec<String>,
    held_by: Vec<String>,
    open_elsewhere: Vec<String>,
    partitions: Vec<PartitionOut>,
}

#[derive(Serialize)]
struct PartitionOut {
    number: u32,
    name: String,
    path: String,
    start: u64,
    size: u64,
    content: Option<ContentOut>,
    mounted: Vec<String>,
    swap: Vec<String>,
    held_by: Vec<String>,
}

/// A disk with all that is known of it.
struct Known {
    disk: Disk,
    usage: Usage,
    parts: Vec<Usage>,
    id: Option<String>,
    survey: std::result::Result<Survey, String>,
    hidden: Hidden,
}

/// Carries out `disks`.
pub fn run(args: &DisksArgs, tools: &Tools) -> Result<Exit> {
    let mut known = vec![];
    for disk in tools.monitor.disks()? {
        match look(tools, disk) {
            // Unplugged since it was listed.
            Err(error) if error.kind() == ErrorKind::Gone => {}
            looked => known.push(looked?),
        }
    }
    let unseen = tools.monitor.silent_controllers()?;
    match args.json {
        true => json::answer(&Document { disks: known.into_iter().map(out).collect(), unseen })?,
        false => answer(&[vec![text(&known)], unseen].concat().join("\n"))?,
    }
    Ok(Exit::Done)
}

fn look(tools: &Tools, disk: Disk) -> Result<Known> {
    let usage = tools.monitor.usage_of(disk.instance.devno)?;
    let parts = disk.partitions.iter().map(|part| tools.monitor.usage_of(part.devno));
    let parts = parts.map(|usage| usage.unwrap_or_default()).collect();
    let opened =
        tools.opener().open(disk.name.as_ref(), OpenOptions { live: true, ..OpenOptions::default() });
    let id = opened.as_ref().ok().and_then(|opened| device::disk_id(&disk.identity, &*opened.source).ok());
    let survey = opened.and_then(|opened| engine::survey(&opened.source, opened.sector, false));
    let survey = survey.map_err(|error| error.to_string());
    let hidden = tools.monitor.hidden(disk.instance);
    Ok(Known { disk, usage, parts, id: id.map(|id| id.to_string()), survey, hidden })
}

impl Known {
    fn region(&self, start: u64) -> Option<(&Survey, &Surveyed)> {
        let survey = self.survey.as_ref().ok()?;
        let holds = |r: &&Surveyed| {
            r.region.range.start() == start && matches!(r.region.role, Role::Partition(_) | Role::Whole)
        };
        Some((survey, survey.regions.iter().find(holds)?))
    }

    /// A disk that is one volume.
    fn whole(&self) -> Option<(&Survey, &Surveyed)> {
        self.region(0).filter(|(_, found)| found.region.role == Role::Whole)
    }

    /// Why it could not be looked into, or not where a table would be.
    fn unreadable(&self) -> Option<String> {
        match &self.survey {
            Err(why) => Some(why.clone()),
            Ok(survey) => {
                survey.regions.first().filter(|first| first.unreadable).map(|_| FIRST_SECTOR.to_owned())
            }
        }
    }

    fn flags(&self) -> String {
        let disk = &self.disk;
        let flags = [
            (self.usage.system, "system disk"),
            (disk.read_only, "read-only"),
            (disk.removable, "removable"),
            (disk.rotational == Some(true), "rotating"),
            (disk.rotational == Some(false), "solid state"),
        ];
        let flags: Vec<_> = flags.into_iter().filter_map(|(is, word)| is.then_some(word)).collect();
        flags.join(", ")
    }
}

/// Where it is mounted, and by whom it is held.
fn users(usage: &Usage) -> String {
    let mounted = usage.mounted.iter().map(|mount| format!("mounted on {}", mount.dir.display()));
    let swap = usage.swap.iter().map(|_| "swap in use".to_owned());
    let held = usage.held_by.iter().map(|holder| format!("held by {holder}"));
    let open = usage.open_elsewhere.iter().map(|who| format!("open for writing by {who}"));
    mounted.chain(swap).chain(held).chain(open).collect::<Vec<_>>().join(", ")
}

fn join(words: [String; 2]) -> String {
    words.into_iter().filter(|words| !words.is_empty()).collect::<Vec<_>>().join("; ")
}

fn text(known: &[Known]) -> String {
    if known.is_empty() {
        return "no disks".to_owned();
    }
    let mut rows = vec![];
    for known in known {
        let disk = &known.disk;
        let what = match (&known.survey, known.whole()) {
            (Ok(_), Some((survey, found))) => words(survey, found),
            _ => known.unreadable().unwrap_or_default(),
        };
        let used = if disk.partitions.is_empty() { users(&known.usage) } else { String::new() };
        let or_dash = |text: &str| if text.is_empty() { "-".to_owned() } else { text.to_owned() };
        let model = match (&disk.backing, disk.identity.model.as_str()) {
            (Some(file), _) => quoted(file),
            (None, model) => or_dash(model),
        };
        rows.push([
            disk.name.clone(),
            size(disk.identity.size),
            or_dash(&disk.identity.transport),
            model,
            or_dash(&disk.identity.serial),
            known.id.clone().unwrap_or_else(|| "-".to_owned()),
            join([join([known.flags(), what]), used]),
        ]);
        for (part, usage) in disk.partitions.iter().zip(&known.parts) {
            let what = known.region(part.range.start()).map(|(survey, found)| words(survey, found));
            let empty = String::new;
            rows.push([
                format!("  {}", part.name),
                size(part.range.len()),
                empty(),
                empty(),
                empty(),
                empty(),
                join([what.unwrap_or_default(), users(usage)]),
            ]);
        }
        let hides = known.hidden.known.iter().map(|what| format!("hides: {what}"));
        let more = known.hidden.unknown.iter().chain(&disk.slow_link).cloned();
        for what in hides.chain(more) {
            let [a, b, c, d, e, f] = std::array::from_fn(|_| String::new());
            rows.push([a, b, c, d, e, f, what]);
        }
    }
    let columns = [
        ("name", Align::Left),
        ("size", Align::Right),
        ("bus", Align::Left),
        ("model", Align::Left),
        ("serial", Align::Left),
        ("ID", Align::Left),
        ("what", Align::Left),
    ];
    table(columns, &rows)
}

fn out(known: Known) -> DiskOut {
    let content = |at: Option<(&Survey, &Surveyed)>| {
        at.and_then(|(_, found)| found.content.as_ref()).map(ContentOut::new)
    };
    let mounted =
        |usage: &Usage| usage.mounted.iter().map(|m| m.dir.to_string_lossy().into_owned()).collect();
    let partitions = known.disk.partitions.iter().zip(&known.parts).map(|(part, usage)| PartitionOut {
        number: part.number,
        name: part.name.clone(),
        path: part.path.display().to_string(),
        start: part.range.start(),
        size: part.range.len(),
        content: content(known.region(part.range.start())),
        mounted: mounted(usage),
        swap: usage.swap.clone(),
        held_by: usage.held_by.clone(),
    });
    DiskOut {
        partitions: partitions.collect(),
        content: content(known.whole()),
        mounted: mounted(&known.usage),
        unreadable: known.unreadable(),
        kind: match known.disk.kind {
            DiskKind::Disk => "disk",
            DiskKind::Loop => "loop",
            DiskKind::Volume => "volume",
        },
        id: known.id,
        path: known.disk.path.display().to_string(),
        name: known.disk.name,
        transport: known.disk.identity.transport,
        model: known.disk.identity.model,
        serial: known.disk.identity.serial,
        wwn: known.disk.identity.wwn,
        size: known.disk.identity.size,
        sector_size: known.disk.identity.sector,
        physical_sector_size: known.disk.physical_sector,
        rotational: known.disk.rotational,
        read_only: known.disk.read_only,
        removable: known.disk.removable,
        diskseq: known.disk.instance.diskseq,
        stable_names: known.disk.stable_names,
        hidden: known.hidden.known,
        hidden_unknown: known.hidden.unknown,
        slow_link: known.disk.slow_link,
        backing: known.disk.backing,
        system: known.usage.system,
        swap: known.usage.swap,
        held_by: known.usage.held_by,
        open_elsewhere: known.usage.open_elsewhere,
    }
}
