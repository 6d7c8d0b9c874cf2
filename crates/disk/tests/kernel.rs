//! Tables that no tool makes, read as Linux reads them: numbers, starts and sizes as its 6.1 printed them
//! (tests/corpus/crafted.linux), and where it says something else than the table, a finding.
#![allow(clippy::unwrap_used, clippy::print_stdout)]
#![allow(clippy::disallowed_methods)]

use disk::{Layout, layout};
use std::path::Path;
use testkit::ImageFile;
use testkit::tools::{has, run};

/// All findings of every disk of `craft-tables` that has any.
const FINDINGS: &[(&str, &[&str])] = &[
    ("aix", &["a physical volume of AIX: what looks like an MBR is none"]),
    ("gpt-entries-of-256", &["the GPT has entries of 256 bytes, not 128; Linux ignores it"]),
    ("gpt-entries-of-4096", &["the GPT has entries of 4096 bytes, not 128; Linux ignores it"]),
    (
        "gpt-entry-escapes",
        &[
            "partitions 2, 3: beyond the end of the disk; Linux ignores what lies there",
            "kept in one piece: partition 2 ends 512 bytes beyond the end of the disk",
        ],
    ),
    ("gpt-entry-reversed", &["partitions 2, 3: of less than no sectors; programs differ about that"]),
    ("gpt-number-300", &["partitions 256, 300: Linux counts to 255 and ignores what comes then"]),
    ("gpt-overlaps", &["kept in one piece: partition 1 and partition 2 overlap"]),
    ("gpt-protective-elsewhere", &["the protective MBR begins at LBA 2 instead of 1; Linux ignores the GPT"]),
    ("gpt-usable-beyond", &["the GPT was written for a larger disk; Linux ignores it"]),
    (
        "gpt-usable-reversed",
        &[
            "the GPT's first usable LBA, 9000, lies behind its last, 8000; Linux ignores it",
            "kept in one piece: partition 1 begins where the table lies",
        ],
    ),
    ("mbr-300-logicals", &["more EBRs than Linux follows"]),
    ("mbr-ebr-100-empty", &["more EBRs than Linux follows"]),
    ("mbr-ebr-loop", &["the chain of EBRs comes back to LBA 2048; Linux counts its partitions again"]),
    ("mbr-ebr-none", &["the extended partition at LBA 2048 holds no EBR"]),
    (
        "mbr-escapes",
        &[
            "partition 3: beyond the end of the disk; Linux ignores what lies there",
            "partition 2: longer than the disk; Linux cuts off what lies beyond",
            "kept in one piece: partition 2 ends 14811136 bytes beyond the end of the disk",
        ],
    ),
    ("mbr-overlaps", &["kept in one piece: partition 1 and partition 2 overlap"]),
    (
        "slices-freebsd",
        &[
            "partition 1 holds a FreeBSD disklabel with slices, which Linux shows as partitions 5 to 6; it is one here",
        ],
    ),
    (
        "slices-minix",
        &[
            "partition 1 holds a Minix table with slices, which Linux shows as partitions 5 to 6; it is one here",
        ],
    ),
    (
        "slices-openbsd",
        &[
            "partition 1 holds an OpenBSD disklabel with slices, which Linux shows as partitions 6 to 7; it is one here",
        ],
    ),
    (
        "slices-solaris",
        &[
            "partition 1 holds a Solaris VTOC with slices, which Linux shows as partitions 5 to 6; it is one here",
            "partition 2 holds a Solaris VTOC with slices, which Linux shows as partition 7; it is one here",
        ],
    ),
    (
        "slices-unixware",
        &[
            "partition 1 holds a UnixWare VTOC with slices, which Linux shows as partitions 5 to 6; it is one here",
        ],
    ),
];

/// Of ours what Linux has a device for, as it stands in crafted.linux; of an extended partition it shows two
/// sectors only.
fn listed(found: &Layout) -> Vec<String> {
    let size = |p: &disk::Partition| if p.extended { 2 } else { p.range.len() / 512 };
    found.partitions.iter().map(|p| format!("{}:{}+{}", p.number, p.range.start() / 512, size(p))).collect()
}

#[test]
fn crafted_tables_as_linux_reads_them() {
    if !has("crafted_tables_as_linux_reads_them", &["python3"]) {
        return;
    }
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/corpus");
    let folder = tempfile::tempdir().unwrap();
    run(&format!("{}/craft-tables $F", corpus.display()), folder.path());
    let linux = std::fs::read_to_string(corpus.join("crafted.linux")).unwrap();
    let mut images = 0;
    for image in std::fs::read_dir(folder.path()).unwrap() {
        let image = image.unwrap();
        let file = image.file_name().into_string().unwrap();
        let name = file.strip_suffix(".512.img").unwrap();
        let disk = ImageFile::open(&image.path(), image.metadata().unwrap().len()).unwrap();
        let found = layout::read(&disk, None).unwrap();
        let said: Vec<_> = found.findings.iter().map(|finding| finding.text.as_str()).collect();
        let wanted = FINDINGS.iter().find(|(known, _)| *known == name).map_or(&[][..], |(_, texts)| texts);
        assert_eq!(said, wanted, "{name}");
        images += 1;
        // Linux shows the loop as 251 times the same, and here are its 251 without a loop.
        if name == "mbr-ebr-loop" || name == "mbr-300-logicals" {
            let last = found.partitions.last().unwrap();
            assert_eq!(last.number, if name == "mbr-ebr-loop" { 5 } else { 255 });
            continue;
        }
        let line = linux.lines().find(|line| line.split(' ').next() == Some(name)).unwrap();
        let theirs: Vec<_> = line.split(' ').skip(1).collect();
        if listed(&found) != theirs {
            let explains = |text: &&str| text.contains("Linux") || text.contains("programs differ");
            assert!(said.iter().any(explains), "{name}: {:?}, Linux {theirs:?}", listed(&found));
        }
    }
    assert!(images > 30);
}
