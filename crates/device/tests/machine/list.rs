//! Disks, identities and names, on trees like those of real machines.

use crate::fake::{Fake, MMC, NVME, SATA, USB, VIRTIO, VIRTIO_SCSI};
use block::{ByteRange, ErrorKind};
use device::{Disk, DiskKind, Hidden, Identity, InProcess, Machine, Monitor};
use std::fs;

fn identity(transport: &str, model: &str, serial: &str, wwn: &str) -> Identity {
    let text = str::to_owned;
    Identity {
        transport: text(transport),
        model: text(model),
        serial: text(serial),
        wwn: text(wwn),
        size: 512_000,
        sector: 512,
    }
}

fn only(fake: &Fake) -> Disk {
    let mut disks = fake.machine.disks().unwrap();
    assert_eq!(disks.len(), 1);
    disks.remove(0)
}

#[test]
fn sata() {
    let fake = Fake::new();
    fake.disk("sda", SATA);
    fake.write("sys/block/sda/device/model", "QEMU HARDDISK   \n");
    fake.write("sys/block/sda/device/vpd_pg80", b"\0\x80\0\x08QM00001 ");
    fake.write("sys/block/sda/device/wwid", "naa.5000c500a1b2c3d4\n");
    fake.partition("sda", "sda10", 10);
    fake.partition("sda", "sda2", 2);
    fake.link("dev/disk/by-id/ata-QEMU_QM00001", "../../sda");
    fake.link("dev/disk/by-id/ata-QEMU_QM00001-part2", "../../sda2");
    let disk = only(&fake);
    assert_eq!(disk.identity, identity("ata", "QEMU HARDDISK", "QM00001", "naa.5000c500a1b2c3d4"));
    assert_eq!((disk.instance.devno, disk.instance.diskseq), ((8, 0), 100));
    assert_eq!((disk.physical_sector, disk.rotational, disk.kind), (4096, Some(true), DiskKind::Disk));
    assert_eq!(disk.stable_names, ["ata-QEMU_QM00001"]);
    let partitions: Vec<_> = disk.partitions.iter().map(|p| (p.number, p.name.as_str(), p.range)).collect();
    let range = |number: u64| ByteRange::span(number * 32768, (number + 1) * 32768);
    assert_eq!(partitions, [(2, "sda2", range(2)), (10, "sda10", range(10))]);
}

#[test]
fn usb_has_the_serial_of_the_nearest_usb_device_and_no_made_up_wwn() {
    let fake = Fake::new();
    fake.disk("sda", USB);
    for (device, serial) in [("usb2", "0000:00:14.0"), ("usb2/2-3", "DOCK123")] {
        let dir = format!("sys/devices/pci0000:00/0000:00:14.0/{device}");
        fake.write(&format!("{dir}/idVendor"), "1234\n");
        fake.write(&format!("{dir}/serial"), format!("{serial}\n"));
    }
    fake.write("sys/block/sda/device/wwid", "t10.Dock    Generic 0123456789ABCDEF\n");
    assert_eq!(only(&fake).identity, identity("usb", "", "DOCK123", ""));
    // A case that hands on the drive's own serial.
    fake.write("sys/block/sda/device/vpd_pg80", b"\0\x80\0\x04WD-1");
    fake.write("sys/block/sda/device/wwid", "naa.50014ee2b1c2d3e4\n");
    assert_eq!(only(&fake).identity, identity("usb", "", "WD-1", "naa.50014ee2b1c2d3e4"));
}

#[test]
fn nvme() {
    let fake = Fake::new();
    let dir = format!("sys/devices/{NVME}");
    fake.disk("nvme0n1", NVME);
    fake.write(&format!("{dir}/model"), "Samsung  SSD 980   \n");
    fake.write(&format!("{dir}/serial"), "S64DNX0\n");
    fake.write("sys/block/nvme0n1/wwid", "eui.002538d911b0c5a1\n");
    fake.write("sys/block/nvme0n1/queue/logical_block_size", "4096\n");
    let expected = identity("nvme", "Samsung SSD 980", "S64DNX0", "eui.002538d911b0c5a1");
    // The unit of sysfs is 512 bytes on this disk too.
    assert_eq!(only(&fake).identity, Identity { sector: 4096, ..expected });
    fake.write("sys/block/nvme0n1/wwid", "eui.0000000000000000\n");
    assert_eq!(only(&fake).identity.wwn, "");
}

#[test]
fn virtio_mmc_and_scsi_over_virtio() {
    let fake = Fake::new();
    fake.disk("vda", VIRTIO);
    fake.write("sys/block/vda/serial", "disk-1\n");
    fake.disk("mmcblk0", MMC);
    fake.write("sys/block/mmcblk0/device/name", "SD32G\n");
    fake.write("sys/block/mmcblk0/device/serial", "0xdeadbeef\n");
    fake.write("sys/block/mmcblk0/device/cid", "aa5859deadbeef\n");
    fake.disk("sda", VIRTIO_SCSI);
    fake.write("run/udev/data/b8:2", "S:disk/by-id/x\nE:ID_SERIAL=long_abc\nE:ID_SERIAL_SHORT=abc\n");
    let identities: Vec<_> = fake.machine.disks().unwrap().into_iter().map(|disk| disk.identity).collect();
    assert_eq!(
        identities,
        [
            identity("mmc", "SD32G", "aa5859deadbeef", ""),
            identity("scsi", "", "abc", ""),
            identity("virtio", "", "disk-1", ""),
        ]
    );
}

/// Disks first, in the order in which the kernel gave out the names; what is no disk is left out.
#[test]
fn order_and_what_is_no_disk() {
    let fake = Fake::new();
    for name in ["sdaa", "sdb", "sr0", "fd0", "sdz", "sdempty"] {
        fake.disk(name, &format!("{SATA}/{name}"));
    }
    fake.write("sys/block/sdempty/size", "0\n");
    fake.virtual_disk("ram0", &[]);
    fake.virtual_disk("zram0", &[]);
    fake.virtual_disk("loop0", &[]);
    fake.virtual_disk("loop1", &[]);
    fake.write("sys/block/loop1/loop/backing_file", "/tmp/a.img\n");
    fake.virtual_disk("dm-0", &["sdb"]);
    fake.write("sys/block/dm-0/dm/name", "vg-root\n");
    fake.write("sys/block/dm-0/dm/uuid", "LVM-abc\n");
    fake.virtual_disk("bcache0", &["sdz"]);
    let disks = fake.machine.disks().unwrap();
    let names: Vec<_> = disks.iter().map(|disk| disk.name.as_str()).collect();
    assert_eq!(names, ["sdb", "sdz", "sdaa", "loop1", "bcache0", "dm-0"]);
    assert_eq!(disks[3].backing.as_deref(), Some("/tmp/a.img"));
    assert!(disks[4].is_volume() && disks[5].is_volume());
    assert_eq!(disks[5].identity, identity("dm", "vg-root", "LVM-abc", ""));
}

#[test]
fn finds_by_exact_name_path_link_and_serial() {
    let fake = Fake::new();
    for (name, serial) in [("sda", "one"), ("sdaa", "two"), ("sdb", "same"), ("sdc", "same")] {
        let port = format!("{SATA}/{name}");
        fake.disk(name, &port);
        fake.write(&format!("sys/devices/{port}/serial"), serial);
    }
    fake.partition("sda", "sda1", 1);
    fake.virtual_disk("dm-0", &["sda1"]);
    fake.write("sys/block/dm-0/dm/name", "vg-root\n");
    fake.link("dev/mapper/vg-root", "../dm-0");
    fake.link("dev/disk/by-id/ata-one-part1", "../../sda1");
    fake.link("dev/disk/by-id/ata-two", "../../sdaa");
    fake.link("elsewhere", fake.path("dev/sda"));
    let path = |name: &str| fake.path(name).to_str().unwrap().to_owned();
    for (word, disk, partition, name) in [
        ("sda".to_owned(), "sda", None, "sda"),
        ("sda1".to_owned(), "sda", Some(1), "sda1"),
        ("sdaa".to_owned(), "sdaa", None, "sdaa"),
        ("one".to_owned(), "sda", None, "sda"),
        ("ata-two".to_owned(), "sdaa", None, "sdaa"),
        ("vg-root".to_owned(), "dm-0", None, "vg-root"),
        (path("dev/sda"), "sda", None, "sda"),
        (path("elsewhere"), "sda", None, "sda"),
        (path("dev/disk/by-id/ata-one-part1"), "sda", Some(1), "sda1"),
        (path("dev/mapper/vg-root"), "dm-0", None, "vg-root"),
    ] {
        let place = fake.machine.find(&word).unwrap();
        let found = (place.disk.name.as_str(), place.partition, place.name());
        assert_eq!(found, (disk, partition, name.to_owned()), "{word}");
        assert_eq!((place.is_whole_disk(), place.sector()), (partition.is_none(), 512));
    }
    let partition = fake.machine.find("sda1").unwrap();
    assert_eq!((partition.devno, partition.size()), ((8, 4), 32768));
    assert_eq!((partition.instance().devno, partition.instance().diskseq), ((8, 4), 100));

    let shared = fake.machine.find("same").unwrap_err();
    assert_eq!(shared.kind(), ErrorKind::Usage);
    assert!(shared.to_string().contains("sdb, sdc"), "{shared}");
    for word in ["/dev/sdz", "sd", "sda2", "SDA", "on", "", "/etc/passwd"] {
        let error = fake.machine.find(word).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound, "{word}");
        assert_eq!(error.to_string(), format!("no such disk: {word}; disks now: sda, sdb, sdc, sdaa, dm-0"));
    }
}

#[test]
fn what_a_drive_keeps_apart() {
    let fake = Fake::new();
    fake.disk("mmcblk1", MMC);
    fake.write("sys/block/mmcblk1/device/raw_rpmb_size_mult", "0x20\n");
    for area in ["mmcblk1boot0", "mmcblk1gp0", "mmcblk10boot0"] {
        fake.disk(area, &format!("{MMC}/{area}"));
    }
    for (name, port) in [("nvme0n1", NVME), ("nvme0n2", NVME), ("nvme1n1", "pci0000:00/nvme/nvme1")] {
        fake.disk(name, port);
    }
    // One path of a drive with several: no node, no disk.
    fake.disk("nvme0c1n1", NVME);
    fake.write("sys/block/nvme0c1n1/hidden", "1\n");
    let disks = fake.machine.disks().unwrap();
    let hidden = |name: &str| disks.iter().find(|disk| disk.name == name).unwrap().hidden.clone();
    assert_eq!(
        hidden("mmcblk1"),
        [
            "boot area mmcblk1boot0: 512000 bytes, a disk of its own",
            "general purpose area mmcblk1gp0: 512000 bytes, a disk of its own",
            "RPMB area: 4194304 bytes behind a key, which no program can copy",
        ]
    );
    assert_eq!(hidden("nvme0n1"), ["namespace nvme0n2: 512000 bytes, a disk of its own"]);
    assert!(hidden("nvme1n1").is_empty() && hidden("mmcblk1boot0").is_empty());
    assert!(disks.iter().all(|disk| disk.name != "nvme0c1n1"));
}

/// ATA drives, and what may be one. Their nodes are plain files here, which take no command.
#[test]
fn only_what_may_be_an_ata_drive_is_asked() {
    let fake = Fake::new();
    let disks = [
        ("sda", SATA, true),
        ("sdb", USB, true),
        ("sdc", "pci0000:00/usb3/3-1/host9/target9:0:0/9:0:0:0", false),
        ("sdd", VIRTIO_SCSI, false),
        ("sde", "pci0000:00/0000:03:00.0/host4/target4:0:0/4:0:0:0", true),
        ("cciss!c0d0", "pci0000:00/0000:04:00.0/host5/target5:0:0/5:0:0:0", true),
        ("nvme0n1", NVME, false),
        ("vda", VIRTIO, false),
    ];
    for (name, port, _) in disks {
        fake.disk(name, port);
    }
    fake.write("sys/block/sdc/removable", "1\n");
    fake.write("sys/block/sdd/device/vendor", "QEMU    \n");
    for ata in ["sde", "cciss!c0d0"] {
        fake.write(&format!("sys/block/{ata}/device/vendor"), "ATA     \n");
    }
    fake.write("dev/cciss/c0d0", "");
    let machine = fake.machine.clone();
    let monitor = InProcess { machine: machine.clone() };
    for (name, _, is_asked) in disks {
        let name = name.replace('!', "/");
        let hidden = monitor
            .hidden(machine.find(fake.path(&format!("dev/{name}")).to_str().unwrap()).unwrap().disk.instance);
        let unknown = usize::from(is_asked);
        assert_eq!((hidden.known.len(), hidden.unknown.len()), (0, unknown), "{name}: {hidden:?}");
        assert!(hidden.unknown.iter().all(|why| why.contains("is no block device")), "{hidden:?}");
    }
    let gone = machine.find("sda").unwrap().disk.instance;
    fs::remove_file(fake.path("sys/block/sda")).unwrap();
    let unknown = vec!["HPA and DCO: not known, the disk is gone".to_owned()];
    assert_eq!(monitor.hidden(gone), Hidden { known: vec![], unknown });
}

/// The kernel's own sysfs: whatever it shows must be found again by its name and its node.
#[test]
fn this_machine() {
    let machine = Machine::host();
    let disks = machine.disks().unwrap();
    if disks.is_empty() {
        println!("SKIPPED: this_machine: needs a disk");
        return;
    }
    for disk in disks {
        let by_name = machine.find(&disk.name).unwrap();
        assert_eq!(by_name.disk.instance, disk.instance);
        if disk.path.exists() {
            assert_eq!(machine.find(disk.path.to_str().unwrap()).unwrap().devno, disk.instance.devno);
        }
        machine.usage(&disk).unwrap();
    }
}

#[test]
fn how_a_disk_wants_to_be_written() {
    let fake = Fake::new();
    fake.disk("sda", SATA);
    let hints = || fake.machine.io_hints(&fake.machine.disks().unwrap()[0]);
    let physical_sector = hints().physical_sector;
    assert_eq!((hints().optimal, hints().offset), (0, 0));
    fake.write("sys/class/block/sda/queue/optimal_io_size", "393216\n");
    for (text, offset) in [("3584\n", 3584), ("-1\n", 0)] {
        fake.write("sys/class/block/sda/alignment_offset", text);
        assert_eq!(hints(), device::IoHints { optimal: 393_216, physical_sector, offset, zeroes: 0 });
    }
}
