//! What `restore` refuses to write to (DESIGN section 2, promise 4), although it was confirmed. Each time the
//! bytes of the device are the same before and after.

use super::*;
use std::fs::File;
use std::os::unix::fs::{FileExt, OpenOptionsExt};

const O_EXCL: i32 = 0o200;

#[test]
fn a_mounted_target_is_refused() {
    let lab = Lab::new();
    let Some(disk) = lab.ext4("target.img", 8 * MIB) else { return };
    let backup = lab.blank(8 * MIB);
    let mounted = Mounted::at(&lab, "mnt", disk.word(), "noatime");
    disk.refuses(&backup, &[], &[disk.word(), "is mounted at", mounted.dir(), "unmount it first"]);
}

#[test]
fn a_target_with_a_mounted_partition_is_refused() {
    let lab = Lab::new();
    let Some(disk) = lab.disk("target.img", 16 * MIB) else { return };
    let backup = lab.blank(16 * MIB);
    // First sector and sectors: the kernel is told of a partition, whether it can read tables or not.
    tool("addpart", &[disk.word(), "1", "2048", "16384"]);
    let partition = format!("{}p1", disk.word());
    if !Path::new(&partition).exists() {
        return skip("nodes of partitions that the kernel makes (devtmpfs)");
    }
    tool("mkfs.ext4", &["-q", "-F", &partition]);
    let mounted = Mounted::at(&lab, "mnt", &partition, "noatime");
    disk.refuses(&backup, &[], &[&partition, "is mounted at", mounted.dir(), "unmount it first"]);
}

#[test]
fn a_partition_is_no_disk() {
    let lab = Lab::new();
    let Some(disk) = lab.disk("target.img", 16 * MIB) else { return };
    let backup = lab.sample();
    tool("addpart", &[disk.word(), "1", "2048", "16384"]);
    let partition = format!("{}p1", disk.word());
    if !Path::new(&partition).exists() {
        return skip("nodes of partitions that the kernel makes (devtmpfs)");
    }
    let restored = selfsame(&["restore", &backup, &partition, "--yes", "--target-id", &disk.id()]);
    refused(&restored, 5, &["is a partition", &format!("did you mean {}?", disk.name())]);
}

#[test]
fn a_target_whose_file_is_mounted_elsewhere_is_refused() {
    let lab = Lab::new();
    let Some(disk) = lab.disk("target.img", 16 * MIB) else { return };
    let backup = lab.blank(16 * MIB);
    // The same file once more, from its second MiB on.
    let Some(twin) = LoopDevice::attach_from(&lab.path("target.img"), 512, MIB) else { return };
    let twin = text(twin.path());
    tool("mkfs.ext4", &["-q", "-F", twin]);
    let mounted = Mounted::at(&lab, "mnt", twin, "noatime");
    disk.refuses(&backup, &[], &[twin, "is mounted at", mounted.dir(), "unmount it first"]);
}

#[test]
fn a_target_that_is_swapped_to_is_refused() {
    let lab = Lab::new();
    let Some(disk) = lab.disk("target.img", 8 * MIB) else { return };
    let backup = lab.blank(8 * MIB);
    tool("mkswap", &[disk.word()]);
    // Last of all swaps, so that nothing is swapped to it.
    let on = Command::new("swapon").args(["--priority", "0", disk.word()]).output().unwrap();
    if !on.status.success() {
        return skip(&format!("swapon: {}", said(&on)));
    }
    let _off = Undo(&["swapoff"], disk.word().to_owned());
    let swapoff = format!("`swapoff {}` first", disk.word());
    disk.refuses(&backup, &[], &["the system swaps to", &swapoff, "the running system is on it"]);
}

#[test]
fn a_target_that_a_program_holds_is_refused() {
    let lab = Lab::new();
    let Some(disk) = lab.disk("target.img", 8 * MIB) else { return };
    let backup = lab.blank(8 * MIB);
    let this_program = format!("({}) has it open for writing", std::process::id());

    let writer = File::options().write(true).open(disk.word()).unwrap();
    disk.refuses(&backup, &[], &[&this_program, "end that program first"]);
    drop(writer);

    let alone = File::options().read(true).custom_flags(O_EXCL).open(disk.word()).unwrap();
    disk.refuses(&backup, &[], &["the kernel says that it is in use", "stop all that uses it"]);
    drop(alone);

    let locked = File::open(disk.word()).unwrap();
    locked.lock_shared().unwrap();
    disk.refuses(&backup, &[], &["a program that locked it", "end that program first"]);
    drop(locked);

    // Nobody is left: it is written.
    let done = disk.restore(&backup, &[]);
    assert_eq!(done.status.code(), Some(0), "{}", said(&done));
}

#[test]
fn a_target_under_another_device_is_refused() {
    let lab = Lab::new();
    let Some(disk) = lab.disk("target.img", 8 * MIB) else { return };
    let backup = lab.blank(8 * MIB);
    let Some(above) = Disk::over(PathBuf::from(disk.word()), 512) else { return };
    disk.refuses(&backup, &[], &["it is in use by", above.name(), "stop that first"]);
}

#[test]
fn a_read_only_target_is_refused() {
    let lab = Lab::new();
    let Some(disk) = lab.disk("target.img", 8 * MIB) else { return };
    let backup = lab.blank(8 * MIB);
    tool("blockdev", &["--setro", disk.word()]);
    let _writable = Undo(&["blockdev", "--setrw"], disk.word().to_owned());
    disk.refuses(&backup, &[], &["it is read-only", "blockdev --setrw"]);
}

#[test]
fn the_disk_that_the_backup_lies_on_is_refused() {
    let lab = Lab::new();
    let Some(disk) = lab.ext4("target.img", 32 * MIB) else { return };
    lab.file("blank.img", 32 * MIB);
    let mounted = Mounted::at(&lab, "mnt", disk.word(), "noatime");
    let backup = backup_into(Path::new(mounted.dir()), text(&lab.path("blank.img")));
    tool("sync", &["-f", mounted.dir()]);
    // All reasons at once.
    disk.refuses(&backup, &[], &["that the backup lies on", "choose another one", "is mounted at"]);
}

#[test]
fn a_target_that_cannot_take_it_is_refused() {
    let lab = Lab::new();
    let Some(small) = lab.disk("small.img", 60 * MIB) else { return };
    let backup = lab.sample();
    let words = ["too small by 4194304 bytes", "partition 6", "take a larger"];
    small.refuses(&backup, &[], &words);
    let _writer = File::options().write(true).open(small.word()).unwrap();
    small.refuses(&backup, &[], &[&words[..], &["has it open for writing"]].concat());

    let Some(other) = Disk::over(lab.file("other.img", 64 * MIB), 4096) else { return };
    other.refuses(
        &backup,
        &[],
        &["has sectors of 4096 bytes", "a disk with 512", "restore to an image file"],
    );
}

#[test]
fn one_partition_goes_only_where_it_belongs() {
    let lab = Lab::new();
    let Some(disk) = lab.disk("target.img", testkit::sample::SIZE) else { return };
    let backup = lab.sample();
    disk.refuses(&backup, &["--part", "5"], &["has no partition 5", "name the partition"]);
    let before = disk.bytes();
    refused(&disk.restore(&backup, &["--part", "9"]), 2, &["no partition 9", "there are: 1, 5, 6"]);
    assert!(disk.bytes() == before);

    // Where the same partition is, that one alone is written.
    let mut want = testkit::sample::disk();
    want[63 * 512..].fill(0xFF);
    // The chain of the logical partitions must be there for a partition 5.
    let ebr = 45_056 * 512..45_119 * 512;
    want[ebr.clone()].copy_from_slice(&testkit::sample::disk()[ebr]);
    std::fs::write(disk.word(), &want).unwrap();
    let done = disk.restore(&backup, &["--part", "5"]);
    assert_eq!(done.status.code(), Some(0), "{}", said(&done));
    let swap = 45_119 * 512..(45_119 + 16_384) * 512;
    want[swap.clone()].copy_from_slice(&testkit::sample::disk()[swap.clone()]);
    assert!(disk.bytes() == want);

    // A partition that is named gets it, if it fits.
    let Some(other) = lab.disk("other.img", 16 * MIB) else { return };
    // The ends of the disk, which its ID covers, are not those of the partition.
    let mut want = vec![0; 16 << 20];
    want[..512].fill(0xEE);
    std::fs::write(other.word(), &want).unwrap();
    tool("addpart", &[other.word(), "3", "2048", "16384"]);
    let node = format!("{}p3", other.word());
    if !Path::new(&node).exists() {
        return skip("nodes of partitions that the kernel makes (devtmpfs)");
    }
    let onto =
        |part| selfsame(&["restore", &backup, &node, "--part", part, "--yes", "--target-id", &other.id()]);
    refused(&onto("1"), 5, &["too small by 12091392 bytes"]);
    assert!(other.bytes() == want);
    let done = onto("5");
    assert_eq!(done.status.code(), Some(0), "{}", said(&done));
    want[1 << 20..9 << 20].copy_from_slice(&testkit::sample::disk()[swap]);
    assert!(other.bytes() == want);
}

#[test]
fn a_damaged_backup_is_never_a_success() {
    let lab = Lab::new();
    let Some(disk) = lab.disk("target.img", testkit::sample::SIZE) else { return };
    let backup = lab.sample();
    std::fs::write(disk.word(), vec![0xFF; 64 << 20]).unwrap();
    let flip = |name: &str, offset: u64| {
        let file = File::options().read(true).write(true).open(Path::new(&backup).join(name)).unwrap();
        let mut byte = [0];
        file.read_exact_at(&mut byte, offset).unwrap();
        file.write_all_at(&[byte[0] ^ 1], offset).unwrap();
    };
    // What the program reads first: nothing is written yet.
    flip("RESTORE.txt", 9);
    let before = disk.bytes();
    refused(&disk.restore(&backup, &[]), 4, &["RESTORE.txt", "selfsame verify"]);
    assert!(disk.bytes() == before);
    flip("RESTORE.txt", 9);
    // What it finds on the way: then what makes it a disk is zero.
    flip("t-sample6.img.zst", 3 << 20);
    refused(&disk.restore(&backup, &[]), 4, &["t-sample6", "is no disk now", "selfsame verify"]);
    let after = disk.bytes();
    assert!(after[..1 << 20].iter().chain(&after[63 << 20..]).all(|byte| *byte == 0));
    flip("t-sample6.img.zst", 3 << 20);
    assert_eq!(disk.restore(&backup, &[]).status.code(), Some(0));
    assert!(disk.bytes() == testkit::sample::disk());
}

#[test]
fn nothing_is_made_under_dev() {
    let lab = Lab::new();
    let backup = lab.blank(MIB);
    let output = selfsame(&["restore", &backup, "/dev/no-such-disk"]);
    refused(&output, 5, &["no such disk: /dev/no-such-disk", "disks now: "]);
    assert!(!Path::new("/dev/no-such-disk").exists());
    // A word without a slash is never a new file.
    let mut command = Command::new(SELFSAME);
    let output = command.current_dir(lab.path("")).args(["restore", &backup, "nosuch"]).output().unwrap();
    refused(&output, 1, &["no such disk: nosuch", "for a new image file write ./nosuch"]);
    assert!(!lab.path("nosuch").exists());
    let exists = text(&lab.path("blank.img")).to_owned();
    refused(&selfsame(&["restore", &backup, &exists]), 5, &["already exists", "--force"]);
}
