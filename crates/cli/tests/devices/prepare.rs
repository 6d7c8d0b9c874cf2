//! `prepare` on loop devices: table, filesystem and mount, as `sgdisk`, `blkid` and the kernel see them; what is
//! refused; and what is said of the disk when a step fails.

use super::*;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Prepares without a question. Where the kernel knows no partition tables, it is told of the partition as soon
/// as the table is there.
fn prepare(disk: &Disk, more: &[&str]) -> Output {
    let over = AtomicBool::new(false);
    let id = disk.id();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let partition = format!("{}p1", disk.word());
            let sectors = tool("blockdev", &["--getsz", disk.word()]).trim().parse::<u64>().unwrap();
            let units = (sectors / 2048 - 2) * 2048;
            while !over.load(Ordering::Relaxed) {
                std::thread::sleep(Duration::from_millis(50));
                let has_table = Command::new("sgdisk").args(["-i", "1", disk.word()]).output().unwrap();
                let is_new = String::from_utf8_lossy(&has_table.stdout).contains("First sector: ");
                if is_new && !Path::new(&partition).exists() {
                    // addpart counts in 512 bytes, whatever the sectors are.
                    let told = ["1", "2048", &units.to_string()];
                    let _known = Command::new("addpart").arg(disk.word()).args(told).output();
                }
            }
        });
        let output = selfsame(
            &[&["prepare", disk.word(), "--yes", "--target-id", &id, "--progress", "none"], more].concat(),
        );
        over.store(true, Ordering::Relaxed);
        output
    })
}

fn done(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(0), "{}", said(output));
    format!("{}{}", String::from_utf8_lossy(&output.stdout), said(output))
}

#[test]
fn a_backup_disk_in_one_command() {
    let lab = Lab::new();
    for (fs, sector, label, kept) in [
        ("ext4", 512, "cassandra backup", "cassandra backup"),
        ("ext4", 4096, "Großmutters Rechner", "Großmutters Rec"),
        ("exfat", 512, "cassandra backup", "cassandra b"),
    ] {
        if Command::new(format!("mkfs.{fs}")).arg("-V").output().is_err() {
            return skip(&format!("mkfs.{fs}"));
        }
        let Some(disk) = Disk::over(lab.file("target.img", 64 * MIB), sector) else { return };
        std::fs::write(disk.word(), vec![0xFF; 64 << 20]).unwrap();
        let words = done(&prepare(&disk, &["--fs", fs, "--label", label]));
        let partition = format!("{}p1", disk.word());
        assert!(words.contains(&format!("{partition}: {fs} \"{kept}\", 62.0 MiB")), "{words}");
        assert_eq!(words.contains("the label is shortened"), label != kept, "{words}");
        let verified = tool("sgdisk", &["-v", disk.word()]);
        assert!(verified.contains("No problems found"), "{verified}");
        let info = tool("sgdisk", &["-i", "1", disk.word()]);
        assert!(
            info.contains(if fs == "ext4" { "Linux filesystem" } else { "Microsoft basic data" }),
            "{info}"
        );
        assert_eq!(tool("blkid", &["-p", "-s", "LABEL", "-o", "value", &partition]).trim_end(), kept);
        assert_eq!(tool("blkid", &["-p", "-s", "TYPE", "-o", "value", &partition]).trim_end(), fs);
        if fs == "ext4" {
            let checked = Command::new("fsck.ext4").args(["-f", "-n", &partition]).output().unwrap();
            assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stdout));
        }
    }
}

#[test]
fn a_prepared_disk_is_mounted_and_takes_a_backup() {
    let lab = Lab::new();
    let Some(disk) = lab.disk("target.img", 128 * MIB) else { return };
    let dir = lab.path("mnt");
    std::fs::create_dir(&dir).unwrap();
    let words = done(&prepare(&disk, &["--mount", text(&dir)]));
    let mounted = Mounted(dir);
    assert!(words.contains(&format!("mounted at {}", mounted.dir())), "{words}");
    assert!(words.contains("selfsame save DISK"), "{words}");
    std::fs::write(lab.path("sample.img"), testkit::sample::disk()).unwrap();
    backup_into(Path::new(mounted.dir()), text(&lab.path("sample.img")));
    // It is in use now.
    let output = prepare(&disk, &[]);
    refused(&output, 5, &["is mounted at", "unmount it first"]);
}

#[test]
fn what_is_no_backup_disk_is_refused() {
    let lab = Lab::new();
    let Some(disk) = lab.ext4("target.img", 64 * MIB) else { return };
    let before = disk.bytes();
    let run = |words: &[&str]| selfsame(&[&["prepare", disk.word()], words].concat());
    refused(&run(&["--yes", "--target-id", "0123456789"]), 5, &["0123456789", &disk.id()]);
    refused(&run(&["--yes"]), 5, &["--yes needs --target-id"]);
    refused(&run(&["--label", "a\nb"]), 2, &["no control characters"]);
    refused(&run(&["--mount", "/no/such/folder"]), 1, &["no such folder: /no/such/folder"]);
    refused(&selfsame(&["prepare", "nosuch"]), 1, &["no such disk: nosuch"]);
    tool("addpart", &[disk.word(), "1", "2048", "4096"]);
    let partition = format!("{}p1", disk.word());
    if Path::new(&partition).exists() {
        refused(&selfsame(&["prepare", &partition]), 5, &["is a partition: did you mean", disk.name()]);
        tool("delpart", &[disk.word(), "1"]);
    }
    assert!(disk.bytes() == before);
    let Some(small) = lab.disk("small.img", 4 * MIB) else { return };
    refused(&selfsame(&["prepare", small.word()]), 2, &["too small for backups"]);

    let mut session = terminal::Session::start(&[SELFSAME, "prepare", disk.word()]);
    let shown = session.wait_for("to write to it: ").to_owned();
    for words in ["an empty ext4 \"backup\"", "all of it will be lost", "ext4 \"family\""] {
        assert!(shown.contains(words), "{shown}");
    }
    session.type_keys("no\n");
    assert_eq!(session.end().0, Some(5));
    assert!(disk.bytes() == before);
}

/// A mkfs that fails, and one that lies.
#[test]
fn a_failing_step_says_what_is_on_the_disk() {
    let lab = Lab::new();
    let Some(disk) = lab.disk("target.img", 64 * MIB) else { return };
    let programs = lab.path("bin");
    std::fs::create_dir(&programs).unwrap();
    let path = std::env::var("PATH").unwrap();
    for (script, words) in [
        ("#!/bin/sh\necho no room >&2; exit 1\n", ["mkfs.ext4 failed: no room", "holds no whole filesystem"]),
        ("#!/bin/sh\nexit 0\n", ["but made no ext4", "holds no whole filesystem"]),
    ] {
        let program = programs.join("mkfs.ext4");
        std::fs::write(&program, script).unwrap();
        tool("chmod", &["+x", text(&program)]);
        let id = disk.id();
        let sectors = (64 - 2) * 2048;
        let mut child = Command::new(SELFSAME)
            .args(["prepare", disk.word(), "--yes", "--target-id", &id, "--progress", "none"])
            .env("PATH", format!("{}:{path}", text(&programs)))
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        while child.try_wait().unwrap().is_none() {
            std::thread::sleep(Duration::from_millis(50));
            if !Path::new(&format!("{}p1", disk.word())).exists() {
                let told = ["1", "2048", &sectors.to_string()];
                let _known = Command::new("addpart").arg(disk.word()).args(told).output();
            }
        }
        refused(&child.wait_with_output().unwrap(), 1, &words);
        let _forgotten = Command::new("delpart").args([disk.word(), "1"]).output();
    }
}
