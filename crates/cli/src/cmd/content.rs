//! What a region holds, in the words of `show` and `disks`, and in their documents.

use block::{Role, SectorSize};
use disk::probe::Content;
use engine::{Survey, Surveyed};
use serde::Serialize;

/// `content` in a document; docs/JSON.md.
#[derive(Serialize)]
pub(super) struct ContentOut {
    #[serde(rename = "type")]
    kind: &'static str,
    title: String,
    label: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    label_bytes: Option<Vec<u8>>,
    uuid: Option<String>,
    version: Option<String>,
    size: Option<u64>,
    free: Option<u64>,
    states: Vec<String>,
    also: Vec<String>,
}

impl ContentOut {
    pub(super) fn new(content: &Content) -> Self {
        Self {
            kind: content.type_name,
            title: content.title.clone(),
            label: content.label.clone(),
            label_bytes: content.label_bytes.clone(),
            uuid: content.uuid.clone(),
            version: content.version.clone(),
            size: content.size,
            free: content.free,
            states: content.states.iter().map(|state| state.text.clone()).collect(),
            also: content.also.clone(),
        }
    }
}

/// What is said of a region with an unreadable beginning.
pub(super) const FIRST_SECTOR: &str = "its first sector cannot be read";

/// One region in words.
pub(super) fn words(survey: &Survey, found: &Surveyed) -> String {
    let mut words = match found.region.role {
        Role::Preamble => preamble(found),
        Role::Ebr => ebr(survey, found),
        Role::Tail => "backup GPT".to_owned(),
        Role::Gap => format!("gap, {}", filled(found)),
        Role::Partition(_) | Role::Whole => match &found.content {
            Some(content) => content.sentence(),
            None => unknown(survey, found),
        },
    };
    if found.unreadable {
        words.extend([", ", FIRST_SECTOR]);
    }
    words
}

fn preamble(found: &Surveyed) -> String {
    let boot = found.boot.unwrap_or("no boot code");
    match found.more_sectors {
        None | Some(0) => format!("preamble: {boot}"),
        Some(1) => format!("preamble: {boot}, 1 more sector not empty"),
        Some(more) => format!("preamble: {boot}, {more} more sectors not empty"),
    }
}

/// The EBR's own partition is the next logical one behind it.
fn ebr(survey: &Survey, found: &Surveyed) -> String {
    let logical = survey.layout.partitions.iter().filter(|partition| partition.logical);
    let behind = logical.filter(|partition| partition.range.start() >= found.region.range.end());
    match behind.min_by_key(|partition| partition.range.start()) {
        Some(partition) => format!("EBR of partition {}", partition.number),
        None => "EBR, the last of its chain".to_owned(),
    }
}

fn filled(found: &Surveyed) -> &'static str {
    match &found.filled {
        Some(filled) if filled.zero && filled.exhaustive => "empty",
        Some(filled) if filled.zero && filled.unreadable > 0 => "empty where it could be read",
        Some(filled) if filled.zero => "empty where it was sampled",
        Some(filled) if filled.random => "not empty, looks random",
        Some(_) => "not empty",
        None => "not looked at",
    }
}

/// A partition in which nothing was recognised: what its table entry says, and what its bytes look like.
fn unknown(survey: &Survey, found: &Surveyed) -> String {
    let entry = survey.layout.partitions.iter().find(|p| found.region.role == Role::Partition(p.number));
    let named = entry.and_then(|entry| entry.type_name()).map(|name| format!("{name}: "));
    let named = named.unwrap_or_default();
    match found.boot {
        Some(boot) => format!("{named}nothing recognised, {boot}, {}", filled(found)),
        None => format!("{named}nothing recognised, {}", filled(found)),
    }
}

/// First and last sector of a region.
pub(super) fn sectors(found: &Surveyed, sector: SectorSize) -> (u64, u64) {
    let range = found.region.range;
    (sector.lba(range.start()).0, sector.lba(range.end().saturating_sub(1)).0)
}
