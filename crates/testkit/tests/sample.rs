//! The sample disk is what it says, in the eyes of the programs that made such disks.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

use std::{fs::File, io::Write, process::Command};
use tempfile::NamedTempFile;

/// The disk in a file, through `write_to`.
fn image() -> NamedTempFile {
    let mut file = NamedTempFile::new().unwrap();
    testkit::sample::write_to(file.as_file_mut()).unwrap();
    file
}

/// What `tool` prints, which must succeed; `None` without the tool.
fn run(test: &str, tool: &str, arguments: &[&str]) -> Option<String> {
    let Ok(output) = Command::new(tool).args(arguments).env("PATH", "/usr/sbin:/sbin:/usr/bin:/bin").output()
    else {
        println!("SKIPPED: {test}: needs {tool}");
        return None;
    };
    assert!(output.status.success(), "{tool}: {output:?}");
    Some(String::from_utf8(output.stdout).unwrap())
}

fn path(file: &NamedTempFile) -> &str {
    file.path().to_str().unwrap()
}

#[test]
fn the_file_and_the_bytes_are_the_same_disk() {
    let file = image();
    assert_eq!(file.as_file().metadata().unwrap().len(), testkit::sample::SIZE);
    assert!(std::fs::read(file.path()).unwrap() == testkit::sample::disk());
}

#[test]
fn sample_table_as_sfdisk_reads_it() {
    let file = image();
    let Some(text) = run("sample_table_as_sfdisk_reads_it", "sfdisk", &["-J", path(&file)]) else { return };
    let table = &serde_json::from_str::<serde_json::Value>(&text).unwrap()["partitiontable"];
    assert_eq!(table["label"], "dos");
    assert_eq!(table["id"], format!("{:#x}", testkit::sample::DISK_ID));
    let partitions: Vec<_> = table["partitions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|p| (&p["start"], &p["size"], &p["type"]))
        .collect();
    let expected = [(63, 40_000, "6"), (45_056, 80_000, "5"), (45_119, 16_384, "82"), (63_063, 60_000, "83")];
    assert_eq!(partitions.len(), expected.len());
    for (found, expected) in partitions.into_iter().zip(expected) {
        assert!(*found.0 == expected.0 && *found.1 == expected.1 && *found.2 == expected.2, "{found:?}");
    }
    assert_eq!(table["partitions"][0]["bootable"], true);
}

#[test]
fn sample_fat_as_fsck_reads_it() {
    let disk = testkit::sample::disk();
    let mut volume = NamedTempFile::new().unwrap();
    volume.write_all(&disk[63 * 512..40_063 * 512]).unwrap();
    let Some(text) = run("sample_fat_as_fsck_reads_it", "fsck.fat", &["-n", path(&volume)]) else { return };
    assert!(text.contains("5 files, 155/9971 clusters"), "{text}");
}

#[test]
fn sample_files_as_mtools_reads_them() {
    let file = image();
    let volume = format!("{}@@{}", path(&file), 63 * 512);
    let Some(listing) = run("sample_files_as_mtools_reads_them", "mdir", &["-b", "-/", "-i", &volume, "::"])
    else {
        return;
    };
    for name in ["::/NOTE.TXT", "::/PHOTO.JPG", "::/LETTERS/", "::/LETTERS/JUNE.TXT"] {
        assert!(listing.lines().any(|line| line == name), "{name} in {listing}");
    }
    let folder = tempfile::tempdir().unwrap();
    let photo = folder.path().join("photo");
    run(
        "sample_files_as_mtools_reads_them",
        "mcopy",
        &["-i", &volume, "::PHOTO.JPG", photo.to_str().unwrap()],
    )
    .unwrap();
    assert!(std::fs::read(photo).unwrap() == testkit::pattern(300_000));
}

#[test]
fn sample_content_as_blkid_reads_it() {
    let file = image();
    let probe = |sector: u32| {
        let offset = (sector * 512).to_string();
        run("sample_content_as_blkid_reads_it", "blkid", &["-p", "-o", "export", "-O", &offset, path(&file)])
    };
    let Some(fat) = probe(63) else { return };
    let swap = probe(45_119).unwrap();
    for (text, line) in [
        (&fat, "TYPE=vfat"),
        (&fat, "VERSION=FAT16"),
        (&fat, "LABEL=SAMPLE"),
        (&fat, "UUID=1998-0624"),
        (&swap, "TYPE=swap"),
        (&swap, "VERSION=1"),
        (&swap, "LABEL=sampleswap"),
        (&swap, "UUID=53656c66-7361-6d65-2073-616d706c6531"),
    ] {
        assert!(text.lines().any(|found| found == line), "{line} in {text}");
    }
}

#[test]
fn sample_disk_leaves_an_existing_file_alone() {
    let file = image();
    let status = Command::new(env!("CARGO_BIN_EXE_sample-disk")).arg(file.path()).output().unwrap().status;
    assert!(!status.success());
    assert_eq!(File::open(file.path()).unwrap().metadata().unwrap().len(), testkit::sample::SIZE);
}
