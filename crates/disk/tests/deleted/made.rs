//! Volumes in which files were written and deleted.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use tempfile::TempDir;
use testkit::tools::run;

/// A kind of filesystem: how to make one and how to have it as a folder.
pub struct Kind {
    pub name: &'static str,
    pub needs: &'static [&'static str],
    pub mkfs: &'static str,
    /// `$F` is the image, `$D` the folder. `None`: by mtools.
    pub mount: Option<&'static str>,
}

pub const KINDS: &[Kind] = &[
    Kind {
        name: "ext3",
        needs: &["mkfs.ext3", "mount"],
        mkfs: "truncate -s 192M $F; mkfs.ext3 -q -F -J size=8 $F",
        mount: Some("mount -o loop $F $D"),
    },
    Kind {
        name: "ext4",
        needs: &["mkfs.ext4", "mount"],
        mkfs: "truncate -s 192M $F; mkfs.ext4 -q -F -J size=8 $F",
        mount: Some("mount -o loop $F $D"),
    },
    Kind {
        name: "NTFS",
        needs: &["mkfs.ntfs", "ntfs-3g"],
        mkfs: "truncate -s 192M $F; mkfs.ntfs -q -F -Q $F",
        mount: Some("ntfs-3g $F $D"),
    },
];

/// Where the files that came after the victims were.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// In a folder of their own, made before.
    Beside,
    /// In a folder of their own, that is removed too.
    Removed,
    /// Those of the last round stay.
    Kept,
}

pub const WAYS: &[Way] = &[Way::Beside, Way::Removed, Way::Kept];

/// An image and what was ever written in it.
pub struct Made {
    pub folder: TempDir,
    pub image: PathBuf,
    /// Paths with digests.
    pub victims: BTreeMap<String, [u8; 32]>,
    /// Path of everything that was written, by its content.
    pub truth: BTreeMap<[u8; 32], String>,
    /// Bytes of the victims.
    pub bytes: Vec<Vec<u8>>,
}

/// Mounted here until it is dropped.
struct Mounted(PathBuf);

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
pub fn noise(name: &str, len: usize) -> Vec<u8> {
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
pub fn victims(kind: &Kind) -> Made {
    let mut made = Made::new(kind);
    with(kind, &mut made, write_all);
    with(kind, &mut made, |made, root| {
        for path in made.victims.keys() {
            fs::remove_file(root.join(path)).unwrap();
        }
    });
    made
}

/// After the victims other files came and went.
pub fn churned(kind: &Kind, way: Way) -> Made {
    let mut made = Made::new(kind);
    with(kind, &mut made, |made, root| {
        fs::create_dir(root.join("churn")).unwrap();
        write_all(made, root);
    });
    with(kind, &mut made, |made, root| {
        for path in made.victims.keys() {
            fs::remove_file(root.join(path)).unwrap();
        }
    });
    for round in 0..3 {
        with(kind, &mut made, |made, root| {
            for n in 0..3000usize {
                made.write(root, &format!("churn/round {round} number {n}"), 600 + (n * 977) % 20_000);
            }
        });
        if way == Way::Kept && round == 2 {
            break;
        }
        with(kind, &mut made, |_, root| {
            fs::remove_dir_all(root.join("churn")).unwrap();
            if way != Way::Removed {
                fs::create_dir(root.join("churn")).unwrap();
            }
        });
    }
    made
}

/// Works on the volume, mounted for this once.
fn with(kind: &Kind, made: &mut Made, work: impl FnOnce(&mut Made, &Path)) {
    let image = made.image.clone();
    let dir = made.folder.path().join("mounted");
    let line = kind.mount.unwrap().replace("$D", &format!("'{}'", dir.display()));
    run(&line, &image);
    let _mounted = Mounted(dir.clone());
    work(made, &dir);
    run("sync", &image);
}
