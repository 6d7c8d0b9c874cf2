//! `verify --against`: what lies where a disk differs, in words and JSON.

use crate::ui::text::{Align, count, printable, size, table};
use disk::TablePart;
use engine::{Class, Differing};
use serde::Serialize;
use std::collections::BTreeSet;

/// One of `against.classes` of the document; docs/JSON.md.
#[derive(Serialize)]
pub(super) struct DifferingOut<'a> {
    partition: Option<u32>,
    content: Option<&'a str>,
    class: &'static str,
    bytes: u64,
    places: u64,
    first_lba: u64,
    why: Option<&'a str>,
}

pub(super) fn out(found: &Differing) -> DifferingOut<'_> {
    DifferingOut {
        partition: found.partition,
        content: found.title.as_deref(),
        class: words(found.class).id,
        bytes: found.bytes,
        places: found.places,
        first_lba: found.first_lba,
        why: found.why.as_deref(),
    }
}

/// What a class is called.
struct Words {
    /// In a JSON document.
    id: &'static str,
    /// In the table.
    cell: &'static str,
    /// In a sentence.
    noun: &'static str,
}

fn words(class: Class) -> Words {
    let (id, cell, noun) = match class {
        Class::Table(TablePart::Mbr) => ("mbr", "MBR", "the partition table"),
        Class::Table(TablePart::Ebr) => ("ebr", "EBR", "the partition table"),
        Class::Table(TablePart::GptHeader) => ("gpt_header", "GPT header", "the partition table"),
        Class::Table(TablePart::GptEntries) => ("gpt_entries", "GPT entries", "the partition table"),
        Class::Table(TablePart::BackupGptHeader) => {
            ("backup_gpt_header", "backup GPT header", "the partition table")
        }
        Class::Table(TablePart::BackupGptEntries) => {
            ("backup_gpt_entries", "backup GPT entries", "the partition table")
        }
        Class::BootGap => {
            ("boot_gap", "gap before partitions (boot loader)", "the gap where boot loaders lie")
        }
        Class::Unpartitioned => ("unpartitioned", "unpartitioned space", "unpartitioned space"),
        Class::Superblock => ("superblock", "superblock (a mount changes it)", "superblocks"),
        Class::Journal => ("journal", "journal", "journals"),
        Class::Used => ("used", "metadata or files", "metadata or files"),
        Class::Free => ("free", "free space", "free space"),
        Class::Swap => ("swap", "swap space", "swap space"),
        Class::Unclassified => ("unclassified", "unclassified contents", "unclassified contents"),
    };
    Words { id, cell, noun }
}

fn place(found: &Differing) -> String {
    let place = found.partition.map_or("disk".to_owned(), |number| format!("partition {number}"));
    match &found.title {
        Some(title) => format!("{place} ({})", printable(title)),
        None => place,
    }
}

/// A table, why what in it is not certain, and all of it in a sentence. Nothing if nothing differs.
pub(super) fn lines(all: &[Differing]) -> Vec<String> {
    if all.is_empty() {
        return vec![];
    }
    let columns = [
        ("place", Align::Left),
        ("what differs", Align::Left),
        ("size", Align::Right),
        ("places", Align::Right),
        ("first LBA", Align::Right),
    ];
    let row = |found: &Differing| {
        let cell = words(found.class).cell.to_owned();
        [place(found), cell, size(found.bytes), found.places.to_string(), found.first_lba.to_string()]
    };
    let rows: Vec<_> = all.iter().map(row).collect();
    let mut lines: Vec<_> = table(columns, &rows).lines().map(str::to_owned).collect();
    for found in all {
        match (&found.why, found.class) {
            (Some(why), Class::Used) => {
                lines.push(format!(
                    "{}: some of what is in use may be free: {}",
                    place(found),
                    printable(why)
                ));
            }
            (Some(why), _) => lines.push(format!("{}: not classified: {}", place(found), printable(why))),
            (None, _) => {}
        }
    }
    lines.push(sentence(all));
    lines
}

/// What all of it means for files.
fn sentence(all: &[Differing]) -> String {
    let places = |class| {
        let of = all.iter().filter(|found| found.class == class);
        match of.map(|found| found.partition).collect::<Vec<_>>().as_slice() {
            [] => None,
            [None] => Some("the filesystem".to_owned()),
            [Some(number)] => Some(format!("partition {number}")),
            many => Some(count(many.len() as u64, "partition")),
        }
    };
    match (places(Class::Used), places(Class::Unclassified)) {
        (Some(used), None) => format!("Metadata or files differ in {used}."),
        (Some(used), Some(other)) => {
            format!("Metadata or files differ in {used}; what differs in {other} is not known.")
        }
        (None, Some(other)) => format!("What differs in {other} is not known: it may be files."),
        (None, None) => {
            let mut nouns: Vec<_> = all.iter().map(|found| words(found.class).noun).collect();
            let mut seen = BTreeSet::new();
            nouns.retain(|noun| seen.insert(*noun));
            let verb = match nouns.as_slice() {
                ["journals" | "superblocks"] | [_, _, ..] => "differ",
                _ => "differs",
            };
            format!("Only {} {verb}: no file does.", joined(&nouns))
        }
    }
}

/// `a`, `a and b`, `a, b and c`.
fn joined(words: &[&str]) -> String {
    match words {
        [] => String::new(),
        [only] => (*only).to_owned(),
        [front @ .., last] => format!("{} and {last}", front.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(partition: Option<u32>, class: Class) -> Differing {
        Differing { partition, title: None, class, bytes: 512, places: 1, first_lba: 7, why: None }
    }

    #[test]
    fn a_sentence_says_whether_files_differ() {
        let mbr = Class::Table(TablePart::Mbr);
        let (one, two) = (Some(1), Some(2));
        let cases = [
            (
                vec![(one, Class::Free), (one, Class::Journal)],
                "Only free space and journals differ: no file does.",
            ),
            (vec![(one, Class::Free), (two, Class::Free)], "Only free space differs: no file does."),
            (vec![(one, Class::Journal)], "Only journals differ: no file does."),
            (
                vec![(None, mbr), (None, Class::Table(TablePart::Ebr))],
                "Only the partition table differs: no file does.",
            ),
            (
                vec![(None, mbr), (None, Class::BootGap), (two, Class::Swap)],
                "Only the partition table, the gap where boot loaders lie and swap space differ: no file does.",
            ),
            (vec![(None, Class::BootGap)], "Only the gap where boot loaders lie differs: no file does."),
            (vec![(one, Class::Used), (two, Class::Free)], "Metadata or files differ in partition 1."),
            (vec![(None, Class::Used)], "Metadata or files differ in the filesystem."),
            (vec![(one, Class::Used), (two, Class::Used)], "Metadata or files differ in 2 partitions."),
            (
                vec![(one, Class::Used), (two, Class::Unclassified)],
                "Metadata or files differ in partition 1; what differs in partition 2 is not known.",
            ),
            (
                vec![(two, Class::Unclassified), (one, Class::Free)],
                "What differs in partition 2 is not known: it may be files.",
            ),
        ];
        for (classes, want) in cases {
            let all: Vec<_> = classes.into_iter().map(|(part, class)| found(part, class)).collect();
            assert_eq!(sentence(&all), want);
        }
        assert!(lines(&[]).is_empty());
    }

    #[test]
    fn what_a_disk_says_paints_no_terminal() {
        let title = Some("LVM2 of \u{1b}[2J".to_owned());
        let all = [Differing { title, ..found(Some(3), Class::Unclassified) }];
        assert!(lines(&all).iter().all(|line| !line.contains('\u{1b}')));
    }
}
