//! Volumes in which files were written and deleted.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use tempfile::TempDir;
use testkit::LoopDevice;
use testkit::tools::run;

/// A kind of filesystem: how to make one and how to have it as a folder.
pub(crate) struct Kind {
    pub(crate) name: &'static str,
    pub(crate) needs: &'static [&'static str],
    pub(crate) mkfs: &'static str,
    /// `$F` is the image, or a device of it, `$D` the folder. `None`: by mtools.
    pub(crate) mount: Option<&'static str>,
    /// Its driver wants a device.
    pub(crate) on_device: bool,
}

pub(crate) const KINDS: &[Kind] = &[
    Kind {
        name: "ext3",
        needs: &["mkfs.ext3", "mount"],
        mkfs: "truncate -s 192M $F; mkfs.ext3 -q -F -b 4096 -J size=8 $F",
        mount: Some("mount -o loop $F $D"),
        on_device: false,
    },
    Kind {
        name: "ext4",
        needs: &["mkfs.ext4", "mount"],
        mkfs: "truncate -s 192M $F; mkfs.ext4 -q -F -b 1024 -J size=8 $F",
        mount: Some("mount -o loop $F $D"),
        on_device: false,
    },
    Kind {
        name: "NTFS",
        needs: &["mkfs.ntfs", "ntfs-3g"],
        mkfs: "truncate -s 80M $F; mkfs.ntfs -q -F -Q $F",
        mount: Some("ntfs-3g $F $D"),
        on_device: false,
    },
    Kind {
        name: "FAT32",
        needs: &["mkfs.vfat", "mcopy", "mdel"],
        mkfs: "truncate -s 64M $F; mkfs.vfat -F 32 -s 1 $F",
        mount: None,
        on_device: false,
    },
    Kind {
        name: "exFAT",
        needs: &["mkfs.exfat", "mount.exfat-fuse"],
        mkfs: "truncate -s 80M $F; mkfs.exfat $F",
        mount: Some("mount.exfat-fuse $F $D 2>/dev/null"),
        on_device: true,
    },
];

/// Where the files that came after the victims were.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// In a folder of their own, made before.
    Beside,
    /// In a folder of their own, that is removed too.
    Removed,
    /// Those of the last round stay.
    Kept,
}

pub(crate) const WAYS: &[Way] = &[Way::Beside, Way::Removed, Way::Kept];

/// An image and what was ever written in it.
pub(crate) struct Made {
    pub(crate) folder: TempDir,
    pub(crate) image: PathBuf,
    /// Paths with digests.
    pub(crate) victims: BTreeMap<String, [u8; 32]>,
    /// Path of everything that was written, by its content.
    pub(crate) truth: BTreeMap<[u8; 32], String>,
    /// Bytes of the victims.
    pub(crate) bytes: Vec<Vec<u8>>,
}

/// Mounted here until it is dropped.
pub(crate) struct Mounted(pub(crate) PathBuf);

impl Drop for Mounted {
    fn drop(&mut self) {
        for _ in 0..50 {
            let done = std::process::Command::new("umount").arg(&self.0).status();
            if done.is_ok_and(|status| status.success()) {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(100));
        }
    }
}

/// Bytes that are nowhere else.
pub(crate) fn noise(name: &str, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    blake3::Hasher::new().update(name.as_bytes()).finalize_xof().fill(&mut bytes);
    bytes
}

impl Made {
    fn new(kind: &Kind) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let image = folder.path().join("image");
        run(kind.mkfs, &image);
        fs::create_dir(folder.path().join("mounted")).unwrap();
        Self { folder, image, victims: BTreeMap::new(), truth: BTreeMap::new(), bytes: vec![] }
    }

    fn write(&mut self, root: &Path, path: &str, len: usize) -> Vec<u8> {
        let bytes = noise(path, len);
        let to = root.join(path);
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::write(to, &bytes).unwrap();
        self.truth.insert(*blake3::hash(&bytes).as_bytes(), path.to_owned());
        bytes
    }
}

/// Thirty files of 0.5 to 590 KB among sixty others.
fn write_all(made: &mut Made, root: &Path) {
    for n in 0..30usize {
        made.write(root, &format!("docs/first {n}.txt"), 700 + n * 3001);
        let path = format!("docs/holiday photo number {n:02}.jpeg");
        let bytes = made.write(root, &path, 512 + n * 20_337);
        made.victims.insert(path, *blake3::hash(&bytes).as_bytes());
        made.bytes.push(bytes);
        made.write(root, &format!("docs/SECOND{n}.BIN"), 40_000 - n * 1000);
    }
}

/// The victims are the last that happened.
pub(crate) fn victims(kind: &Kind) -> Made {
    let mut made = Made::new(kind);
    with(kind, &mut made, write_all);
    with(kind, &mut made, |made, root| {
        remove_victims(made, root);
    });
    made
}

/// The same, looked at while it is mounted again.
pub(crate) fn pending(kind: &Kind) -> Made {
    let mut made = victims(kind);
    with(kind, &mut made, |made, root| {
        fs::write(root.join("docs/last"), noise("last", 100_000)).unwrap();
        run("sync", &made.image);
        fs::copy(&made.image, made.folder.path().join("copy")).unwrap();
    });
    made.image = made.folder.path().join("copy");
    made
}

fn remove_victims(made: &Made, root: &Path) {
    for path in made.victims.keys() {
        fs::remove_file(root.join(path)).unwrap();
    }
}

/// After the victims other files came and went. Their names differ in their first letters: mtools takes long to
/// find a short one that is free.
pub(crate) fn churned(kind: &Kind, way: Way) -> Made {
    let mut made = Made::new(kind);
    with(kind, &mut made, |made, root| {
        fs::create_dir(root.join("churn")).unwrap();
        write_all(made, root);
    });
    with(kind, &mut made, |made, root| {
        remove_victims(made, root);
    });
    for round in 0..3 {
        with(kind, &mut made, |made, root| {
            for n in 0..3000usize {
                made.write(root, &format!("churn/{n:04}{round} of a round"), 600 + (n * 977) % 20_000);
            }
        });
        if way == Way::Kept && round == 2 {
            break;
        }
        with(kind, &mut made, |_, root| {
            for entry in fs::read_dir(root.join("churn")).unwrap() {
                fs::remove_file(entry.unwrap().path()).unwrap();
            }
            if way == Way::Removed {
                fs::remove_dir(root.join("churn")).unwrap();
            }
        });
    }
    made
}

/// Works on the volume, mounted for this once. Without a driver on a folder, whose changes are made by mtools.
fn with(kind: &Kind, made: &mut Made, work: impl FnOnce(&mut Made, &Path)) {
    let image = made.image.clone();
    let dir = made.folder.path().join("mounted");
    let Some(line) = kind.mount else {
        let before = paths(&dir);
        work(made, &dir);
        return by_mtools(&image, &dir, &before, &paths(&dir));
    };
    let device = kind.on_device.then(|| LoopDevice::attach(&image, 512).unwrap());
    let from = device.as_ref().map_or(&*image, LoopDevice::path);
    run(&line.replace("$D", &format!("'{}'", dir.display())), from);
    let _mounted = Mounted(dir.clone());
    work(made, &dir);
    run("sync", &image);
}

/// Every file and folder, those in a folder behind it; folders end in a slash.
fn paths(root: &Path) -> Vec<String> {
    let (mut found, mut left) = (vec![], vec![root.to_owned()]);
    while let Some(dir) = left.pop() {
        for entry in fs::read_dir(&dir).unwrap() {
            let path = entry.unwrap().path();
            let slash = if path.is_dir() { "/" } else { "" };
            found.push(format!("{}{slash}", path.strip_prefix(root).unwrap().display()));
            left.extend(path.is_dir().then_some(path));
        }
    }
    found.sort();
    found
}

/// Makes the same changes in the image, a folder at a time.
fn by_mtools(image: &Path, root: &Path, before: &[String], after: &[String]) {
    let tool = |line: &str, names: &[&String]| {
        for names in names.chunks(500) {
            let names: Vec<_> =
                names.iter().map(|name| format!("'::{}'", name.trim_end_matches('/'))).collect();
            run(&format!("MTOOLS_SKIP_CHECK=1 {line} -i $F {}", names.join(" ")), image);
        }
    };
    let gone: Vec<_> = before.iter().filter(|path| after.binary_search(path).is_err()).collect();
    let (folders, files): (Vec<_>, Vec<_>) = gone.into_iter().partition(|path| path.ends_with('/'));
    tool("mdel", &files);
    tool("mrd", &folders);
    let new: Vec<_> = after.iter().filter(|path| before.binary_search(path).is_err()).collect();
    let (folders, files): (Vec<_>, Vec<_>) = new.into_iter().partition(|path| path.ends_with('/'));
    tool("mmd", &folders);
    for files in files
        .chunk_by(|one, other| one.rsplit_once('/').map(|at| at.0) == other.rsplit_once('/').map(|at| at.0))
    {
        let to = files[0].rsplit_once('/').map_or("", |at| at.0);
        for files in files.chunks(500) {
            let names: Vec<_> = files.iter().map(|name| format!("'{}'", root.join(name).display())).collect();
            run(&format!("MTOOLS_SKIP_CHECK=1 mcopy -i $F {} '::{to}/'", names.join(" ")), image);
        }
    }
}
