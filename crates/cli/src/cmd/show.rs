//! `show`: the layout, region by region, and what each one holds.

use super::Tools;
use super::content::{ContentOut, sectors, words};
use crate::args::ShowArgs;
use crate::exit::Exit;
use crate::ui::text::{Align, exact, size, table};
use crate::ui::{answer, json};
use block::{Result, Role, SectorSize};
use disk::used::{Exactness, UsedMap};
use disk::{Partition, Table};
use engine::{OpenOptions, Subject, Survey, Surveyed};
use serde::Serialize;

/// The document; docs/JSON.md.
#[derive(Serialize)]
struct Document<'a> {
    source: String,
    kind: String,
    size: u64,
    sector_size: u64,
    table: TableOut<'a>,
    partitions: Vec<PartitionOut<'a>>,
    member: Option<ContentOut>,
    regions: Vec<RegionOut>,
    advice: Vec<String>,
}

#[derive(Serialize)]
struct TableOut<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    id: Option<String>,
    findings: Vec<&'a str>,
}

#[derive(Serialize)]
struct PartitionOut<'a> {
    number: u32,
    first_lba: u64,
    sectors: u64,
    start: u64,
    size: u64,
    #[serde(rename = "type")]
    kind: String,
    type_name: Option<&'static str>,
    bootable: bool,
    attributes: u64,
    name: Option<&'a str>,
    uuid: Option<String>,
    extended: bool,
}

#[derive(Serialize)]
struct RegionOut {
    role: &'static str,
    partition: Option<u32>,
    first_lba: u64,
    last_lba: u64,
    sectors: u64,
    start: u64,
    size: u64,
    content: Option<ContentOut>,
    boot: Option<&'static str>,
    zero: Option<bool>,
    exhaustive: Option<bool>,
    random: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    map: Option<MapOut>,
}

/// What is in use; only with `--map`, of what was recognised.
#[derive(Serialize)]
struct MapOut {
    used: u64,
    free: u64,
    runs: usize,
    exactness: &'static str,
    why: Option<String>,
}

impl MapOut {
    fn new(map: &UsedMap) -> Self {
        let (exactness, why) = match map.exactness() {
            Exactness::Exact => ("exact", None),
            Exactness::Conservative(why) => ("conservative", Some(why.clone())),
            Exactness::Unknown(why) => ("unknown", Some(why.clone())),
        };
        Self { used: map.used_bytes(), free: map.free_bytes(), runs: map.used().len(), exactness, why }
    }

    fn line(&self, role: Role) -> String {
        let why = self.why.as_ref().map_or(String::new(), |why| format!(": {why}"));
        match self.exactness {
            "unknown" => format!("map: {role}: not known what is free{why}"),
            word => {
                format!("map: {role}: {} in use, {} free ({word}{why})", exact(self.used), exact(self.free))
            }
        }
    }
}

/// Carries out `show`.
pub fn run(args: &ShowArgs, tools: &Tools) -> Result<Exit> {
    let subject = tools
        .opener()
        .open(&args.source, OpenOptions { live: true, exclusive: false, sector: args.sector_size })?;
    if args.lost {
        return super::lost::run(args, &subject, tools);
    }
    let survey = engine::survey(&subject.source, subject.sector, args.deep)?;
    let map = |found: &Surveyed| match &found.content {
        Some(_) if args.map => engine::used_map(&subject.source, found).map(|map| Some(MapOut::new(&map))),
        _ => Ok(None),
    };
    let maps = survey.regions.iter().map(map).collect::<Result<Vec<_>>>()?;
    match args.json {
        true => json::answer(&document(args, &subject, &survey, maps))?,
        false => answer(&text(&subject, &survey, &maps))?,
    }
    Ok(Exit::Done)
}

fn text(subject: &Subject, survey: &Survey, maps: &[Option<MapOut>]) -> String {
    let layout = &survey.layout;
    let sector = layout.sector;
    let count = sector.count(layout.size);
    let kind = match (&layout.table, layout.disk_label_id()) {
        (Table::None, _) => "no partition table".to_owned(),
        (Table::Mbr(_), id) => format!("MBR, disk id {}", id.unwrap_or_default()),
        (Table::Gpt(_), id) => format!("GPT, disk id {}", id.unwrap_or_default()),
    };
    let mut text =
        format!("{}: {}, {count} sectors of {sector} bytes, {kind}\n", subject.name, size(layout.size));
    let columns = [
        ("    first", Align::Right),
        ("last", Align::Right),
        ("sectors", Align::Right),
        ("size", Align::Right),
        ("part", Align::Left),
        ("what", Align::Left),
    ];
    let rows: Vec<_> = survey.regions.iter().map(|found| row(survey, found, sector)).collect();
    text += &table(columns, &rows);
    for (found, map) in survey.regions.iter().zip(maps) {
        if let Some(map) = map {
            text += &format!("{}\n", map.line(found.region.role));
        }
    }
    for finding in &layout.findings {
        text += &format!("{}: {}\n", if finding.damage { "damaged" } else { "note" }, finding.text);
    }
    for advice in survey.advice() {
        text += &format!("note: {advice}\n");
    }
    text
}

fn row(survey: &Survey, found: &Surveyed, sector: SectorSize) -> [String; 6] {
    let (first, last) = sectors(found, sector);
    let len = found.region.range.len();
    let part = match found.region.role {
        Role::Partition(number) => {
            let bootable = survey.layout.partitions.iter().any(|p| p.number == number && p.bootable);
            format!("{number}{}", if bootable { " *" } else { "" })
        }
        _ => String::new(),
    };
    [
        first.to_string(),
        last.to_string(),
        sector.count(len).to_string(),
        size(len),
        part,
        words(survey, found),
    ]
}

fn document<'a>(
    args: &'a ShowArgs,
    subject: &Subject,
    survey: &'a Survey,
    maps: Vec<Option<MapOut>>,
) -> Document<'a> {
    let layout = &survey.layout;
    Document {
        source: args.source.to_string_lossy().into_owned(),
        kind: subject.kind.to_string(),
        size: layout.size,
        sector_size: layout.sector.bytes(),
        table: TableOut {
            kind: match layout.table {
                Table::None => "none",
                Table::Mbr(_) => "mbr",
                Table::Gpt(_) => "gpt",
            },
            id: layout.disk_label_id(),
            findings: layout.findings.iter().map(|finding| finding.text.as_str()).collect(),
        },
        partitions: layout.partitions.iter().map(|partition| partition_out(survey, partition)).collect(),
        member: survey.member.as_ref().map(ContentOut::new),
        regions: survey
            .regions
            .iter()
            .zip(maps)
            .map(|(found, map)| region_out(found, map, layout.sector))
            .collect(),
        advice: survey.advice(),
    }
}

fn partition_out<'a>(survey: &'a Survey, partition: &'a Partition) -> PartitionOut<'a> {
    let sector = survey.layout.sector;
    PartitionOut {
        number: partition.number,
        first_lba: sector.lba(partition.range.start()).0,
        sectors: sector.count(partition.range.len()),
        start: partition.range.start(),
        size: partition.range.len(),
        kind: partition.type_id.to_string(),
        type_name: partition.type_name(),
        bootable: partition.bootable,
        attributes: partition.attributes,
        name: partition.name.as_deref(),
        uuid: partition.partuuid(&survey.layout.table),
        extended: partition.extended,
    }
}

fn region_out(found: &Surveyed, map: Option<MapOut>, sector: SectorSize) -> RegionOut {
    let (first_lba, last_lba) = sectors(found, sector);
    let len = found.region.range.len();
    let (role, partition) = match found.region.role {
        Role::Preamble => ("preamble", None),
        Role::Partition(number) => ("partition", Some(number)),
        Role::Ebr => ("ebr", None),
        Role::Gap => ("gap", None),
        Role::Tail => ("tail", None),
        Role::Whole => ("whole", None),
    };
    RegionOut {
        role,
        partition,
        first_lba,
        last_lba,
        sectors: sector.count(len),
        start: found.region.range.start(),
        size: len,
        content: found.content.as_ref().map(ContentOut::new),
        boot: found.boot,
        zero: found.filled.as_ref().map(|filled| filled.zero),
        exhaustive: found.filled.as_ref().map(|filled| filled.exhaustive),
        random: found.filled.as_ref().map(|filled| filled.random),
        map,
    }
}
