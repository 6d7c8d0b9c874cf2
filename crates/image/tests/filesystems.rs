//! A backup's folder on real filesystems, mounted from loop devices: FAT and exFAT know neither owners nor
//! holes, and not all know O_DIRECT. Needs root; without it each test says SKIPPED.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

use block::{ByteRange, ErrorKind, ReadAt, WriteAt};
use image::{ImageFile, LocalFiles, Store, room};
use std::path::Path;
use std::process::Command;

fn run(program: &str, args: &[&str]) -> Option<String> {
    let output = Command::new(program).args(args).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// A filesystem that is unmounted, its loop device released, when it is dropped.
struct Mount {
    dir: tempfile::TempDir,
    device: Option<String>,
}

impl Mount {
    /// `None`, said on stdout, where this machine cannot.
    fn new(test: &str, mkfs: &str, kind: &str, size: u64) -> Option<Self> {
        let skip = |needs: &str| println!("SKIPPED: {test}: needs {needs}");
        let dir = tempfile::tempdir().unwrap();
        let image = dir.path().join("fs.img");
        let file = ImageFile::create(&LocalFiles::default(), &image, size, false).unwrap();
        file.publish().unwrap();
        let point = dir.path().join("mnt");
        std::fs::create_dir(&point).unwrap();
        let mut words: Vec<_> = mkfs.split(' ').collect();
        words.push(image.to_str().unwrap());
        let Some(_) = run(words[0], &words[1..]) else {
            skip(mkfs);
            return None;
        };
        let Some(device) = run("losetup", &["-f", "--show", image.to_str().unwrap()]) else {
            skip("loop devices");
            return None;
        };
        let mut mount = Self { dir, device: Some(device.clone()) };
        if run("mount", &["-t", kind, &device, point.to_str().unwrap()]).is_none() {
            mount.release();
            skip(&format!("mount -t {kind}"));
            return None;
        }
        Some(mount)
    }

    fn point(&self) -> std::path::PathBuf {
        self.dir.path().join("mnt")
    }

    fn release(&mut self) {
        if let Some(device) = self.device.take() {
            run("losetup", &["-d", &device]);
        }
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        run("umount", &[self.point().to_str().unwrap()]);
        self.release();
    }
}

/// Everything that a save, a verify and a restore ask of a filesystem.
fn serves(parent: &Path) {
    let store = Store::create(&LocalFiles { owner: Some((1000, 1000)) }, parent, "sda").unwrap();
    let content: Vec<u8> = (0..3_000_001_u32).map(|at| (at % 249) as u8).collect();
    let mut file = store.append("a.zst", 1 << 20).unwrap();
    file.append(&content).unwrap();
    file.sync().unwrap();
    file.hole(1 << 20).unwrap();
    file.append(&content).unwrap();
    let len = file.finish().unwrap();
    let want = [&content[..], &vec![0; 1 << 20], &content].concat();
    assert_eq!(len, want.len() as u64);
    for direct in [true, false] {
        let source = store.open_read("a.zst", direct).unwrap();
        let mut back = vec![0; want.len()];
        source.read_at(0, &mut back).unwrap();
        assert!(back == want);
        source.read_at(777, &mut back[..10]).unwrap();
        assert!(back[..10] == want[777..787]);
    }
    store.replace_small("manifest.json", b"one").unwrap();
    store.replace_small("manifest.json", b"other").unwrap();
    let folder = store.publish().unwrap();
    assert_eq!(Store::open(&folder).unwrap().read_small("manifest.json", 99).unwrap(), b"other");
    let taken = Store::create(&LocalFiles::default(), parent, "sda").unwrap();
    assert!(taken.path().ends_with("sda-2.part"));
    std::fs::create_dir(parent.join("sda-2")).unwrap();
    assert_eq!(taken.publish().unwrap_err().kind(), ErrorKind::Refused);

    let image = ImageFile::create(&LocalFiles::default(), &parent.join("disk.img"), 2 << 20, false).unwrap();
    image.write_at(0, &vec![1; 2 << 20]).unwrap();
    image.write_zeroes(ByteRange::span(1000, 1 << 20)).unwrap();
    image.sync().unwrap();
    let mut back = vec![1; 2 << 20];
    image.read_at(0, &mut back).unwrap();
    assert!(back[1000..1 << 20].iter().all(|byte| *byte == 0) && back[999] == 1 && back[1 << 20] == 1);
    image.publish().unwrap();
}

/// Until the filesystem is full: an error that names the file, nothing worse.
fn fills(parent: &Path) {
    let store = Store::create(&LocalFiles::default(), parent, "full").unwrap();
    let mut file = store.append("big", 1 << 20).unwrap();
    let error = loop {
        if let Err(error) = file.append(&[7; 1 << 20]) {
            break error;
        }
    };
    assert_eq!(error.kind(), ErrorKind::NoSpace);
    assert!(error.to_string().contains("full.part/big"), "{error}");
    assert!(file.finish().is_err());
}

fn on(test: &str, mkfs: &str, kind: &str, megabytes: u64) -> Option<Mount> {
    let mount = Mount::new(test, mkfs, kind, megabytes << 20)?;
    serves(&mount.point());
    fills(&mount.point());
    Some(mount)
}

#[test]
fn vfat() {
    let Some(mount) = on("vfat", "mkfs.vfat", "vfat", 64) else { return };
    let found = room(&LocalFiles::default().folder(&mount.point()).unwrap()).unwrap();
    assert_eq!((found.filesystem.as_str(), found.holes, found.memory), ("vfat", false, false));
    assert_eq!(found.max_file, Some((4 << 30) - 1));
    let error =
        ImageFile::create(&LocalFiles::default(), &mount.point().join("x"), 4 << 30, false).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NoSpace, "{error}");
    assert!(!mount.point().join("x.part").exists());
}

#[test]
fn exfat() {
    let Some(mount) = on("exfat", "mkfs.exfat", "exfat", 64) else { return };
    let found = room(&LocalFiles::default().folder(&mount.point()).unwrap()).unwrap();
    assert_eq!((found.filesystem.as_str(), found.holes, found.max_file), ("exfat", false, None));
}

#[test]
fn ext4() {
    let Some(mount) = on("ext4", "mkfs.ext4", "ext4", 64) else { return };
    let found = room(&LocalFiles::default().folder(&mount.point()).unwrap()).unwrap();
    assert_eq!((found.filesystem.as_str(), found.holes, found.memory), ("ext", true, false));
}

#[test]
fn xfs() {
    let Some(mount) = on("xfs", "mkfs.xfs", "xfs", 320) else { return };
    assert_eq!(room(&LocalFiles::default().folder(&mount.point()).unwrap()).unwrap().filesystem, "xfs");
}

#[test]
fn btrfs() {
    let Some(mount) = on("btrfs", "mkfs.btrfs", "btrfs", 128) else { return };
    assert_eq!(room(&LocalFiles::default().folder(&mount.point()).unwrap()).unwrap().filesystem, "btrfs");
}

/// Through FUSE, which knows no RENAME_NOREPLACE.
#[test]
fn ntfs() {
    let Some(mount) = on("ntfs", "mkfs.ntfs -q -F -Q", "ntfs-3g", 64) else { return };
    assert_eq!(room(&LocalFiles::default().folder(&mount.point()).unwrap()).unwrap().filesystem, "fuse");
}

#[test]
fn tmpfs() {
    let dir = tempfile::tempdir().unwrap();
    let point = dir.path().to_str().unwrap();
    if run("mount", &["-t", "tmpfs", "-o", "size=16m", "tmpfs", point]).is_none() {
        println!("SKIPPED: tmpfs: needs mount -t tmpfs");
        return;
    }
    let found = room(&LocalFiles::default().folder(dir.path()).unwrap()).unwrap();
    let outcome = std::panic::catch_unwind(|| {
        serves(dir.path());
        fills(dir.path());
    });
    run("umount", &[point]).unwrap();
    assert!(found.memory && found.filesystem == "tmpfs" && outcome.is_ok());
}
