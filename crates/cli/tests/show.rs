//! `show`, run as a user runs it, on the sample disk.
#![allow(clippy::disallowed_methods, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use serde_json::Value;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use tempfile::TempDir;

fn selfsame(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_selfsame")).args(args).output().unwrap()
}

/// The sample disk as a file in a folder of its own.
fn sample() -> (TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("sample.img");
    testkit::sample::write_to(&mut File::create(&path).unwrap()).unwrap();
    (dir, path)
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

fn document(image: &Path) -> Value {
    let shown = selfsame(&["show", image.to_str().unwrap(), "--json"]);
    assert!(shown.status.success(), "{}", text(&shown.stderr));
    serde_json::from_slice(&shown.stdout).unwrap()
}

#[test]
fn names_what_lies_where() {
    let (_dir, image) = sample();
    let shown = selfsame(&["show", image.to_str().unwrap()]);
    let page = text(&shown.stdout);
    assert_eq!(shown.status.code(), Some(0), "{}", text(&shown.stderr));
    let title = "sample.img: 64.0 MiB, 131072 sectors of 512 bytes, MBR, disk id 0x5e1f5a3e\n";
    assert!(page.starts_with(title), "{page}");
    let words =
        ["62 more sectors not empty", "\"SAMPLE\"", "EBR of partition 5", "sampleswap", "gap, not empty"];
    for words in words {
        assert!(page.contains(words), "no {words:?} in\n{page}");
    }
    assert!(page.lines().any(|line| line.contains("  1 *  ")), "no boot flag in\n{page}");
}

/// The table of an array of firmware shows through on each of its disks.
#[test]
fn says_that_the_disk_itself_is_in_an_array() {
    let (_dir, image) = sample();
    assert!(document(&image)["member"].is_null());
    let file = File::options().write(true).open(&image).unwrap();
    file.write_all_at(b"Intel Raid ISM Cfg Sig. 1.3.00", testkit::sample::SIZE - 1024).unwrap();
    assert_eq!(document(&image)["member"]["type"], "isw_raid_member");
    let shown = selfsame(&["show", image.to_str().unwrap()]);
    let note = "note: the disk itself belongs to an array (Intel Matrix RAID, member of an array)";
    assert!(text(&shown.stdout).contains(note), "{}", text(&shown.stdout));
}

#[test]
fn leaves_no_byte_out() {
    let (_dir, image) = sample();
    let mut at = 0;
    for region in document(&image)["regions"].as_array().unwrap() {
        assert_eq!(region["start"].as_u64(), Some(at));
        at += region["size"].as_u64().unwrap();
    }
    assert_eq!(at, testkit::sample::SIZE);
}

#[test]
fn agrees_with_sfdisk() {
    let (_dir, image) = sample();
    let Ok(output) = Command::new("sfdisk").arg("-J").arg(&image).output() else {
        println!("SKIPPED: agrees_with_sfdisk: needs sfdisk");
        return;
    };
    let theirs: Value = serde_json::from_slice(&output.stdout).unwrap();
    let theirs = theirs["partitiontable"]["partitions"].as_array().unwrap();
    let ours = document(&image);
    let ours = ours["partitions"].as_array().unwrap();
    assert_eq!(ours.len(), theirs.len());
    for (our, their) in ours.iter().zip(theirs) {
        assert!(their["node"].as_str().unwrap().ends_with(&format!("img{}", our["number"])), "{their}");
        assert_eq!(our["first_lba"], their["start"]);
        assert_eq!(our["sectors"], their["size"]);
        assert_eq!(our["type"], their["type"]);
        assert_eq!(our["bootable"].as_bool(), Some(their["bootable"].as_bool().unwrap_or(false)));
    }
}

#[test]
fn a_reader_that_has_seen_enough_is_no_error() {
    let (_dir, image) = sample();
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let child = Command::new(env!("CARGO_BIN_EXE_selfsame"))
        .args(["show", image.to_str().unwrap()])
        .stdout(writer)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(text(&output.stderr), "");
}

#[test]
fn an_unknown_device_is_answered_with_those_there_are() {
    let shown = selfsame(&["show", "sdz"]);
    assert_eq!(shown.status.code(), Some(1));
    assert!(text(&shown.stderr).contains("no such disk: sdz; disks now"), "{}", text(&shown.stderr));
    assert!(shown.stdout.is_empty());
}

#[test]
fn a_label_cannot_paint_the_terminal() {
    let (_dir, image) = sample();
    let mut bytes = fs::read(&image).unwrap();
    let places: Vec<_> = bytes.windows(11).enumerate().filter(|(_, at)| *at == b"SAMPLE     ").collect();
    let places: Vec<_> = places.into_iter().map(|(at, _)| at).collect();
    assert!(!places.is_empty());
    for at in places {
        bytes[at..at + 11].copy_from_slice(b"A\x1b[31mB\x07CDE");
    }
    fs::write(&image, bytes).unwrap();
    for json in [&[][..], &["--json"]] {
        let shown = selfsame(&[&["show", image.to_str().unwrap()], json].concat());
        assert_eq!(shown.status.code(), Some(0));
        assert!(shown.stdout.iter().all(|byte| *byte == b'\n' || !byte.is_ascii_control()));
        assert!(text(&shown.stdout).contains("[31mB"), "{}", text(&shown.stdout));
    }
}

#[test]
fn sectors_of_an_image_are_as_told_and_of_a_backup_as_it_says() {
    let (dir, image) = sample();
    let shown = selfsame(&["show", image.to_str().unwrap(), "--json", "--sector-size", "4096"]);
    let document: Value = serde_json::from_slice(&shown.stdout).unwrap();
    assert_eq!(document["sector_size"], 4096);
    assert_eq!(document["partitions"][0]["start"], 63 * 4096);
    assert!(document["table"]["findings"][0].as_str().unwrap().contains("written for sectors of 512 bytes"));

    let refused = selfsame(&["show", dir.path().to_str().unwrap(), "--sector-size", "4096"]);
    assert_eq!(refused.status.code(), Some(2));
    assert!(text(&refused.stderr).contains("image files only"), "{}", text(&refused.stderr));
    let refused = selfsame(&["show", image.to_str().unwrap(), "--sector-size", "1000"]);
    assert_eq!(refused.status.code(), Some(2));
}
