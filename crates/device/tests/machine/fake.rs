//! A machine made of a temporary tree: sysfs, procfs, device nodes and udev's database as the kernel and
//! udev lay them out.

use device::Machine;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

pub(crate) struct Fake {
    root: TempDir,
    pub(crate) machine: Machine,
    minor: std::cell::Cell<u32>,
}

/// Where disks hang, as sysfs of real machines names it.
pub(crate) const SATA: &str = "pci0000:00/0000:00:1f.2/ata1/host0/target0:0:0/0:0:0:0";
pub(crate) const USB: &str = "pci0000:00/0000:00:14.0/usb2/2-3/2-3:1.0/host6/target6:0:0/6:0:0:0";
pub(crate) const VIRTIO_SCSI: &str = "pci0000:00/0000:00:03.0/virtio2/host2/target2:0:0/2:0:0:0";
pub(crate) const NVME: &str = "pci0000:00/0000:01:00.0/nvme/nvme0";
pub(crate) const VIRTIO: &str = "pci0000:00/0000:00:02.0/virtio1";
pub(crate) const MMC: &str = "platform/soc/mmc_host/mmc0/mmc0:0001";

impl Fake {
    /// Runs as process 500, with a root that is on no disk.
    pub(crate) fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let dir = |name: &str| root.path().join(name);
        let machine =
            Machine { sys: dir("sys"), proc: dir("proc"), dev: dir("dev"), run_udev: dir("run/udev") };
        let fake = Self { machine, root, minor: std::cell::Cell::new(0) };
        for dir in ["sys/block", "sys/class/block", "dev", "proc/500"] {
            fs::create_dir_all(fake.path(dir)).unwrap();
        }
        symlink("500", fake.path("proc/self")).unwrap();
        fake
    }

    pub(crate) fn path(&self, path: &str) -> PathBuf {
        self.root.path().join(path)
    }

    pub(crate) fn write(&self, path: &str, bytes: impl AsRef<[u8]>) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    pub(crate) fn link(&self, path: &str, target: impl AsRef<Path>) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        symlink(target, path).unwrap();
    }

    /// A disk of 1000 units of 512 bytes; returns its numbers.
    pub(crate) fn disk(&self, name: &str, port: &str) -> (u32, u32) {
        let dir = format!("sys/devices/{port}/block/{name}");
        let devno = self.device(&dir, name);
        self.link(&format!("{dir}/device"), "../..");
        self.whole(name, &dir, devno);
        devno
    }

    /// A device without hardware: loop, dm, md, zram.
    pub(crate) fn virtual_disk(&self, name: &str, slaves: &[&str]) -> (u32, u32) {
        let dir = format!("sys/devices/virtual/block/{name}");
        let devno = self.device(&dir, name);
        self.whole(name, &dir, devno);
        for slave in slaves {
            self.link(&format!("sys/class/block/{name}/slaves/{slave}"), "anywhere");
            self.link(&format!("sys/class/block/{slave}/holders/{name}"), "anywhere");
        }
        devno
    }

    pub(crate) fn partition(&self, disk: &str, name: &str, number: u32) -> (u32, u32) {
        let dir = format!("sys/block/{disk}/{name}");
        let devno = self.device(&dir, name);
        self.write(&format!("{dir}/partition"), format!("{number}\n"));
        self.write(&format!("{dir}/start"), format!("{}\n", number * 64));
        self.write(&format!("{dir}/size"), "64\n");
        let real = fs::canonicalize(self.path(&dir)).unwrap();
        self.link(&format!("sys/class/block/{name}"), real);
        devno
    }

    fn device(&self, dir: &str, name: &str) -> (u32, u32) {
        let minor = self.minor.get();
        self.minor.set(minor + 1);
        self.write(&format!("{dir}/dev"), format!("8:{minor}\n"));
        self.write(&format!("dev/{name}"), "");
        (8, minor)
    }

    fn whole(&self, name: &str, dir: &str, devno: (u32, u32)) {
        for (file, text) in [
            ("size", "1000"),
            ("ro", "0"),
            ("removable", "0"),
            ("queue/logical_block_size", "512"),
            ("queue/physical_block_size", "4096"),
            ("queue/rotational", "1"),
        ] {
            self.write(&format!("{dir}/{file}"), format!("{text}\n"));
        }
        self.write(&format!("{dir}/diskseq"), format!("{}\n", devno.1 + 100));
        for class in ["sys/block", "sys/class/block"] {
            self.link(&format!("{class}/{name}"), self.path(dir));
        }
    }

    /// What process 500 sees mounted: numbers, directory, type, source, options.
    pub(crate) fn mounts(&self, mounts: &[(&str, &Path, &str, &str, &str)]) {
        self.mounts_of(500, mounts);
    }

    pub(crate) fn mounts_of(&self, pid: u32, mounts: &[(&str, &Path, &str, &str, &str)]) {
        let line = |(devno, dir, fs, source, options): &(&str, &Path, &str, &str, &str)| {
            let source = source.replace("/dev/", &format!("{}/", self.machine.dev.display()));
            format!("1 1 {devno} / {} rw - {fs} {source} {options}\n", dir.display())
        };
        self.write(&format!("proc/{pid}/mountinfo"), mounts.iter().map(line).collect::<String>());
    }
}
