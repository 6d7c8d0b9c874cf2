//! Sectors that could not be read when a backup was made, in words of files: `show --lost`, `verify --files`, `get`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::disallowed_methods)]

mod marked;

use block::{ByteRange, Extent, ExtentKind, ReadAt};
use serde_json::{Value, json};
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::sync::Arc;

/// Where the only partition begins, in sectors.
const FIRST: u64 = 2048;
/// Sectors of a block of its filesystem.
const BLOCK: u64 = 8;

/// A disk some sectors of which cannot be read, and that says so beforehand: so exactly those are lost.
struct Dying {
    disk: testkit::Memory,
    bad: Vec<ByteRange>,
}

impl ReadAt for Dying {
    fn size(&self) -> u64 {
        self.disk.size()
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> block::Result<()> {
        self.disk.read_at(offset, buf)
    }

    fn extent_at(&self, offset: u64) -> block::Result<Extent> {
        ByteRange::within(self.size(), offset, 1)?;
        let next = self.bad.iter().find(|bad| bad.end() > offset);
        let (end, kind) = match next {
            Some(bad) if bad.contains(offset) => (bad.end(), ExtentKind::Bad),
            _ => (next.map_or(self.size(), |bad| bad.start()), ExtentKind::Data),
        };
        Ok(Extent { range: ByteRange::span(offset, end), kind })
    }
}

struct Lab {
    dir: tempfile::TempDir,
    /// First sector on the disk of each block of this file, of this folder, and of a free block.
    file: Vec<u64>,
    folder: u64,
    free: u64,
}

impl Lab {
    /// A disk with one ext4 partition; `None` where its maker is missing.
    fn new(test: &str) -> Option<Self> {
        if !testkit::tools::has(test, &["mkfs.ext4", "debugfs"]) {
            return None;
        }
        let dir = tempfile::tempdir().unwrap();
        let mut lab = Self { dir, file: vec![], folder: 0, free: 0 };
        fs::create_dir_all(lab.at("tree/home/box")).unwrap();
        fs::write(lab.at("tree/home/report"), testkit::pattern(300_000)).unwrap();
        fs::write(lab.at("tree/home/whole"), testkit::pattern(100_000)).unwrap();
        fs::write(lab.at("tree/home/box/inside"), "a name that is lost").unwrap();
        File::create(lab.at("part")).unwrap().set_len(32 << 20).unwrap();
        lab.sh("mkfs.ext4 -q -F -b 4096 -d tree part");
        lab.file = lab.blocks("blocks /home/report");
        lab.folder = lab.blocks("blocks /home/box")[0];
        lab.free = lab.blocks("ffb 1 6000")[0];
        Some(lab)
    }

    /// Blocks that debugfs names, as sectors of the disk.
    fn blocks(&self, question: &str) -> Vec<u64> {
        let said = self.sh(&format!("debugfs -R '{question}' part 2>/dev/null"));
        let numbers = said.split_whitespace().filter_map(|word| word.parse::<u64>().ok());
        numbers.map(|block| FIRST + block * BLOCK).collect()
    }

    fn at(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn sh(&self, script: &str) -> String {
        testkit::tools::run(&format!("cd \"$F\"; {script}"), self.dir.path())
    }

    fn run(&self, words: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_selfsame"));
        command.current_dir(self.dir.path()).args(words).output().unwrap()
    }

    /// Its standard output; fails unless it ends with `code`.
    fn said(&self, code: i32, words: &[&str]) -> String {
        let output = self.run(words);
        assert_eq!(output.status.code(), Some(code), "{words:?}: {}", text(&output.stderr));
        text(&output.stdout).to_owned()
    }

    fn document(&self, code: i32, words: &[&str]) -> Value {
        serde_json::from_str(&self.said(code, words)).unwrap()
    }

    /// A backup of the disk without these sectors: first ones and how many.
    fn saved_without(&self, sectors: &[(u64, u64)]) -> String {
        let mut table = [0; 512];
        table[446 + 4] = 0x83;
        table[446 + 8..446 + 12].copy_from_slice(&u32::try_from(FIRST).unwrap().to_le_bytes());
        table[446 + 12..446 + 16].copy_from_slice(&0x1_0000_u32.to_le_bytes());
        table[510..].copy_from_slice(&[0x55, 0xAA]);
        let image = File::create(self.at("disk.img")).unwrap();
        image.write_all_at(&table, 0).unwrap();
        image.write_all_at(&fs::read(self.at("part")).unwrap(), FIRST * 512).unwrap();

        let mut bad: Vec<_> =
            sectors.iter().map(|(first, many)| ByteRange::new(first * 512, many * 512).unwrap()).collect();
        bad.sort_by_key(|bad| bad.start());
        let disk = testkit::Memory::new(fs::read(self.at("disk.img")).unwrap());
        let disk = disk.with(|disk| disk.bad.clone_from(&bad));
        let source = Arc::new(Dying { disk, bad });
        let saved = marked::save(&self.at("disk.img"), source, &self.at("backups"), true);
        assert_eq!(saved.missing, sectors.iter().map(|(_, many)| many * 512).sum::<u64>());
        saved.folder.to_str().unwrap().to_owned()
    }
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

fn lines(first: u64, last: u64) -> String {
    format!("LBA {first} to {last} of the disk")
}

#[test]
fn lost_sectors_are_told_as_files() {
    let Some(lab) = Lab::new("lost_sectors_are_told_as_files") else { return };
    // In a file: two sectors of one block, and one of another. All of a folder's block. Free ones, and in the gap.
    let (in_file, again, free, gap) = (lab.file[10] + 3, lab.file[50], lab.free, 100);
    let backup = lab.saved_without(&[(in_file, 2), (again, 1), (lab.folder, BLOCK), (free, 3), (gap, 1)]);

    let said = lab.said(0, &["show", "--lost", &backup]);
    let named = |what: &str, place: &str| {
        let found = said.lines().any(|line| line.starts_with(what) && line.ends_with(place));
        assert!(found, "no {what:?} with {place:?} in\n{said}");
    };
    assert!(said.starts_with("7.5 KiB (7680 bytes) could not be read\n"), "{said}");
    named("1/home/report: ", &lines(in_file, in_file + 1));
    named("1/home/box: ", &lines(lab.folder, lab.folder + BLOCK - 1));
    named("1: no file: metadata or free space; ", &lines(free, free + 2));
    named("outside of partitions; ", &lines(gap, gap));
    assert_eq!(said.lines().count(), 5, "{said}");

    let shown = lab.document(0, &["show", "--lost", "--json", &backup]);
    assert_eq!((&shown["bad"], &shown["failed"]), (&json!(7680), &json!(2)));
    let mut ranges = vec![
        [gap, gap],
        [in_file, in_file + 1],
        [again, again],
        [lab.folder, lab.folder + BLOCK - 1],
        [free, free + 2],
    ];
    ranges.sort_unstable();
    assert_eq!(shown["ranges"], json!(ranges));
    // Also the second place in the file is the file's.
    let no_file = json!([
        { "part": null, "first_lba": gap, "last_lba": gap },
        { "part": "1", "first_lba": free, "last_lba": free + 2 },
    ]);
    assert_eq!(shown["no_file"], no_file);

    // The backup is what it says; its files are not all there.
    let verified = lab.run(&["verify", &backup]);
    assert_eq!(verified.status.code(), Some(0));
    assert!(text(&verified.stdout).contains("could not be read"), "{}", text(&verified.stdout));
    let told = lab.said(3, &["verify", "--files", &backup]);
    assert!(told.contains(&format!("; {}", lines(in_file, in_file + 1))), "{told}");
    assert!(told.contains("1/home/box: "), "{told}");
    let verified = lab.document(3, &["verify", "--files", "--json", &backup]);
    assert_eq!((&verified["result"], &verified["intact"]), (&json!("done with losses"), &json!(true)));
    let faults = verified["filesystems"]["faults"].as_array().unwrap();
    assert_eq!(faults.len(), 2, "{faults:?}");
    let of = |name: &str| faults.iter().find(|fault| fault["name"] == name).unwrap();
    for (name, first, last) in
        [("home/report", in_file, in_file + 1), ("home/box", lab.folder, lab.folder + BLOCK - 1)]
    {
        let fault = of(name);
        assert_eq!((&fault["first_lba"], &fault["last_lba"]), (&json!(first), &json!(last)), "{fault}");
        assert_eq!((&fault["part"], &fault["lost"]), (&json!("1"), &json!(true)), "{fault}");
    }

    // What there is comes out.
    let got = lab.document(3, &["get", "-r", "--json", "--progress", "none", &backup, "1/home", "out"]);
    assert_eq!((&got["result"], &got["failed"]), (&json!("done with losses"), &json!(2)));
    assert!(fs::read(lab.at("out/whole")).unwrap() == testkit::pattern(100_000));
    let report = fs::read(lab.at("out/report")).unwrap();
    let good = testkit::pattern(300_000);
    let differ: Vec<_> =
        (0..300_000 / 512).filter(|n| report[n * 512..][..512] != good[n * 512..][..512]).collect();
    assert_eq!(report.len(), good.len());
    assert!(differ.iter().all(|n| report[n * 512..][..512] == [0; 512]), "{differ:?}");
    assert!(differ.contains(&83) && differ.contains(&84) && differ.contains(&400), "{differ:?}");
}

#[test]
fn lost_sectors_that_no_file_needs_harm_none() {
    let Some(lab) = Lab::new("lost_sectors_that_no_file_needs_harm_none") else { return };
    let backup = lab.saved_without(&[(lab.free, 1)]);
    let said = lab.said(0, &["show", "--lost", &backup]);
    assert!(said.contains("1: no file: metadata or free space"), "{said}");
    let verified = lab.document(0, &["verify", "--files", "--json", &backup]);
    assert_eq!(verified["filesystems"]["failed"], 0);
    assert_eq!((&verified["bad"], &verified["result"]), (&json!(512), &json!("done")));
    let whole = lab.saved_without(&[]);
    assert_eq!(lab.said(0, &["show", "--lost", &whole]), "all sectors could be read\n");
}
