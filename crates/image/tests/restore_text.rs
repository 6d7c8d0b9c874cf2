//! The commands of RESTORE.txt, run by `sh` with the stock tools, give the disk.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

use image::{Manifest, restore_text};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Sectors of the disk.
const DISK: usize = 9001;
/// first sector, role, partition, file; in disk order.
const REGIONS: &[(usize, &str, Option<u32>, Option<usize>)] = &[
    (0, "preamble", None, Some(0)),
    (63, "partition", Some(1), Some(1)),
    (4000, "gap", None, Some(3)),
    (4131, "ebr", None, Some(3)),
    (4132, "partition", Some(5), Some(2)),
    (8000, "partition", Some(6), None),
    (8968, "tail", None, Some(3)),
];
const FILES: [(&str, &str); 4] =
    [("pc-sda.mbr", "raw"), ("pc-sda1.ext4.zst", "zst"), ("pc-sda5.swap", "raw"), ("pc-sda.rest.zst", "zst")];

fn range(number: usize) -> std::ops::Range<usize> {
    let end = REGIONS.get(number + 1).map_or(DISK, |next| next.0);
    REGIONS[number].0 * 512..end * 512
}

/// Bytes that do not compress, from a generator that is not random.
fn disk() -> Vec<u8> {
    let mut x = 88_172_645_463_325_252_u64;
    let mut next = || {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        x.to_le_bytes()
    };
    (0..DISK * 64).flat_map(|_| next()).collect()
}

/// The plain bytes of a stored file.
fn plain(file: usize, disk: &[u8]) -> Vec<u8> {
    let numbers = (0..REGIONS.len()).filter(|number| REGIONS[*number].3 == Some(file));
    numbers.flat_map(|number| disk[range(number)].to_vec()).collect()
}

/// Stores the file in `parts` parts; what FORMAT 2.2 says of it.
fn store(folder: &Path, file: usize, disk: &[u8], parts: usize) -> Value {
    let (name, encoding) = FILES[file];
    let plain = plain(file, disk);
    let stored = if encoding == "zst" { zstd::encode_all(&plain[..], 1).unwrap() } else { plain.clone() };
    let pieces: Vec<_> = stored.chunks(stored.len().div_ceil(parts)).enumerate().collect();
    let part = |(number, bytes): &(usize, &[u8])| {
        let name = if pieces.len() == 1 { name.to_owned() } else { format!("{name}.{number:03}") };
        write(&folder.join(&name), bytes);
        json!({"name": name, "size": bytes.len()})
    };
    let parts: Vec<_> = pieces.iter().map(part).collect();
    json!({"name": name, "encoding": encoding, "length": plain.len(), "parts": parts, "blake3": null})
}

#[expect(clippy::disallowed_methods, reason = "a test's own files")]
fn write(path: &Path, bytes: &[u8]) {
    std::fs::write(path, bytes).unwrap();
}

fn manifest(files: &[Value], bad: u64) -> Manifest {
    let region = |number: usize| {
        let (_, role, partition, file) = REGIONS[number];
        let length = range(number).len();
        let before = (0..number).filter(|before| REGIONS[*before].3 == file);
        let offset = file.map(|_| before.map(|before| range(before).len()).sum::<usize>());
        json!({"start": range(number).start, "length": length, "role": role, "partition": partition,
               "type": null, "name": null, "content": null, "file": file, "offset": offset})
    };
    let regions: Vec<_> = (0..REGIONS.len()).map(region).collect();
    let json = json!({
        "format": 1, "requires": [], "backup_id": "00112233445566778899aabbccddeeff", "name": "pc-sda",
        "program": "selfsame 0.1.0", "started": "2026-11-24T01:00:00Z", "finished": "2026-11-24T02:00:00Z",
        "note": null, "grid": 65_536,
        "disk": {"size": DISK * 512, "sector_size": 512, "physical_sector_size": 512, "source": "/dev/sda",
                 "kind": "disk", "transport": "ata", "model": "X\n    rm -rf /", "serial": "1", "wwn": "",
                 "id": "0123456789"},
        "table": {"type": "mbr", "id": null}, "regions": regions, "files": files,
        "index": {"name": "pc-sda.idx", "pages": 1, "digest": "00".repeat(32)},
        "totals": {"data": DISK as u64 * 512 - bad, "zero": 0, "absent": 0, "bad": bad},
        "options": {"format": "zst", "level": 1, "whole": false, "split": null, "parts": null},
        "sittings": []
    });
    Manifest::parse(json.to_string().as_bytes()).unwrap()
}

/// The indented lines; the first one says which disk.
fn script(text: &str, target: &Path) -> String {
    let lines: Vec<_> = text.lines().filter_map(|line| line.strip_prefix("    ")).collect();
    assert_eq!(lines[0], "TARGET=/dev/sdX");
    format!("TARGET={}\n{}\n", target.display(), lines[1..].join("\n"))
}

fn run(folder: &Path, script: &str) -> std::process::Output {
    Command::new("sh").args(["-eu", "-c", script]).current_dir(folder).output().unwrap()
}

/// A folder with a backup in `parts` parts, and a target of the disk's size full of 0xFF.
fn backup(parts: usize) -> (tempfile::TempDir, PathBuf, String) {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("renamed folder");
    std::fs::create_dir(&folder).unwrap();
    let disk = disk();
    let files: Vec<_> = (0..FILES.len()).map(|file| store(&folder, file, &disk, parts)).collect();
    let text = restore_text(&manifest(&files, 0));
    write(&folder.join("RESTORE.txt"), text.as_bytes());
    assert!(run(&folder, "sha256sum -- * > ../s; mv ../s SHA256SUMS").status.success());
    write(&dir.path().join("target"), &vec![0xFF; DISK * 512]);
    (dir, folder, text)
}

/// Without sfdisk's own opinion of a disk that holds noise.
fn without_sfdisk(script: &str) -> String {
    script.lines().filter(|line| !line.starts_with("sfdisk")).map(|line| format!("{line}\n")).collect()
}

fn tools(test: &str) -> bool {
    let missing = ["zstd", "sh", "dd", "sha256sum"].into_iter().find(|tool| {
        Command::new("sh")
            .args(["-c", &format!("command -v {tool}")])
            .output()
            .is_ok_and(|o| !o.status.success())
    });
    missing.inspect(|tool| println!("SKIPPED: {test}: needs {tool}")).is_none()
}

#[test]
fn the_commands_give_the_disk() {
    if !tools("the_commands_give_the_disk") {
        return;
    }
    for parts in [1, 3] {
        let (dir, folder, text) = backup(parts);
        let target = dir.path().join("target");
        let output = run(&folder, &without_sfdisk(&script(&text, &target)));
        assert!(output.status.success(), "{output:?}\n{text}");
        let mut want = disk();
        want[range(5)].fill(0xFF);
        assert!(std::fs::read(&target).unwrap() == want, "in {parts} parts\n{text}");
    }
}

#[test]
fn nothing_is_written_from_a_damaged_backup() {
    if !tools("nothing_is_written_from_a_damaged_backup") {
        return;
    }
    let (dir, folder, text) = backup(1);
    write(&folder.join("pc-sda5.swap"), b"damaged");
    let target = dir.path().join("target");
    assert!(!run(&folder, &script(&text, &target)).status.success());
    assert!(std::fs::read(&target).unwrap() == vec![0xFF; DISK * 512]);
}

#[test]
fn what_makes_it_a_disk_comes_last() {
    let (_dir, _folder, text) = backup(1);
    let writes: Vec<_> = text.lines().filter(|line| line.contains(" seek=")).collect();
    assert!(writes.last().unwrap().contains("pc-sda.mbr | dd"), "{text}");
    assert!(text.contains("    sfdisk -l \"$TARGET\"\n"));
}

#[test]
fn says_what_is_not_there() {
    let dir = tempfile::tempdir().unwrap();
    let files: Vec<_> = (0..FILES.len()).map(|file| store(dir.path(), file, &disk(), 1)).collect();
    let text = restore_text(&manifest(&files, 1024));
    assert!(text.contains("1024 bytes on bad sectors") && text.contains("pc-sda.map"), "{text}");
    assert!(text.contains("  partition 6, sectors 8000 to 8967\n"), "{text}");
}

/// A drive's name with a line break is not a command.
#[test]
fn what_a_drive_says_is_no_command() {
    let (_dir, _folder, text) = backup(1);
    assert!(text.contains("rm -rf /"));
    assert!(!script(&text, Path::new("x")).contains("rm -rf"), "{text}");
}
