//! A backup onto a larger disk, and a backup that names no disk.

use super::*;

/// A GPT disk of 16 MiB with two partitions, made by sgdisk; bytes in both, in the gap and behind them.
fn gpt(lab: &Lab) -> Vec<u8> {
    let image = lab.file("gpt.img", 16 * MIB);
    tool("sgdisk", &["-n", "1:2048:+4M", "-n", "2:16384:+4M", "-c", "2:photos", text(&image)]);
    let mut bytes = std::fs::read(&image).unwrap();
    for (start, length) in [(1 << 20, 4 << 20), (6 << 20, 4096), (8 << 20, 4 << 20), (13 << 20, 4096)] {
        bytes[start..start + length].copy_from_slice(&testkit::pattern(length));
    }
    std::fs::write(&image, &bytes).unwrap();
    bytes
}

/// What sgdisk finds wrong with a disk.
fn problems(disk: &Disk) -> String {
    tool("blockdev", &["--flushbufs", disk.word()]);
    let output = Command::new("sgdisk").args(["-v", disk.word()]).output().unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn a_larger_target_gets_exactly_the_disk() {
    let lab = Lab::new();
    let Some(disk) = lab.disk("target.img", 72 * MIB) else { return };
    let backup = lab.sample();
    std::fs::write(disk.word(), vec![0xFF; 72 << 20]).unwrap();
    let done = disk.restore(&backup, &[]);
    assert_eq!(done.status.code(), Some(0), "{}", said(&done));
    assert!(
        said(&done).contains("the target is larger: its last 8388608 bytes stay unused"),
        "{}",
        said(&done)
    );
    assert!(said(&done).contains("Two disks have id 0x5e1f5a3e now"), "{}", said(&done));
    let bytes = disk.bytes();
    assert!(bytes[..64 << 20] == testkit::sample::disk());
    // Behind it nothing changes but the last MiB, where an old table may have been.
    assert!(bytes[64 << 20..71 << 20].iter().all(|byte| *byte == 0xFF));
    assert!(bytes[71 << 20..].iter().all(|byte| *byte == 0));
}

#[test]
fn a_backup_gpt_is_moved_when_it_is_asked_for() {
    let lab = Lab::new();
    if Command::new("sgdisk").arg("--version").output().is_err() {
        return skip("sgdisk");
    }
    let Some(disk) = lab.disk("target.img", 24 * MIB) else { return };
    let original = gpt(&lab);
    let backup = lab.backup("gpt.img");
    std::fs::write(disk.word(), vec![0xFF; 24 << 20]).unwrap();

    let done = disk.restore(&backup, &[]);
    assert_eq!(done.status.code(), Some(0), "{}", said(&done));
    for words in ["its last 8388608 bytes stay unused", "--move-backup-gpt moves it"] {
        assert!(said(&done).contains(words), "{}", said(&done));
    }
    assert!(disk.bytes()[..16 << 20] == original);
    assert!(!problems(&disk).contains("No problems found"), "{}", problems(&disk));

    let done = disk.restore(&backup, &["--move-backup-gpt"]);
    assert_eq!(done.status.code(), Some(0), "{}", said(&done));
    assert!(said(&done).contains("the backup GPT moves to its end"), "{}", said(&done));
    assert!(!said(&done).contains("stay unused"), "{}", said(&done));
    assert!(problems(&disk).contains("No problems found"), "{}", problems(&disk));
    // All but the table is what it was: partitions, gap and what lies behind them.
    let (bytes, table) = (disk.bytes(), 34 * 512);
    assert!(bytes[table..(16 << 20) - table] == original[table..(16 << 20) - table]);
}

#[test]
fn a_backup_gpt_is_moved_only_where_that_makes_sense() {
    let lab = Lab::new();
    let Some(disk) = lab.disk("target.img", 72 * MIB) else { return };
    let backup = lab.sample();
    let before = disk.bytes();
    let output = disk.restore(&backup, &["--move-backup-gpt"]);
    refused(&output, 2, &["--move-backup-gpt: this backup has no GPT"]);
    let output = disk.restore(&backup, &["--move-backup-gpt", "--part", "1"]);
    assert_eq!(output.status.code(), Some(2), "{}", said(&output));
    assert!(disk.bytes() == before);
    gpt(&lab);
    let back = lab.path("back.img");
    let output = selfsame(&["restore", &lab.backup("gpt.img"), text(&back), "--move-backup-gpt"]);
    refused(&output, 2, &["a new image file is as large as the disk was"]);
    assert!(!back.exists());
}

#[test]
fn without_a_target_the_original_is_proposed_if_it_can_be_known() {
    let lab = Lab::new();
    let Some(disk) = lab.disk("source.img", MIB) else { return };
    let backup = backup_into(&lab.path("backups"), disk.word());
    // The very same disk is there, but nothing tells loop devices apart for sure.
    let output = selfsame(&["restore", &backup]);
    refused(&output, 1, &["neither serial nor WWN", "name the disk or the new image file (./NAME)"]);

    // One that has a serial, and is not here.
    let folder = Path::new(&backup);
    let manifest = folder.join("manifest.json");
    let sum = || tool("sha256sum", &[text(&manifest)])[..64].to_owned();
    let (before, sums) = (sum(), folder.join("SHA256SUMS"));
    let edited = std::fs::read_to_string(&manifest).unwrap();
    let edited = edited.replacen("\"serial\": \"\"", "\"serial\": \"WD-NOT-HERE\"", 1);
    assert!(edited.contains("WD-NOT-HERE"));
    std::fs::write(&manifest, edited).unwrap();
    let summed = std::fs::read_to_string(&sums).unwrap().replace(&before, &sum());
    std::fs::write(&sums, summed).unwrap();
    refused(&selfsame(&["restore", &backup]), 1, &["the disk that this backup came from is not here"]);
}
