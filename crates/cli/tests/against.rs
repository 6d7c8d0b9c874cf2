//! `verify --against`, run as a user runs it: single bytes of a disk are changed, and each is told for what it is.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::disallowed_methods)]

use serde_json::Value;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::process::{Command, Output};
use testkit::tools::has;

const SECTOR: u64 = 512;
/// First sectors of the partitions of [`MBR`].
const EXT4: u64 = 2048;
const FAT: u64 = 67_584;
const SWAP: u64 = 100_352;
const EBR: u64 = 116_736;
const UNKNOWN: u64 = 118_784;
const MBR: &str = "label: dos
start=2048, size=65536, type=83
start=67584, size=32768, type=6
start=100352, size=16384, type=82
start=116736, size=20480, type=5
start=118784, size=18432, type=83";
/// Bytes of a block of the ext4.
const BLOCK: u64 = 4096;

struct Lab {
    dir: tempfile::TempDir,
}

impl Lab {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    /// A disk with ext4, FAT, swap and, in an extended partition, what nobody knows.
    fn mbr(test: &str) -> Option<Self> {
        if !has(test, &["mkfs.ext4", "debugfs", "mkfs.vfat", "mcopy", "mkswap", "sfdisk"]) {
            return None;
        }
        let lab = Self::new();
        lab.ext4();
        lab.sh("truncate -s 16M fat; mkfs.vfat -F 16 fat; mcopy -i fat tree/note ::");
        lab.sh("truncate -s 8M swap; mkswap swap");
        lab.table(MBR);
        for (part, first) in [("ext4", EXT4), ("fat", FAT), ("swap", SWAP)] {
            lab.put(part, first);
        }
        lab.file("disk.img").write_all_at(&testkit::pattern(100_000), UNKNOWN * SECTOR).unwrap();
        lab.save(&[]);
        Some(lab)
    }

    fn ext4(&self) {
        self.sh("mkdir tree; head -c 300000 /dev/urandom > tree/large; echo 'A note for FAT' > tree/note");
        self.sh("truncate -s 32M ext4; mkfs.ext4 -q -F -b 4096 -d tree ext4");
    }

    fn table(&self, script: &str) {
        File::create(self.at("disk.img")).unwrap().set_len(72 << 20).unwrap();
        self.sh(&format!("sfdisk -q disk.img <<'END'\n{script}\nEND"));
    }

    fn put(&self, part: &str, first: u64) {
        let bytes = fs::read(self.at(part)).unwrap();
        self.file("disk.img").write_all_at(&bytes, first * SECTOR).unwrap();
    }

    fn at(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn file(&self, name: &str) -> File {
        File::options().read(true).write(true).open(self.at(name)).unwrap()
    }

    fn sh(&self, script: &str) -> String {
        let script = format!("cd '{}'; {script}", self.dir.path().display());
        testkit::tools::run(&script, self.dir.path())
    }

    fn run(&self, words: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_selfsame"));
        command.current_dir(self.dir.path()).args(words).output().unwrap()
    }

    /// Saves the disk, and makes a copy of it to spoil.
    fn save(&self, more: &[&str]) {
        let words = [&["save", "disk.img", "backups", "--name", "t", "--no-check"], more].concat();
        let output = self.run(&words);
        assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
        let folder = fs::read_dir(self.at("backups")).unwrap().next().unwrap().unwrap().path();
        fs::rename(folder, self.at("backup")).unwrap();
        fs::copy(self.at("disk.img"), self.at("other.img")).unwrap();
    }

    /// Changes a byte of the copy, or changes it back.
    fn change(&self, at: u64) {
        let (file, mut byte) = (self.file("other.img"), [0]);
        file.read_exact_at(&mut byte, at).unwrap();
        file.write_all_at(&[byte[0] ^ 0x5A], at).unwrap();
    }

    /// The byte of the disk where a block of the ext4 begins that debugfs names.
    fn block(&self, command: &str) -> u64 {
        let said = self.sh(&format!("debugfs -R '{command}' ext4 2>/dev/null"));
        let number: u64 = said.split_whitespace().last().unwrap().parse().unwrap();
        EXT4 * SECTOR + number * BLOCK
    }

    fn compare(&self, code: i32) -> Value {
        let output = self.run(&["verify", "backup", "--against", "other.img", "--json"]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{said}");
        serde_json::from_slice::<Value>(&output.stdout).unwrap()["against"].take()
    }

    fn text(&self) -> String {
        let output = self.run(&["verify", "backup", "--against", "other.img"]);
        assert_eq!(output.status.code(), Some(4));
        String::from_utf8(output.stdout).unwrap()
    }
}

/// Partition, class, bytes, places and first sector of each.
fn classes(against: &Value) -> Vec<(Option<u64>, String, u64, u64, u64)> {
    let one = |class: &Value| {
        let number = |name: &str| class[name].as_u64();
        let name = class["class"].as_str().unwrap().to_owned();
        let sizes = (number("bytes").unwrap(), number("places").unwrap(), number("first_lba").unwrap());
        (number("partition"), name, sizes.0, sizes.1, sizes.2)
    };
    against["classes"].as_array().unwrap().iter().map(one).collect()
}

#[test]
fn each_byte_is_told_for_what_it_is() {
    let Some(lab) = Lab::mbr("each_byte_is_told_for_what_it_is") else { return };
    let disk = fs::read(lab.at("disk.img")).unwrap();
    let fat = &disk[usize::try_from(FAT * SECTOR).unwrap()..usize::try_from(SWAP * SECTOR).unwrap()];
    let note = fat.windows(14).position(|bytes| bytes == b"A note for FAT").unwrap() as u64;
    let cases = [
        (None, "mbr", 440),
        (None, "boot_gap", 5 * SECTOR),
        (None, "ebr", EBR * SECTOR + 3),
        (None, "unpartitioned", (EBR + 7) * SECTOR),
        (None, "unpartitioned", (72 << 20) - 1),
        (Some(1), "superblock", EXT4 * SECTOR + 1024 + 0x2C),
        (Some(1), "used", EXT4 * SECTOR + 2048),
        (Some(1), "journal", lab.block("bmap <8> 0") + 100),
        (Some(1), "journal", lab.block("bmap <8> 777") + 4000),
        (Some(1), "free", lab.block("ffb 1") + 4095),
        (Some(1), "used", lab.block("bmap /large 20")),
        (Some(1), "used", lab.block("bmap / 0") + 60),
        (Some(2), "used", FAT * SECTOR + note),
        (Some(2), "free", FAT * SECTOR + (12 << 20)),
        (Some(3), "swap", SWAP * SECTOR + 300_000),
        (Some(5), "unclassified", UNKNOWN * SECTOR + 50_000),
    ];
    for (partition, class, at) in cases {
        lab.change(at);
        let against = lab.compare(4);
        assert_eq!(
            classes(&against),
            [(partition, class.to_owned(), SECTOR, 1, at / SECTOR)],
            "{class} {at}"
        );
        assert_eq!(against["classes"][0]["why"].is_string(), class == "unclassified", "{class}");
        lab.change(at);
    }
    assert_eq!(classes(&lab.compare(0)), []);
}

#[test]
fn the_answer_ends_with_what_it_means_for_files() {
    let Some(lab) = Lab::mbr("the_answer_ends_with_what_it_means_for_files") else { return };
    let (free, journal, large) = (lab.block("ffb 1"), lab.block("bmap <8> 5"), lab.block("bmap /large 0"));
    [free, free + SECTOR, free + 3 * SECTOR, journal].iter().for_each(|at| lab.change(*at));
    let said = lab.text();
    let row = |cell: &str| -> Vec<String> {
        let line =
            said.lines().find(|line| line.contains(cell)).unwrap_or_else(|| panic!("no {cell}: {said}"));
        line.split_whitespace().map(str::to_owned).collect()
    };
    let lba = |at: u64| (at / SECTOR).to_string();
    let words = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(row("free space "), words(&format!("partition 1 (ext4) free space 1.5 KiB 2 {}", lba(free))));
    assert_eq!(row("journal "), words(&format!("partition 1 (ext4) journal 512 B 1 {}", lba(journal))));
    let last = said.lines().last().unwrap();
    let either = [
        "Only free space and journals differ: no file does.",
        "Only journals and free space differ: no file does.",
    ];
    assert!(either.contains(&last), "{said}");
    lab.change(large);
    assert!(lab.text().ends_with("Metadata or files differ in partition 1.\n"), "{}", lab.text());
    lab.change(UNKNOWN * SECTOR);
    let said = lab.text();
    assert!(said.contains("partition 5 (Linux): not classified: "), "{said}");
    assert!(said.ends_with("partition 1; what differs in partition 5 is not known.\n"), "{said}");
}

#[test]
fn a_run_that_crosses_everything_is_sorted_sector_by_sector() {
    let Some(lab) = Lab::mbr("a_run_that_crosses_everything_is_sorted_sector_by_sector") else { return };
    let mut disk = fs::read(lab.at("disk.img")).unwrap();
    disk.iter_mut().for_each(|byte| *byte ^= 0xFF);
    fs::write(lab.at("other.img"), &disk).unwrap();
    let against = lab.compare(4);
    let found = classes(&against);
    let sum: u64 = found.iter().map(|class| class.2).sum();
    assert_eq!(sum, 72 << 20);
    let bytes = |partition, name: &str| {
        let of = found.iter().filter(|class| (class.0, class.1.as_str()) == (partition, name));
        of.map(|class| class.2).sum::<u64>()
    };
    let header = lab.sh("dumpe2fs -h ext4 2>/dev/null");
    let number = |name: &str| -> u64 {
        let line = header.lines().find(|line| line.starts_with(name)).unwrap();
        line.split_whitespace().last().unwrap().parse().unwrap()
    };
    assert_eq!(bytes(Some(1), "free"), number("Free blocks:") * BLOCK);
    assert_eq!(bytes(Some(1), "journal"), number("Total journal blocks:") * BLOCK);
    assert_eq!(bytes(Some(1), "superblock"), 1024);
    assert_eq!(bytes(Some(3), "swap"), 8 << 20);
    assert_eq!(bytes(None, "mbr") + bytes(None, "ebr"), 1024);
    assert_eq!(bytes(None, "boot_gap"), (EXT4 - 1) * SECTOR);
    assert_eq!((&against["places"], &against["ranges"][0][1]), (&1.into(), &((72 << 11) - 1).into()));
}

#[test]
fn parts_of_a_gpt() {
    if !has("parts_of_a_gpt", &["sfdisk", "mkfs.ext4"]) {
        return;
    }
    let lab = Lab::new();
    lab.ext4();
    lab.table("label: gpt\nstart=2048, size=65536");
    lab.put("ext4", 2048);
    lab.save(&[]);
    let last = (72 << 11) - 1;
    let want = [
        ("mbr", 0),
        ("gpt_header", 1),
        ("gpt_entries", 2),
        ("boot_gap", 34),
        ("unpartitioned", last - 33),
        ("backup_gpt_entries", last - 32),
        ("backup_gpt_header", last),
    ];
    want.iter().for_each(|(_, lba)| lab.change(lba * SECTOR + 17));
    let want: Vec<_> = want.into_iter().map(|(name, lba)| (None, name.to_owned(), SECTOR, 1, lba)).collect();
    assert_eq!(classes(&lab.compare(4)), want);
    assert!(lab.text().lines().last().unwrap().starts_with("Only the partition table, the gap where"));
}

#[test]
fn a_filesystem_without_a_table_and_without_its_free_space() {
    if !has("a_filesystem_without_a_table_and_without_its_free_space", &["mkfs.ext4", "debugfs"]) {
        return;
    }
    let lab = Lab::new();
    lab.ext4();
    fs::copy(lab.at("ext4"), lab.at("disk.img")).unwrap();
    lab.save(&["--skip-free"]);
    // The last sector, where a GPT could be, is free and left out.
    assert_eq!(lab.run(&["show", "backup"]).status.code(), Some(0));
    let at = |command| lab.block(command) - EXT4 * SECTOR;
    let (journal, large, free) = (at("bmap <8> 9"), at("bmap /large 1"), at("ffb 1 8000"));
    lab.change(free);
    assert_eq!(classes(&lab.compare(0)), []);
    lab.change(journal);
    assert_eq!(classes(&lab.compare(4)), [(None, "journal".to_owned(), SECTOR, 1, journal / SECTOR)]);
    lab.change(large);
    assert!(lab.text().ends_with("Metadata or files differ in the filesystem.\n"));
}
