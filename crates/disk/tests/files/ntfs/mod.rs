//! NTFS as mkfs.ntfs makes it and ntfs-3g fills it; the truth is what ntfs-3g shows.

mod damaged;
mod features;
mod trees;
mod wof;

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use testkit::tools::{self, run, shell};

/// What mkfs.ntfs and the driver put nowhere that a user sees.
const NONE: &[&str] = &[];

/// Are all tools there, and may we mount?
fn ready(test: &str, more: &[&str]) -> bool {
    let programs = [&["mkfs.ntfs", "ntfs-3g", "umount"][..], more].concat();
    let root = std::fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0);
    if !root {
        println!("SKIPPED: {test}: needs root");
    }
    root && tools::has(test, &programs)
}

/// An image of a new volume in a folder that goes away, and a place to mount it.
struct Volume {
    folder: tempfile::TempDir,
}

impl Volume {
    /// `size` as truncate has it, `options` of mkfs.ntfs.
    fn new(size: &str, options: &str) -> Self {
        let volume = Self { folder: tempfile::tempdir().unwrap() };
        std::fs::create_dir(volume.folder.path().join("mounted")).unwrap();
        run(&format!("truncate -s {size} \"$F\"; mkfs.ntfs -q -F -f {options} \"$F\""), &volume.image());
        volume
    }

    fn image(&self) -> PathBuf {
        self.folder.path().join("image")
    }

    /// A folder beside the image.
    fn beside(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Mounts it and calls `with` with the folder; it is unmounted and written when this returns.
    fn mounted<T>(&self, options: &str, with: impl FnOnce(&Path) -> T) -> T {
        let mounted = Mounted::new(&self.image(), &self.beside("mounted"), options);
        with(&mounted.dir)
    }
}

/// A mounted image, unmounted when it is dropped.
struct Mounted {
    dir: PathBuf,
    driver: Child,
}

impl Mounted {
    fn new(image: &Path, dir: &Path, options: &str) -> Self {
        let mut command = Command::new("ntfs-3g");
        let options = ["no_detach", options].join(if options.is_empty() { "" } else { "," });
        command.arg("-o").arg(options).arg(image).arg(dir);
        let driver = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let mut mounted = Self { dir: dir.to_owned(), driver };
        let device = |path: &Path| std::fs::metadata(path).unwrap().dev();
        let outside = device(dir.parent().unwrap());
        let began = Instant::now();
        while device(dir) == outside {
            assert!(mounted.driver.try_wait().unwrap().is_none(), "ntfs-3g gave up");
            assert!(began.elapsed() < Duration::from_secs(30), "ntfs-3g does not mount");
            std::thread::sleep(Duration::from_millis(20));
        }
        mounted
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        if let Err(error) = shell("umount \"$F\"", &self.dir) {
            println!("umount: {error}");
            let _gone = self.driver.kill();
            let _done = shell("umount -l \"$F\"", &self.dir);
        }
        // What it still has to write is written when it ends.
        let _ended = self.driver.wait();
    }
}

/// A value as setfattr takes it.
fn hex(bytes: &[u8]) -> String {
    let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("0x{digits}")
}

/// Makes a reparse point of a file.
fn set_reparse(path: &Path, tag: u32, data: &[u8]) {
    let length = u16::try_from(data.len()).unwrap();
    let value = [&tag.to_le_bytes()[..], &length.to_le_bytes(), &[0, 0], data].concat();
    run(&format!("setfattr -h -n system.ntfs_reparse_data -v {} \"$F\"", hex(&value)), path);
}

fn utf16(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_le_bytes).collect()
}
