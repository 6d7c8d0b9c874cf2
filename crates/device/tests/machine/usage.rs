//! Who uses a disk, and what lies below a folder.

use crate::fake::{Fake, NVME, SATA};
use block::ErrorKind;
use device::{Machine, Usage};
use std::fs;
use std::path::{Path, PathBuf};

/// Two disks: sda with sda1 and sda2, sdb with sdb1.
fn two_disks() -> Fake {
    let fake = Fake::new();
    fake.disk("sda", &format!("{SATA}/a"));
    fake.partition("sda", "sda1", 1);
    fake.partition("sda", "sda2", 2);
    fake.disk("sdb", &format!("{SATA}/b"));
    fake.partition("sdb", "sdb1", 1);
    fake
}

fn usage(fake: &Fake, word: &str) -> Usage {
    fake.machine.usage_of(fake.machine.find(word).unwrap().devno).unwrap()
}

/// Where its filesystems are mounted.
fn dirs(usage: &Usage) -> Vec<&Path> {
    usage.mounted.iter().map(|mount| mount.dir.as_path()).collect()
}

fn devno((major, minor): (u32, u32)) -> String {
    format!("{major}:{minor}")
}

#[test]
fn nobody() {
    let fake = two_disks();
    assert_eq!(usage(&fake, "sda"), Usage::default());
    let gone = fake.machine.usage_of((9, 99)).unwrap_err();
    assert_eq!(gone.kind(), ErrorKind::Gone);
}

#[test]
fn a_mounted_partition_counts_for_the_disk_but_not_for_its_sibling() {
    let fake = two_disks();
    let sda1 = devno(fake.machine.find("sda1").unwrap().devno);
    fake.mounts(&[(&sda1, Path::new("/mnt"), "ext4", "/dev/sda1", "rw")]);
    for (word, mounted) in [("sda", true), ("sda1", true), ("sda2", false), ("sdb", false)] {
        assert_eq!(
            dirs(&usage(&fake, word)),
            if mounted { vec![Path::new("/mnt")] } else { vec![] },
            "{word}"
        );
    }
    // Seen by another process alone, and below what is on the whole disk.
    let sda = devno(fake.machine.find("sda").unwrap().devno);
    fake.mounts(&[]);
    fake.mounts_of(77, &[(&sda, Path::new("/other"), "ext4", "/dev/sda", "rw")]);
    for word in ["sda", "sda1", "sda2"] {
        assert_eq!(usage(&fake, word).mounted[0].seen_by, Some(77), "{word}");
    }
    // The root of another process may be that of a container; the first one's is the system.
    for (pid, is_system) in [(77, false), (1, true)] {
        fake.mounts_of(pid, &[(&sda, Path::new("/"), "ext4", "/dev/sda", "rw")]);
        assert_eq!(usage(&fake, "sda").system, is_system, "{pid}");
    }
}

#[test]
fn sda_is_not_sdaa() {
    let fake = two_disks();
    let sdaa = devno(fake.disk("sdaa", &format!("{SATA}/aa")));
    fake.mounts(&[(&sdaa, Path::new("/mnt"), "ext4", "/dev/sdaa", "rw")]);
    fake.write("proc/77/comm", "dd\n");
    fake.link("proc/77/fd/3", fake.path("dev/sdaa"));
    fake.write("proc/77/fdinfo/3", "flags:\t02\n");
    assert_eq!(usage(&fake, "sda"), Usage::default());
    assert_eq!(usage(&fake, "sdaa").open_elsewhere, ["dd (77)"]);
}

#[test]
fn every_device_of_a_btrfs_is_in_use() {
    let fake = two_disks();
    for device in ["sda2", "sdb1"] {
        fake.link(&format!("sys/fs/btrfs/uuid/devices/{device}"), "anywhere");
    }
    fake.link("sys/fs/btrfs/another/devices/sda1", "anywhere");
    fake.mounts(&[("0:24", Path::new("/mnt"), "btrfs", "/dev/sda2", "rw")]);
    assert_eq!(dirs(&usage(&fake, "sda2")), [Path::new("/mnt")]);
    assert_eq!(dirs(&usage(&fake, "sdb")), [Path::new("/mnt")]);
    assert_eq!(usage(&fake, "sdb").held_by, Vec::<String>::new());
    // Mounted where nobody can see it.
    assert_eq!(dirs(&usage(&fake, "sda1")), [] as [&Path; 0]);
    assert_eq!(usage(&fake, "sda1").held_by, ["btrfs"]);
}

#[test]
fn the_system_through_lvm_over_a_partition() {
    let fake = two_disks();
    let root = devno(fake.virtual_disk("dm-0", &["sda2"]));
    fake.write("sys/block/dm-0/dm/name", "vg-root\n");
    fake.write("sys/block/dm-0/dm/uuid", "LVM-abc\n");
    fake.mounts(&[(&root, Path::new("/"), "ext4", "/dev/mapper/vg-root", "rw")]);
    for (word, is_system) in
        [("sda", true), ("sda2", true), ("sda1", false), ("sdb", false), ("vg-root", true)]
    {
        assert_eq!(usage(&fake, word).system, is_system, "{word}");
    }
    assert_eq!(usage(&fake, "sda").held_by, ["LVM vg-root (dm-0)"]);
    assert_eq!(dirs(&usage(&fake, "sda")), [Path::new("/")]);
}

#[test]
fn holders_over_holders() {
    let fake = two_disks();
    fake.virtual_disk("md0", &["sda1", "sdb1"]);
    fake.write("sys/block/md0/md/level", "raid1\n");
    fake.virtual_disk("dm-0", &["md0"]);
    fake.write("sys/block/dm-0/dm/name", "secret\n");
    fake.write("sys/block/dm-0/dm/uuid", "CRYPT-LUKS2-abc\n");
    for word in ["sda", "sda1", "sdb"] {
        assert_eq!(usage(&fake, word).held_by, ["dm-crypt secret (dm-0)", "md0 (raid1)"], "{word}");
    }
    assert_eq!(usage(&fake, "sda2").held_by, [] as [&str; 0]);
    assert_eq!(usage(&fake, "md0").held_by, ["dm-crypt secret (dm-0)"]);
}

#[test]
fn loop_devices_over_a_file_and_over_a_partition() {
    let fake = two_disks();
    let folder = fake.path("mnt");
    fs::create_dir(&folder).unwrap();
    let sda1 = devno(fake.machine.find("sda1").unwrap().devno);
    let inside = devno(fake.virtual_disk("loop0", &[]));
    let file = folder.join("disk.img");
    fake.write("sys/block/loop0/loop/backing_file", file.to_str().unwrap());
    fake.virtual_disk("loop1", &[]);
    fake.write("sys/block/loop1/loop/backing_file", fake.path("dev/sdb1").to_str().unwrap());
    fake.mounts(&[
        (&sda1, &folder, "ext4", "/dev/sda1", "rw"),
        (&inside, Path::new("/in"), "ext4", "/dev/loop0", "rw"),
    ]);
    assert_eq!(usage(&fake, "sda").held_by, [format!("loop0 ({})", file.display())]);
    assert_eq!(dirs(&usage(&fake, "sda1")), [folder.as_path(), Path::new("/in")]);
    assert_eq!(usage(&fake, "sdb").held_by.len(), 1);
    assert!(usage(&fake, "sda2").held_by.is_empty());
}

#[test]
fn partitions_of_volumes_and_of_loop_devices() {
    let fake = two_disks();
    let folder = fake.path("mnt");
    fs::create_dir(&folder).unwrap();
    fake.virtual_disk("md0", &["sda1", "sdb1"]);
    let md0p1 = devno(fake.partition("md0", "md0p1", 1));
    fake.virtual_disk("loop0", &[]);
    let loop0p1 = devno(fake.partition("loop0", "loop0p1", 1));
    fake.write("sys/block/loop0/loop/backing_file", folder.join("disk.img").to_str().unwrap());
    fake.mounts(&[
        (&md0p1, &folder, "ext4", "/dev/md0p1", "rw"),
        (&loop0p1, Path::new("/"), "ext4", "/dev/loop0p1", "rw"),
    ]);
    let of_sdb = usage(&fake, "sdb1");
    assert_eq!(dirs(&of_sdb), [folder.as_path(), Path::new("/")]);
    assert_eq!(of_sdb.held_by.len(), 2);
    assert!(of_sdb.system && usage(&fake, "loop0").system && !usage(&fake, "sda2").system);
    let disks = fake.machine.below(&folder).unwrap().disks;
    let transports: Vec<&str> = disks.iter().map(|disk| disk.identity.transport.as_str()).collect();
    assert_eq!(transports, ["md", "ata", "ata"]);
    assert_eq!(disks[0].instance, fake.machine.find("md0").unwrap().instance());
}

#[test]
fn swap_to_a_partition_and_to_a_file() {
    let fake = two_disks();
    let folder = fake.path("with space");
    fs::create_dir(&folder).unwrap();
    let sdb1 = devno(fake.machine.find("sdb1").unwrap().devno);
    fake.mounts(&[(
        &sdb1,
        &PathBuf::from(folder.to_str().unwrap().replace(' ', "\\040")),
        "ext4",
        "x",
        "rw",
    )]);
    let node = fake.path("dev/sda2");
    let file = folder.join("swapfile");
    let escaped = file.to_str().unwrap().replace(' ', "\\040");
    let table = format!(
        "Filename Type Size Used Priority\n{} partition 1 0 -2\n{escaped}\tfile 1 0 -3\n",
        node.display()
    );
    fake.write("proc/swaps", table);
    let (of_sda, of_sdb) = (usage(&fake, "sda"), usage(&fake, "sdb"));
    assert_eq!((of_sda.swap, of_sda.system), (vec![node.display().to_string()], true));
    assert_eq!((of_sdb.swap, of_sdb.system), (vec![file.display().to_string()], true));
    assert!(usage(&fake, "sda1").swap.is_empty());
}

#[test]
fn programs_that_write_but_not_this_one_and_not_readers() {
    let fake = two_disks();
    for (pid, node, flags) in [
        (7, "sda2", "0100002"),
        (8, "sda2", "0100000"),
        (9, "sda", "0100001"),
        (10, "null", "0100001"),
        (500, "sda", "02"),
    ] {
        fake.write(&format!("proc/{pid}/comm"), "dd\n");
        fake.link(&format!("proc/{pid}/fd/3"), fake.path("dev").join(node));
        fake.write(&format!("proc/{pid}/fdinfo/3"), format!("pos:\t0\nflags:\t{flags}\n"));
    }
    assert_eq!(usage(&fake, "sda").open_elsewhere, ["dd (7)", "dd (9)"]);
    assert_eq!(usage(&fake, "sda1").open_elsewhere, ["dd (9)"]);
}

/// A stick from which a live system runs: an overlay over a squashfs in a file on it, changes in memory.
fn live_system() -> Fake {
    let fake = two_disks();
    let (stick, files) = (fake.path("medium"), fake.path("medium/filesystem.squashfs"));
    fs::create_dir(&stick).unwrap();
    let sdb1 = devno(fake.machine.find("sdb1").unwrap().devno);
    let squashfs = devno(fake.virtual_disk("loop0", &[]));
    fake.write("sys/block/loop0/loop/backing_file", files.to_str().unwrap());
    let layers = "rw,lowerdir=/run/rootfs,upperdir=/run/changes/rw,workdir=/run/changes/work";
    fake.mounts(&[
        ("0:20", Path::new("/"), "overlay", "overlay", layers),
        (&sdb1, &stick, "vfat", "/dev/sdb1", "ro"),
        (&squashfs, Path::new("/run/rootfs"), "squashfs", "/dev/loop0", "ro"),
        ("0:21", Path::new("/run/changes"), "tmpfs", "tmpfs", "rw"),
    ]);
    fake
}

#[test]
fn the_stick_of_a_live_system_is_the_system() {
    let fake = live_system();
    assert!(usage(&fake, "sdb").system && usage(&fake, "sdb1").system);
    assert!(!usage(&fake, "sda").system);
    let below = fake.machine.below(Path::new("/")).unwrap();
    assert!(below.memory && below.live_root);
    assert_eq!(below.mount, "/");
    // Other live systems hide what their overlay writes to.
    let layers = "rw,lowerdir=/installer,upperdir=/cow/upper";
    let hiding = Fake::new();
    hiding.mounts(&[("0:20", Path::new("/"), "overlay", "/cow", layers)]);
    assert!(hiding.machine.below(Path::new("/")).unwrap().live_root);
    // A disk mounted in it is a place for backups.
    let below = fake.machine.below(&fake.path("medium")).unwrap();
    assert!(!below.memory && !below.live_root);
    assert_eq!(below.disks, [fake.machine.find("sdb").unwrap().disk.attached()]);
}

#[test]
fn below_goes_through_everything() {
    let fake = two_disks();
    let nvme = fake.disk("nvme0n1", NVME);
    let folder = |name: &str| {
        fs::create_dir(fake.path(name)).unwrap();
        fake.path(name)
    };
    let (lvm, image, memory) = (folder("lvm"), folder("image"), folder("memory"));
    let volume = devno(fake.virtual_disk("dm-0", &["sda2", "sdb1"]));
    let inside = devno(fake.virtual_disk("loop0", &[]));
    fake.write("sys/block/loop0/loop/backing_file", lvm.join("disk.img").to_str().unwrap());
    fake.mounts(&[
        (&devno(nvme), Path::new("/"), "ext4", "/dev/nvme0n1", "rw"),
        (&volume, &lvm, "ext4", "/dev/dm-0", "rw"),
        (&inside, &image, "ext4", "/dev/loop0", "rw"),
        ("0:30", &memory, "tmpfs", "tmpfs", "rw"),
    ]);
    let disks = |path: &Path| {
        let below = fake.machine.below(path).unwrap();
        let named = fake.machine.disks().unwrap();
        let name = |below| named.iter().find(|disk| disk.attached() == below).unwrap().name.clone();
        (below.disks.into_iter().map(name).collect::<Vec<_>>(), below.memory, below.live_root)
    };
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    assert_eq!(disks(&lvm), (names(&["dm-0", "sda", "sdb"]), false, false));
    assert_eq!(disks(&image), (names(&["dm-0", "loop0", "sda", "sdb"]), false, false));
    assert_eq!(disks(&memory), (names(&[]), true, false));
    assert_eq!(disks(Path::new("/")), (names(&["nvme0n1"]), false, false));
    assert_eq!(fake.machine.below(&fake.path("nowhere")).unwrap_err().kind(), ErrorKind::NotFound);
}

/// The kernel's own tables: the disk below the folder that holds this program must be in use.
#[test]
fn this_machine() {
    let machine = Machine::host();
    let below = machine.below(Path::new("/tmp")).unwrap();
    let root = machine.below(Path::new("/")).unwrap();
    assert!(Path::new("/tmp").starts_with(&below.mount));
    let Some(disk) = root.disks.first() else {
        println!("SKIPPED: this_machine: needs a root filesystem on a disk");
        return;
    };
    let usage = machine.usage_of(disk.instance.devno).unwrap();
    assert!(usage.system && !usage.mounted.is_empty());
    assert!(!root.memory && !root.live_root);
}
