//! `clone` on loop devices: the same disk, a larger one, a smaller one, with ids of its own; and what is
//! refused. `sgdisk`, `sfdisk` and `blkid` judge the copies.

use super::*;

/// Clones without a question.
fn clone(from: &str, to: &Disk, more: &[&str]) -> Output {
    selfsame(&[&["clone", from, to.word(), "--yes", "--target-id", &to.id()], more].concat())
}

fn done(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(0), "{}", said(output));
    format!("{}{}", String::from_utf8_lossy(&output.stdout), said(output))
}

/// Refused with all of these words, and nothing was written.
fn refuses(from: &str, to: &Disk, more: &[&str], words: &[&str]) {
    let before = to.bytes();
    refused(&clone(from, to, more), 5, words);
    assert!(to.bytes() == before, "{}: written to", to.word());
}

/// A GPT disk of 48 MiB: ext4 from 1 MiB to `end` MiB, and 2 MiB before it nothing.
fn gpt(lab: &Lab, name: &str, end: u64) -> PathBuf {
    let image = lab.file(name, 48 * MIB);
    let last = end * 2048 - 1;
    tool("sgdisk", &["-n", &format!("1:2048:{last}"), "-c", "1:home", text(&image)]);
    tool(
        "mkfs.ext4",
        &["-q", "-F", "-L", "home", "-E", "offset=1048576", text(&image), &format!("{}k", (end - 1) * 1024)],
    );
    image
}

/// What sgdisk says of the whole table, where it finds nothing wrong.
fn sound(disk: &Disk) -> String {
    tool("blockdev", &["--flushbufs", disk.word()]);
    let verified = tool("sgdisk", &["-v", disk.word()]);
    assert!(verified.contains("No problems found"), "{verified}");
    let listed = tool("sfdisk", &["--verify", disk.word()]);
    assert!(listed.contains("No errors detected"), "{listed}");
    tool("sfdisk", &["-d", disk.word()])
}

/// A line of an sfdisk script, without the name of the device.
fn partition_line(script: &str) -> String {
    let line = script.lines().find(|line| line.contains("start=")).unwrap();
    line.split_once(" : ").unwrap().1.to_owned()
}

#[test]
fn a_clone_is_the_disk() {
    let lab = Lab::new();
    let Some(source) = lab.disk("source.img", testkit::sample::SIZE) else { return };
    let Some(target) = lab.disk("target.img", testkit::sample::SIZE) else { return };
    std::fs::write(source.word(), testkit::sample::disk()).unwrap();
    std::fs::write(target.word(), vec![0xFF; 64 << 20]).unwrap();
    let words = done(&clone(source.word(), &target, &[]));
    assert!(target.bytes() == testkit::sample::disk());
    for said in [
        "read back and is the same",
        "Two disks have id 0x5e1f5a3e and",
        "unplug one",
        "FAT16 in partition 1",
    ] {
        assert!(words.contains(said), "{words}");
    }
    // From a file to a disk, and from a disk to a new file.
    std::fs::write(target.word(), vec![0xFF; 64 << 20]).unwrap();
    std::fs::write(lab.path("sample.img"), testkit::sample::disk()).unwrap();
    done(&clone(text(&lab.path("sample.img")), &target, &["--no-check"]));
    assert!(target.bytes() == testkit::sample::disk());
    let copy = lab.path("copy.img");
    let words = done(&selfsame(&["clone", source.word(), text(&copy)]));
    assert!(!words.contains("Two disks"), "{words}");
    assert!(std::fs::read(&copy).unwrap() == testkit::sample::disk());
    assert!(source.bytes() == testkit::sample::disk());
}

#[test]
fn a_clone_onto_a_smaller_disk_has_a_table_for_it() {
    let lab = Lab::new();
    let source = gpt(&lab, "source.img", 30);
    // To the last sector that can be used: 30 MiB and 33 sectors for the backup.
    let size = 30 * MIB + 33 * 512;
    let Some(target) = lab.disk("target.img", size) else { return };
    let before = std::fs::read(&source).unwrap();
    let words = done(&clone(text(&source), &target, &[]));
    assert!(words.contains("smaller: the last"), "{words}");
    let script = sound(&target);
    assert_eq!(partition_line(&script), partition_line(&tool("sfdisk", &["-d", text(&source)])));
    assert!(script.contains(&format!("last-lba: {}", 30 * 2048 - 1)), "{script}");
    assert!(target.bytes()[1 << 20..30 << 20] == before[1 << 20..30 << 20]);
    assert!(std::fs::read(&source).unwrap() == before);

    // A sector less, and it does not fit.
    let Some(target) = lab.disk("less.img", size - 512) else { return };
    let mib = "`resize2fs ";
    let words = ["partition 1 (ext4) sticks out by 512 bytes", mib, " 28M`", "`echo ',59391' | sfdisk -N 1"];
    refuses(text(&source), &target, &[], &words);
    let words = ["resize2fs /dev/loopNp1 28M", "`losetup --find --show --partscan "];
    refuses(text(&source), &target, &[], &words);
    assert!(!said(&clone(text(&source), &target, &[])).contains("left out"));
}

#[test]
fn an_mbr_goes_onto_a_smaller_disk_as_it_is() {
    let lab = Lab::new();
    let bytes = testkit::sample::disk();
    std::fs::write(lab.path("sample.img"), &bytes).unwrap();
    // Partition 6 ends at sector 123063, the extended one at 125056.
    let Some(target) = lab.disk("target.img", 125_056 * 512) else { return };
    let words = done(&clone(text(&lab.path("sample.img")), &target, &[]));
    assert!(
        words.contains("the last 3080192 bytes, where no partition lies, are left out; they are not all"),
        "{words}"
    );
    assert!(target.bytes() == bytes[..125_056 * 512]);
    let Some(target) = lab.disk("less.img", 123_000 * 512) else { return };
    let words = [
        "partition 6 sticks out by 32256 bytes",
        "take a larger disk",
        "partition 2 (extended) sticks out by 1052672 bytes; shrink it: `echo ',77944' | sfdisk -N 2",
    ];
    refuses(text(&lab.path("sample.img")), &target, &[], &words);
}

#[test]
fn what_has_no_table_does_not_go_onto_a_smaller_disk() {
    let lab = Lab::new();
    let Some(source) = lab.ext4("source.img", 8 * MIB) else { return };
    let Some(target) = lab.disk("target.img", 7 * MIB) else { return };
    refuses(
        source.word(),
        &target,
        &[],
        &["too small by 1048576 bytes", "one ext4 without a partition table"],
    );
}

#[test]
fn a_clone_with_new_ids_differs_in_them_alone() {
    let lab = Lab::new();
    let source = gpt(&lab, "source.img", 30);
    let before = std::fs::read(&source).unwrap();
    let Some(target) = lab.disk("target.img", 48 * MIB) else { return };
    let words = done(&clone(text(&source), &target, &["--new-ids"]));
    assert!(words.contains("id of ext4 in partition 1") && !words.contains("id of disk"), "{words}");
    let (old, new) = (tool("sfdisk", &["-d", text(&source)]), sound(&target));
    let ids = |script: &str, key: &str| {
        let place = script.find(key).unwrap() + key.len();
        script[place..place + 36].to_owned()
    };
    for key in ["label-id: ", "uuid="] {
        assert_ne!(ids(&old, key), ids(&new, key));
        assert_eq!(&ids(&new, key)[14..15], "4", "a random GUID: {new}");
    }
    let (mut same, after) = (0, target.bytes());
    // Header and array of both copies.
    for (at, sector) in before.chunks(512).enumerate() {
        let is_table = matches!(at, 1 | 2 | 98_271 | 98_303);
        assert!(is_table || sector == &after[at * 512..][..512], "sector {at}");
        same += usize::from(sector == &after[at * 512..][..512]);
    }
    assert_eq!(same, 98_304 - 4);

    // Onto a larger disk with its backup at the end, and onto a smaller one.
    for (name, size, more) in [
        ("larger.img", 64 * MIB, &["--new-ids", "--move-backup-gpt"][..]),
        ("smaller.img", 40 * MIB, &["--new-ids"]),
    ] {
        let Some(target) = lab.disk(name, size) else { return };
        done(&clone(text(&source), &target, more));
        assert_ne!(ids(&old, "uuid="), ids(&sound(&target), "uuid="));
    }

    // Of an MBR the disk id.
    let bytes = testkit::sample::disk();
    std::fs::write(lab.path("sample.img"), &bytes).unwrap();
    let Some(target) = lab.disk("mbr.img", 64 * MIB) else { return };
    done(&clone(text(&lab.path("sample.img")), &target, &["--new-ids"]));
    let after = target.bytes();
    assert!(after[440..444] != bytes[440..444]);
    assert!(after[..440] == bytes[..440] && after[444..] == bytes[444..]);

    let Some(blank) = lab.disk("blank.img", 64 * MIB) else { return };
    let none = clone(blank.word(), &target, &["--new-ids"]);
    refused(&none, 1, &["without a partition table there are no ids"]);
}

#[test]
fn the_disk_itself_and_its_twins_are_no_target() {
    let lab = Lab::new();
    let Some(source) = lab.ext4("source.img", 8 * MIB) else { return };
    let image = lab.path("source.img");
    refuses(source.word(), &source, &[], &["the disk that is copied from"]);
    // A loop device over the file that is read.
    refuses(text(&image), &source, &[], &["the disk that is copied from"]);
    // A second one over the same file: the same disk by another path.
    let Some(twin) = Disk::over(image.clone(), 512) else { return };
    let before = twin.bytes();
    let output = clone(source.word(), &twin, &[]);
    assert_eq!(output.status.code(), Some(5), "{}", said(&output));
    assert!(twin.bytes() == before);
    drop(twin);
    // The file itself under another name for it.
    let same = lab.path("mnt");
    std::os::unix::fs::symlink(&image, &same).unwrap();
    refused(&selfsame(&["clone", text(&image), text(&image), "--force"]), 5, &["is what is copied"]);
}

#[test]
fn what_a_clone_is_not_for_is_refused() {
    let lab = Lab::new();
    let Some(disk) = lab.disk("target.img", testkit::sample::SIZE) else { return };
    let backup = lab.sample();
    let output = clone(&backup, &disk, &[]);
    refused(&output, 2, &["is a backup: selfsame restore writes it"]);
    let sample = lab.path("sample.img");
    let output = clone(text(&sample), &disk, &["--move-backup-gpt"]);
    refused(&output, 2, &["--move-backup-gpt: sample.img has no GPT"]);
    let Some(other) = Disk::over(lab.file("other.img", 64 * MIB), 4096) else { return };
    refuses(text(&sample), &other, &[], &["has sectors of 4096 bytes", "its table would be misread"]);
    refused(&selfsame(&["clone", text(&sample), disk.word()]), 5, &[]);
    refused(&selfsame(&["clone", text(&sample), "nosuch"]), 1, &["no such disk: nosuch", "./nosuch"]);
    refused(&selfsame(&["clone", text(&sample), "/dev/nosuch"]), 5, &["no such disk: /dev/nosuch"]);
    refused(&selfsame(&["clone", text(&sample), text(&sample)]), 5, &["is what is copied"]);
    assert!(disk.bytes().iter().all(|byte| *byte == 0));
    assert!(std::fs::read(&sample).unwrap() == testkit::sample::disk());
}

#[test]
fn a_blank_disk_over_a_full_one_is_questioned_by_clone_too() {
    let lab = Lab::new();
    let Some(target) = lab.ext4("target.img", 8 * MIB) else { return };
    let blank = lab.file("blank.img", 8 * MIB);
    let before = target.bytes();
    let mut session = terminal::Session::start(&[SELFSAME, "clone", text(&blank), target.word()]);
    let shown = session.wait_for("to write to it: ").to_owned();
    for words in ["copy FROM", "write TO", "are they swapped?", "all of it will be lost"] {
        assert!(shown.contains(words), "{shown}");
    }
    session.type_keys("yes\n");
    assert_eq!(session.end().0, Some(5));
    assert!(target.bytes() == before);
}

#[test]
fn a_mend_writes_only_what_differs() {
    let lab = Lab::new();
    let source = lab.path("sample.img");
    let mut bytes = testkit::sample::disk();
    std::fs::write(&source, &bytes).unwrap();
    let Some(target) = lab.disk("target.img", 72 * MIB) else { return };
    std::fs::write(target.word(), &bytes).unwrap();
    let words = done(&clone(text(&source), &target, &["--mend"]));
    assert!(words.contains("64.0 MiB (67108864 bytes) compared, 0 bytes written"), "{words}");
    assert!(words.contains("It was the same already"), "{words}");

    // Two frames in the middle, and with them both ends of the disk.
    for at in [20_000_000, 40_000_000] {
        bytes[at] ^= 0xFF;
    }
    std::fs::write(&source, &bytes).unwrap();
    let words = done(&clone(text(&source), &target, &["--mend"]));
    let written = (2 << 20) + (2 << 16);
    assert!(words.contains(&format!("({written} bytes) written")), "{words}");
    assert!(target.bytes()[..64 << 20] == bytes);

    let json = clone(text(&source), &target, &["--mend", "--json", "--new-ids"]);
    let document: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!(document["mended"], 2 << 20, "{document}");
    assert!(target.bytes()[444..64 << 20] == bytes[444..]);

    let copy = lab.path("copy.img");
    refused(&selfsame(&["clone", text(&source), text(&copy), "--mend"]), 2, &["nothing that could be kept"]);
}

/// The printed commands, followed to the letter, make the disk fit.
#[test]
fn a_disk_that_does_not_fit_is_shrunk_by_what_is_printed() {
    let lab = Lab::new();
    let image = gpt(&lab, "source.img", 40);
    let Some(source) = Disk::over(image, 512) else { return };
    let Some(target) = lab.disk("target.img", 24 * MIB) else { return };
    let output = clone(source.word(), &target, &[]);
    refused(&output, 5, &["partition 1 (ext4) sticks out by 16794112 bytes"]);
    let told = said(&output);
    let commands: Vec<&str> = told.split('`').skip(1).step_by(2).collect();
    assert_eq!(commands.len(), 3, "{told}");

    let partition = format!("{}p1", source.word());
    if !Path::new(&partition).exists() {
        tool("addpart", &[source.word(), "1", "2048", &(39 * 2048).to_string()]);
    }
    if !Path::new(&partition).exists() {
        return skip("nodes of partitions that the kernel makes (devtmpfs)");
    }
    for command in commands {
        // Nobody answers its questions here.
        let command = command.replace("e2fsck -f", "e2fsck -f -y");
        tool("sh", &["-ec", &command]);
    }
    let _forgotten = Command::new("delpart").args([source.word(), "1"]).output();
    done(&clone(source.word(), &target, &[]));
    sound(&target);
    let part = lab.path("part.img");
    std::fs::write(&part, &target.bytes()[1 << 20..]).unwrap();
    let checked = Command::new("fsck.ext4").args(["-f", "-n", text(&part)]).output().unwrap();
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stdout));
}

#[test]
fn disks_with_large_sectors_are_cloned_too() {
    let lab = Lab::new();
    let Some(source) = Disk::over(lab.file("source.img", 48 * MIB), 4096) else { return };
    tool("sgdisk", &["-n", "1:256:4095", "-c", "1:data", source.word()]);
    let bytes = testkit::pattern(15 << 20);
    std::os::unix::fs::FileExt::write_all_at(
        &std::fs::File::options().write(true).open(source.word()).unwrap(),
        &bytes,
        MIB,
    )
    .unwrap();
    for (name, size, more) in [
        ("same.img", 48 * MIB, &[][..]),
        ("smaller.img", 17 * MIB, &["--new-ids"]),
        ("larger.img", 50 * MIB, &["--move-backup-gpt"]),
    ] {
        let Some(target) = Disk::over(lab.file(name, size), 4096) else { return };
        done(&clone(source.word(), &target, more));
        let script = sound(&target);
        assert!(script.contains("sector-size: 4096") && script.contains("size=        3840"), "{script}");
        assert!(target.bytes()[1 << 20..16 << 20] == bytes);
    }
}

#[test]
fn a_source_that_changes_is_cloned_only_live() {
    let lab = Lab::new();
    let Some(source) = lab.ext4("source.img", 16 * MIB) else { return };
    let Some(target) = lab.disk("target.img", 16 * MIB) else { return };
    let mounted = Mounted::at(&lab, "mnt", source.word(), "noatime");
    refuses(source.word(), &target, &[], &["is in use (mounted or held)", "--live"]);
    let words = done(&clone(source.word(), &target, &["--live"]));
    assert!(
        words.contains("may hold a torn state") && words.contains("read back and is the same"),
        "{words}"
    );
    drop(mounted);
    let output = selfsame(&["clone", source.word(), target.word(), "--live", "--mend"]);
    assert_eq!(output.status.code(), Some(2), "{}", said(&output));
}
