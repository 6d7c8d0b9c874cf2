//! `show --lost`: sectors that could not be read, in words of files.

use super::checked::{FaultOut, fault_line, fault_out};
use super::{Tools, job};
use crate::args::{JobArgs, ProgressMode, ShowArgs};
use crate::exit::Exit;
use crate::ui::progress::Names;
use crate::ui::text::exact;
use crate::ui::{answer, json};
use block::{ByteRange, ExtentKind, Result, extents};
use engine::Subject;
use engine::browse::{Volume, Volumes, check_files};
use serde::Serialize;

/// Ranges that are printed; a JSON document has all.
const SHOWN: usize = 50;

/// The document; docs/JSON.md.
#[derive(Serialize)]
struct Document {
    source: String,
    bad: u64,
    ranges: Vec<(u64, u64)>,
    files: Vec<FaultOut>,
    failed: u64,
    no_file: Vec<NoFileOut>,
}

/// Lost sectors that no file and no folder needs.
#[derive(Serialize)]
struct NoFileOut {
    part: Option<String>,
    first_lba: u64,
    last_lba: u64,
}

/// Carries out `show --lost`.
pub(super) fn run(args: &ShowArgs, subject: &Subject, tools: &Tools) -> Result<Exit> {
    let disk = &*subject.source;
    let mut bad = vec![];
    for extent in extents(disk, ByteRange::span(0, disk.size())) {
        let extent = extent?;
        if extent.kind == ExtentKind::Bad {
            bad.push(extent.range);
        }
    }
    let volumes = Volumes::of(subject)?;
    let hit =
        |range: &ByteRange, volume: &Volume| volume.range.is_some_and(|of| !of.intersect(*range).is_empty());
    let names = Names { source: args.source.display().to_string(), ..Names::default() };
    let how = JobArgs { json: args.json, progress: ProgressMode::Auto };
    let checked = job::run(tools, how, names, 128 << 10, |ctx| {
        check_files(&volumes, ctx, |volume| bad.iter().any(|range| hit(range, volume)))
    })?;
    let parts = volumes.all()?;
    let no_file = checked.without_files(&bad).into_iter().flat_map(|range| {
        let inside: Vec<_> = parts
            .iter()
            .filter_map(|volume| Some((Some(volume.name.clone()), volume.range?.intersect(range))))
            .filter(|(_, range)| !range.is_empty())
            .collect();
        if inside.is_empty() { vec![(None, range)] } else { inside }
    });
    let no_file = no_file.map(|(part, range)| {
        let (first_lba, last_lba) = volumes.sectors(range);
        NoFileOut { part, first_lba, last_lba }
    });
    let document = Document {
        source: args.source.display().to_string(),
        bad: bad.iter().map(|range| range.len()).sum(),
        ranges: bad.iter().map(|range| volumes.sectors(*range)).collect(),
        files: checked.faults.iter().map(fault_out).collect(),
        failed: checked.failed,
        no_file: no_file.collect(),
    };
    if args.json {
        json::answer(&document)?;
        return Ok(Exit::Done);
    }
    let mut lines = vec![match document.bad {
        0 => "all sectors could be read".to_owned(),
        bad => format!("{} could not be read", exact(bad)),
    }];
    for part in checked.parts.iter().filter(|part| part.refused.is_some()) {
        lines.push(format!("files not looked at: {}", part.refused.as_deref().unwrap_or_default()));
    }
    lines.extend(checked.faults.iter().map(fault_line));
    for place in document.no_file.iter().take(SHOWN) {
        let what = match &place.part {
            Some(part) => format!("{part}: no file: metadata or free space"),
            None => "outside of partitions".to_owned(),
        };
        lines.push(format!("{what}; LBA {} to {} of the disk", place.first_lba, place.last_lba));
    }
    if document.no_file.len() > SHOWN {
        lines.push(format!("and {} more places without a file", document.no_file.len() - SHOWN));
    }
    answer(&lines.join("\n"))?;
    Ok(Exit::Done)
}
