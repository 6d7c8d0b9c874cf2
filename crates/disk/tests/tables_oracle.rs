//! Partition tables made by sfdisk and sgdisk, read as sfdisk, sgdisk and the kernel read them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]
#![allow(clippy::disallowed_methods)]

use block::{Role, SectorSize};
use disk::{Layout, Table, layout};
use std::path::{Path, PathBuf};
use testkit::tools::{has, run, shell};
use testkit::{ImageFile, LoopDevice};

/// The first `size` bytes of a file or device.
fn open(path: &Path, size: u64) -> ImageFile {
    ImageFile::open(path, size).unwrap()
}

fn covers(layout: &Layout) {
    let ends = layout.regions.iter().fold(0, |at, region| {
        assert_eq!(region.range.start(), at, "{layout:#?}");
        assert!(!region.range.is_empty());
        region.range.end()
    });
    assert_eq!(ends, layout.size);
}

fn roles(layout: &Layout) -> Vec<String> {
    layout.regions.iter().map(|region| region.role.to_string()).collect()
}

/// Name, MiB, and what makes `$F`.
const CASES: &[(&str, u64, &str)] = &[
    ("mbr-empty", 8, "echo 'label: dos' | sfdisk -q $F"),
    ("mbr-four", 64, "printf 'label: dos\n,8M,c,*\n,8M,7\n,8M,27\n,,83\n' | sfdisk -q $F"),
    ("mbr-odd-slots", 64, "printf 'label: dos\n1: size=8M\n3: size=8M,type=82\n' | sfdisk -q $F"),
    (
        "mbr-unsorted",
        64,
        "printf 'label: dos\n1: start=65536,size=4096\n2: start=2048,size=4096\n' | sfdisk -q $F",
    ),
    (
        "mbr-63",
        64,
        "printf 'label: dos\nlabel-id: 0x8b5d2008\nstart=63,size=20000,type=c\nstart=20063,type=5\nstart=20126,size=3000\nstart=23189,size=3000\n' | sfdisk -q --no-reread $F",
    ),
    (
        "mbr-40-logicals",
        256,
        "{ printf 'label: dos\n,4M\n,,5\n'; for i in $(seq 40); do echo ,3M; done; } | sfdisk -q $F",
    ),
    (
        "mbr-extended-f",
        64,
        "printf 'label: dos\n2: size=60M,type=f\n5: size=4M\n6: size=4M,type=82\n' | sfdisk -q $F",
    ),
    (
        "mbr-logical-removed",
        64,
        "{ printf 'label: dos\n,,5\n'; for i in 1 2 3 4 5; do echo ,3M; done; } | sfdisk -q $F; sfdisk -q --delete $F 5; sfdisk -q --delete $F 6",
    ),
    ("gpt-empty", 8, "echo 'label: gpt' | sfdisk -q $F"),
    ("gpt-numbers", 64, "printf 'label: gpt\n1: size=8M\n3: size=8M,type=uefi\n7: size=8M\n' | sfdisk -q $F"),
    ("gpt-short-array", 64, "printf 'label: gpt\ntable-length: 32\n,8M\n' | sfdisk -q $F"),
    ("gpt-long-array", 64, "printf 'label: gpt\ntable-length: 1000\n,8M\n' | sfdisk -q $F"),
    (
        "gpt-names",
        64,
        r#"printf 'label: gpt\nsize=4M,name="a b",attrs="RequiredPartition GUID:63 LegacyBIOSBootable"\nsize=4M,attrs="GUID:48,49 NoBlockIOProtocol"\n,4M\n' | sfdisk -q $F; sgdisk -c '2:q"uo\te$`é' $F; sgdisk -c "3:$(printf 'x\001y')" $F"#,
    ),
    ("gpt-sgdisk", 64, "sgdisk -n 1:0:+8M -t 1:ef00 -n 2:0:+8M -t 2:8e00 -n 5:0:0 $F"),
    ("gpt-hybrid", 64, "sgdisk -n 1:0:+8M -n 2:0:+8M -h 1:2 $F"),
    ("gpt-usable", 64, "printf 'label: gpt\nfirst-lba: 4096\nlast-lba: 90000\n,8M\n' | sfdisk -q $F"),
];

/// Ours, theirs and a replay of ours are the same script.
fn compare(name: &str, path: &Path, size: u64, sector: Option<SectorSize>, blank: &Path) -> Layout {
    let found = layout::read(&open(path, size), sector).unwrap();
    covers(&found);
    assert_eq!(found.must_be_whole, None, "{name}");
    assert!(found.findings.iter().all(|finding| !finding.damage), "{name}: {:?}", found.findings);
    let ours = found.sfdisk_script(path.to_str().unwrap()).unwrap();
    assert_eq!(ours, run("sfdisk -d $F", path), "{name}");
    let script = blank.with_extension("script");
    std::fs::write(&script, found.sfdisk_script(blank.to_str().unwrap()).unwrap()).unwrap();
    run(&format!("sfdisk -q --no-reread --no-tell-kernel $F < {}", script.display()), blank);
    assert_eq!(
        found.sfdisk_script(blank.to_str().unwrap()).unwrap(),
        run("sfdisk -d $F", blank),
        "replayed {name}"
    );
    found
}

fn image(folder: &Path, name: &str, mib: u64) -> PathBuf {
    let path = folder.join(name);
    run(&format!("rm -f $F; truncate -s {mib}M $F"), &path);
    path
}

#[test]
fn read_and_replayed_as_sfdisk_does() {
    if !has("read_and_replayed_as_sfdisk_does", &["sfdisk", "sgdisk"]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    for (name, mib, make) in CASES {
        let path = image(folder.path(), name, *mib);
        run(make, &path);
        let blank = image(folder.path(), "blank", *mib);
        let found = compare(name, &path, mib << 20, None, &blank);
        assert_eq!(found.sector, SectorSize::B512, "{name}");
        let is_gpt = matches!(found.table, Table::Gpt(_));
        assert_eq!(found.regions.last().map(|region| region.role == Role::Tail), Some(is_gpt), "{name}");
    }
}

#[test]
fn sectors_of_4096_bytes() {
    let test = "sectors_of_4096_bytes";
    if !has(test, &["sfdisk", "sgdisk", "losetup"]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    for (name, mib, make) in CASES {
        // What names sectors is about 512 bytes each.
        if make.contains("start=") || make.contains("first-lba") {
            continue;
        }
        let (path, blank) = (image(folder.path(), name, *mib), image(folder.path(), "blank", *mib));
        let (Some(device), Some(blank)) = (LoopDevice::attach(&path, 4096), LoopDevice::attach(&blank, 4096))
        else {
            return;
        };
        run(make, device.path());
        let found = compare(name, device.path(), mib << 20, Some(SectorSize::B4096), blank.path());
        if let Table::Gpt(_) = found.table {
            run("sync $F", device.path());
            let image = layout::read(&open(&path, mib << 20), None).unwrap();
            assert_eq!(image, found, "{name}: the same, recognised in an image");
            let wrong = layout::read(&open(&path, mib << 20), Some(SectorSize::B512)).unwrap();
            assert!(wrong.findings.iter().any(|f| f.damage && f.text.contains("4096")), "{name}");
        }
    }
}

/// What Linux makes of the same tables: number, start and size of every partition.
#[test]
fn numbered_as_the_kernel_does() {
    let test = "numbered_as_the_kernel_does";
    if !has(test, &["sfdisk", "sgdisk", "losetup"]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    for (name, mib, make) in CASES {
        let path = image(folder.path(), name, *mib);
        run(make, &path);
        let Some(device) = LoopDevice::attach(&path, 512) else { return };
        let number = |folder: &Path, file: &str| -> Option<u64> {
            std::fs::read_to_string(folder.join(file)).ok()?.trim().parse().ok()
        };
        let sysfs = Path::new("/sys/class/block").join(device.path().file_name().unwrap());
        let mut kernels: Vec<_> = std::fs::read_dir(&sysfs)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter_map(|p| Some((number(&p, "partition")?, number(&p, "start")?, number(&p, "size")?)))
            .collect();
        kernels.sort_unstable();
        let found = layout::read(&open(&path, mib << 20), None).unwrap();
        // Of an extended partition the kernel shows two sectors, so that nothing is made on it.
        let size = |p: &disk::Partition| if p.extended { 2 } else { p.range.len() / 512 };
        let ours: Vec<_> =
            found.partitions.iter().map(|p| (u64::from(p.number), p.range.start() / 512, size(p))).collect();
        if kernels.is_empty() && !ours.is_empty() {
            println!("SKIPPED: {test}: needs a kernel that scans loop devices for partitions");
            return;
        }
        assert_eq!(ours, kernels, "{name}");
    }
}

/// What is damaged, the line that does it to a sound disk, and the findings that it must have.
const DAMAGED: &[(&str, &str, &[&str])] = &[
    (
        "primary header lost",
        "dd if=/dev/zero of=$F bs=512 seek=1 count=1 conv=notrunc status=none",
        &["the primary GPT is lost (no signature); its backup is used here, but Linux ignores it"],
    ),
    (
        "primary array lost",
        "printf X | dd of=$F bs=1 seek=1100 conv=notrunc status=none",
        &[
            "the primary GPT is lost (the checksum of its array is wrong); its backup is used here, but Linux ignores it",
        ],
    ),
    (
        "backup header lost",
        "printf X | dd of=$F bs=1 seek=$((131071 * 512 + 60)) conv=notrunc status=none",
        &["the backup GPT at LBA 131071 is lost: the checksum of its header is wrong"],
    ),
    (
        "on a larger disk",
        "truncate -s 80M $F",
        &[
            "the backup GPT is at LBA 131071, not at the end of the disk, LBA 163839",
            "the protective MBR covers 131071 sectors instead of 163839",
        ],
    ),
    (
        "protective MBR lost",
        "dd if=/dev/zero of=$F bs=512 count=1 conv=notrunc status=none",
        &["the protective MBR is lost; Linux ignores the GPT"],
    ),
    (
        "two different ones",
        "cp $F $F.2; sgdisk -c 1:other $F.2; dd if=$F.2 of=$F bs=512 count=34 conv=notrunc status=none",
        &["the primary GPT and its backup differ; the primary is used"],
    ),
];

#[test]
fn damage_is_named_and_the_partitions_still_found() {
    if !has("damage_is_named_and_the_partitions_still_found", &["sfdisk", "sgdisk"]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = image(folder.path(), "gpt", 64);
    for (name, damage, findings) in DAMAGED {
        run("rm $F; truncate -s 64M $F; sgdisk -n 1:0:+8M -n 3:0:+8M $F", &path);
        let read = || layout::read(&open(&path, path.metadata().unwrap().len()), None).unwrap();
        let before = read();
        assert_eq!(
            roles(&before),
            ["preamble", "partition 1", "partition 3", "gap", "tail"],
            "the gap is what sgdisk left to align"
        );
        run(damage, &path);
        let after = read();
        covers(&after);
        let said: Vec<_> = after.findings.iter().map(|finding| finding.text.as_str()).collect();
        assert_eq!(said, *findings, "{name}");
        let ranges = |layout: &Layout| layout.partitions.iter().map(|p| p.range).collect::<Vec<_>>();
        assert_eq!(ranges(&before), ranges(&after), "{name}");
        assert_eq!(before.disk_label_id(), after.disk_label_id(), "{name}");
        let has_tail = after.regions.iter().any(|region| region.role == Role::Tail);
        assert_eq!(has_tail, !name.contains("backup header") && !name.contains("larger"), "{name}");
        if let (Ok(theirs), false) = (shell("sfdisk -d $F", &path), name.contains("array")) {
            assert_eq!(after.sfdisk_script(path.to_str().unwrap()).unwrap(), theirs, "{name}");
        }
    }
}

/// `sgdisk -v` finds nothing wrong, and the partitions are the same.
#[test]
fn a_moved_backup_is_what_sgdisk_wants() {
    if !has("a_moved_backup_is_what_sgdisk_wants", &["sgdisk", "sfdisk"]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = image(folder.path(), "gpt", 64);
    for make in
        ["sgdisk -n 1:0:+8M -n 3:0:0 $F", "printf 'label: gpt\ntable-length: 1000\n,8M\n' | sfdisk -q $F"]
    {
        run("rm $F; truncate -s 64M $F", &path);
        run(make, &path);
        let before = run("sfdisk -d $F | grep start=", &path);
        let larger = (100 << 20) + 512;
        run(&format!("truncate -s {larger} $F"), &path);
        assert!(!run("sgdisk -v $F", &path).contains("No problems found"));
        run("cp $F $F.theirs; sgdisk -e $F.theirs", &path);
        let writes = disk::gpt_moved(&open(&path, larger), SectorSize::B512, larger).unwrap();
        for (offset, bytes) in writes {
            let part = path.with_extension("part");
            std::fs::write(&part, bytes).unwrap();
            let sector = offset / 512;
            run(
                &format!("dd if={} of=$F bs=512 seek={sector} conv=notrunc status=none", part.display()),
                &path,
            );
        }
        let said = run("sgdisk -v $F", &path);
        assert!(said.contains("No problems found"), "{said}");
        assert_eq!(run("sfdisk -d $F | grep start=", &path), before);
        if make.starts_with("sgdisk") {
            // All but the cylinders in the MBR; sgdisk does not clean where the backup was either.
            run("cmp -i 512 $F $F.theirs", &path);
        }
        let after = layout::read(&open(&path, larger), None).unwrap();
        assert_eq!(after.findings, []);
        assert_eq!(after.regions.last().map(|region| region.role), Some(Role::Tail));
        let unmoved = disk::gpt_moved(&open(&path, larger), SectorSize::B512, 8 << 20);
        assert_eq!(unmoved.unwrap_err().kind(), block::ErrorKind::Usage);
    }
}
