//! Filesystems to look at, and trees in them.

use std::path::{Path, PathBuf};
use testkit::tools::{has, run, shell};

/// How files get into a filesystem and are seen in it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Driver {
    /// The kernel's, through a loop device.
    Kernel,
    /// ntfs-3g.
    Ntfs3g,
    /// exfat-fuse.
    ExfatFuse,
    /// None: mtools copy in and out.
    Mtools,
}

/// A filesystem of a kind.
#[derive(Clone, Copy)]
pub(crate) struct Kind {
    pub(crate) name: &'static str,
    /// Bytes.
    pub(crate) size: u64,
    /// Makes it in `$F`.
    pub(crate) make: &'static str,
    pub(crate) driver: Driver,
    /// Fails if something is wrong with `$F`.
    pub(crate) fsck: &'static str,
    /// Programs that it takes.
    pub(crate) needs: &'static [&'static str],
}

const MIB: u64 = 1 << 20;
const E2FSCK: &str = "e2fsck -fn $F";

const fn ext(name: &'static str, make: &'static str) -> Kind {
    Kind {
        name,
        size: 64 * MIB,
        make,
        driver: Driver::Kernel,
        fsck: E2FSCK,
        needs: &["mkfs.ext4", "losetup"],
    }
}

const fn fat(name: &'static str, size: u64, make: &'static str) -> Kind {
    let needs = &["mkfs.vfat", "mcopy", "fsck.vfat"];
    Kind { name, size, make, driver: Driver::Mtools, fsck: "fsck.vfat -n $F", needs }
}

const fn ntfs(name: &'static str, make: &'static str) -> Kind {
    let needs = &["mkfs.ntfs", "ntfs-3g", "ntfsfix"];
    // There is no fsck of it; ntfsinfo reads all that belongs to the volume itself.
    Kind { name, size: 64 * MIB, make, driver: Driver::Ntfs3g, fsck: "ntfsinfo -m $F", needs }
}

const fn xfs(name: &'static str, make: &'static str) -> Kind {
    let needs = &["mkfs.xfs", "xfs_repair", "losetup"];
    Kind { name, size: 320 * MIB, make, driver: Driver::Kernel, fsck: "xfs_repair -n $F", needs }
}

const fn btrfs(name: &'static str, make: &'static str) -> Kind {
    let needs = &["mkfs.btrfs", "losetup"];
    let fsck = "btrfs check --check-data-csum $F";
    Kind { name, size: 160 * MIB, make, driver: Driver::Kernel, fsck, needs }
}

/// All of them.
pub(crate) const KINDS: &[Kind] = &[
    ext("ext4", "mkfs.ext4 -q -F $F"),
    ext("ext4 without sums, 1 KiB", "mkfs.ext4 -q -F -b 1024 -O ^metadata_csum,^64bit $F"),
    ext("ext4 meta_bg", "mkfs.ext4 -q -F -O meta_bg,^resize_inode $F"),
    ext("ext4 sparse_super2", "mkfs.ext4 -q -F -b 1024 -O sparse_super2,^resize_inode $F"),
    ext("ext4 bigalloc", "mkfs.ext4 -q -F -O bigalloc -C 16384 $F"),
    ext("ext3", "mkfs.ext3 -q -F $F"),
    ext("ext2, 1 KiB", "mkfs.ext2 -q -F -b 1024 $F"),
    xfs("XFS", "mkfs.xfs -q -f $F"),
    xfs("XFS, 1 KiB, reverse mappings", "mkfs.xfs -q -f -b size=1024 -m rmapbt=1 $F"),
    btrfs("btrfs", "mkfs.btrfs -q -f $F"),
    btrfs("btrfs, mixed groups", "mkfs.btrfs -q -f --mixed -m single -d single $F"),
    btrfs("btrfs, xxhash", "mkfs.btrfs -q -f --csum xxhash $F"),
    ntfs("NTFS", "mkfs.ntfs -q -F -Q $F"),
    ntfs("NTFS, clusters of 512", "mkfs.ntfs -q -F -Q -c 512 $F"),
    fat("FAT12", 16 * MIB, "mkfs.vfat -F 12 $F"),
    fat("FAT16", 32 * MIB, "mkfs.vfat -F 16 $F"),
    fat("FAT32", 64 * MIB, "mkfs.vfat -F 32 $F"),
    Kind {
        name: "exFAT",
        size: 64 * MIB,
        make: "mkfs.exfat $F",
        driver: Driver::ExfatFuse,
        fsck: "fsck.exfat -n $F",
        needs: &["mkfs.exfat", "mount.exfat-fuse", "fsck.exfat"],
    },
];

/// What changes a tree so that free and used blocks lie among each other; run in its folder.
const FILL: &str = r#"cd "$F"; mkdir -p many deep/a/b/c/d/e/f
for n in $(seq 1 120); do head -c $((n * 977)) /dev/urandom > many/file$n; done; sync -f .
for n in $(seq 1 2 120); do rm many/file$n; done
head -c 4000000 /dev/urandom > large; head -c 9 /dev/urandom > small; : > empty
for n in $(seq 1 40); do head -c 30000 /dev/urandom > gone$n; done; sync -f .
rm gone*; head -c 100000 /dev/urandom > deep/a/b/c/d/e/f/bottom; sync -f ."#;

/// Every name and the sum of every file of the folder `$F`.
const LIST: &str = r#"cd "$F"; find . -type f -print0 | sort -z | xargs -0 -r sha256sum
find . -printf '%P|%y|%l\n' | sort"#;

impl Kind {
    pub(crate) fn find(name: &str) -> Self {
        *KINDS.iter().find(|kind| kind.name == name).unwrap()
    }

    /// Can it be made and filled here?
    pub(crate) fn can(&self, test: &str) -> bool {
        has(test, self.needs) && (self.driver == Driver::Mtools || Mounted::is_root(test))
    }

    /// An image with an empty filesystem.
    pub(crate) fn empty(&self, folder: &Path) -> PathBuf {
        let image = folder.join("image");
        std::fs::File::create(&image).unwrap().set_len(self.size).unwrap();
        run(self.make, &image);
        image
    }

    /// An image with a tree in it.
    pub(crate) fn filled(&self, folder: &Path) -> PathBuf {
        let image = self.empty(folder);
        if self.driver == Driver::Mtools {
            let tree = folder.join("tree");
            std::fs::create_dir(&tree).unwrap();
            run(FILL, &tree);
            run(r#"mcopy -s -i "$F" "${F%/*}"/tree/* ::"#, &image);
            // So that what is free lies between what is used.
            run(r#"for n in $(seq 2 8 120); do mdel -i "$F" ::many/file$n; done"#, &image);
        } else {
            let mounted = Mounted::new(self.driver, &image, "rw");
            run(FILL, mounted.path());
        }
        image
    }

    /// What is seen of its files.
    pub(crate) fn list(&self, image: &Path) -> String {
        if self.driver == Driver::Mtools {
            let out = tempfile::tempdir().unwrap();
            run(&format!(r#"mcopy -s -m -i "$F" ::/ "{}""#, out.path().display()), image);
            return run(LIST, out.path());
        }
        run(LIST, Mounted::new(self.driver, image, "ro").path())
    }

    pub(crate) fn fsck(&self, image: &Path) {
        if let Err(error) = shell(&format!("{{ {}; }} >&2", self.fsck), image) {
            panic!("{}: {}: {error}", self.name, self.fsck);
        }
    }
}

/// A filesystem that is mounted; no longer when this is dropped.
pub(crate) struct Mounted {
    folder: tempfile::TempDir,
    /// Detached behind it.
    _device: Option<testkit::LoopDevice>,
}

impl Mounted {
    pub(crate) fn new(driver: Driver, image: &Path, options: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().display();
        let device = (driver == Driver::ExfatFuse).then(|| testkit::LoopDevice::attach(image, 512).unwrap());
        let line = match driver {
            Driver::Kernel => format!(r#"mount -o loop,{options} "$F" "{place}""#),
            Driver::Ntfs3g => format!(r#"ntfs-3g -o {options} "$F" "{place}""#),
            Driver::ExfatFuse => format!(r#"mount.exfat-fuse -o {options} "$F" "{place}""#),
            Driver::Mtools => panic!("mtools mount nothing"),
        };
        run(&line, device.as_ref().map_or(image, testkit::LoopDevice::path));
        Self { folder, _device: device }
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    fn is_root(test: &str) -> bool {
        let root = run("id -u", Path::new("")).trim() == "0";
        if !root {
            println!("SKIPPED: {test}: needs root");
        }
        root
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let gone = (0..50).any(|_| {
            let gone = shell(r#"umount "$F""#, self.path()).is_ok();
            if !gone {
                std::thread::sleep(std::time::Duration::from_millis(100));
            }
            gone
        });
        // The server of a FUSE writes its last bytes after umount comes back.
        std::thread::sleep(std::time::Duration::from_millis(100));
        assert!(gone || std::thread::panicking(), "{} stays mounted", self.path().display());
    }
}
