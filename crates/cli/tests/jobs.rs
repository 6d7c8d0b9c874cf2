//! save, verify and restore as a user runs them: there and back, and what is refused, with exit codes.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

struct Place {
    dir: tempfile::TempDir,
}

impl Place {
    /// A folder with the sample disk in it.
    #[expect(clippy::disallowed_methods, reason = "makes the disk that is saved")]
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("disk.img"), testkit::sample::disk()).unwrap();
        Self { dir }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn run(&self, words: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_selfsame"));
        command.current_dir(self.dir.path()).args(words).output().unwrap()
    }

    /// Runs, and checks the exit code and that stderr says `words`.
    fn refuses(&self, code: i32, says: &str, words: &[&str]) {
        let output = self.run(words);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{words:?}: {said}");
        assert!(said.contains(says), "{words:?} says {said:?} instead of {says:?}");
    }

    fn save(&self, more: &[&str]) -> PathBuf {
        let words = [&["save", "disk.img", "backups", "--name", "t"], more].concat();
        let output = self.run(&words);
        assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
        let said = String::from_utf8(output.stdout).unwrap();
        self.path(said.lines().next().unwrap())
    }
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn there_and_back() {
    let place = Place::new();
    for more in [
        &["--digest", "sha256,md5"][..],
        &["--format", "raw", "--no-check"],
        &["--whole"],
        &["--split", "1M"],
        &["--level", "19"],
        &["--level", "auto"],
    ] {
        let backup = place.save(more);
        assert_eq!(place.run(&["verify", text(&backup)]).status.code(), Some(0), "{more:?}");
        let against = place.run(&["verify", text(&backup), "--against", "disk.img"]);
        assert_eq!(against.status.code(), Some(0), "{more:?}");
        let restored = place.run(&["restore", text(&backup), "./back.img", "--force"]);
        assert_eq!(restored.status.code(), Some(0), "{}", String::from_utf8_lossy(&restored.stderr));
        assert!(std::fs::read(place.path("back.img")).unwrap() == testkit::sample::disk(), "{more:?}");
        std::fs::remove_dir_all(backup).unwrap();
    }
}

#[test]
fn a_partition_comes_back_alone() {
    let place = Place::new();
    let backup = place.save(&["--part", "1"]);
    let restored = place.run(&["restore", text(&backup), "./part.img", "--part", "1"]);
    assert_eq!(restored.status.code(), Some(0), "{}", String::from_utf8_lossy(&restored.stderr));
    let part = std::fs::read(place.path("part.img")).unwrap();
    assert!(part == testkit::sample::disk()[63 * 512..63 * 512 + part.len()]);
    place.refuses(1, "was left out", &["restore", text(&backup), "./x.img", "--part", "6"]);
    place.refuses(2, "there are: 1, 5, 6", &["restore", text(&backup), "./x.img", "--part", "9"]);
}

#[test]
fn what_makes_no_sense_is_refused() {
    let place = Place::new();
    let backup = place.save(&[]);
    let backup = text(&backup);
    place.refuses(5, "no such disk: /dev/no-such", &["restore", backup, "/dev/no-such"]);
    place.refuses(1, "no such disk: nosuch", &["restore", backup, "nosuch"]);
    place.refuses(5, "disk.img", &["restore", backup, "./disk.img"]);
    place.refuses(1, "no such backup", &["verify", "nothing-here"]);
    place.refuses(2, "is a backup already", &["save", backup, "backups"]);
    place.refuses(2, "no partition 9 to save", &["save", "disk.img", "backups", "--part", "9"]);
    place.refuses(1, "no such folder", &["save", "disk.img", "no/such/place"]);
    place.refuses(5, "no place for a backup", &["save", "disk.img", "/dev/shm"]);
    place.refuses(2, "--split must be at least", &["save", "disk.img", "backups", "--split", "1k"]);
    place.refuses(2, "level", &["save", "disk.img", "backups", "--level", "77"]);
    place.refuses(2, "1 to 19, or auto", &["save", "disk.img", "backups", "--level", "most"]);
    let disk = std::fs::read(place.path("disk.img")).unwrap();
    assert!(disk == testkit::sample::disk(), "nothing was overwritten");
}

#[test]
fn thousands_of_files_are_no_trouble_and_more_are_refused() {
    let place = Place::new();
    #[expect(clippy::disallowed_methods, reason = "grows the disk that is saved")]
    let grow = |mib: u64| {
        let disk = std::fs::File::options().append(true).open(place.path("disk.img")).unwrap();
        disk.set_len(mib << 20).unwrap();
    };
    grow(1100); // more files than a process may open if it does not ask
    let backup = place.save(&["--whole", "--format", "raw", "--split", "1M", "--no-check"]);
    assert!(backup.read_dir().unwrap().count() > 1100);
    let verified = place.run(&["verify", text(&backup)]);
    assert_eq!(verified.status.code(), Some(0), "{}", String::from_utf8_lossy(&verified.stderr));
    grow(8192);
    place.refuses(2, "more than 4096 files", &["save", "disk.img", "backups", "--split", "1M"]);
}

#[test]
fn names_need_not_be_utf8() {
    let place = Place::new();
    let name = |bytes: &[u8]| place.dir.path().join(std::ffi::OsStr::from_bytes(bytes));
    let (image, dest, back) = (name(b"a\xff.img"), name(b"d\xff"), name(b"b\xff.img"));
    std::fs::rename(place.path("disk.img"), &image).unwrap();
    let selfsame = |words: &[&OsStr]| {
        let output = Command::new(env!("CARGO_BIN_EXE_selfsame")).args(words).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    };
    selfsame(&["show".as_ref(), image.as_ref()]);
    selfsame(&["save".as_ref(), image.as_ref(), dest.as_ref(), "--name".as_ref(), "t".as_ref()]);
    let backup = dest.read_dir().unwrap().next().unwrap().unwrap().path();
    selfsame(&["verify".as_ref(), backup.as_ref(), "--against".as_ref(), image.as_ref()]);
    selfsame(&["backups".as_ref(), dest.as_ref()]);
    selfsame(&["restore".as_ref(), backup.as_ref(), back.as_ref()]);
    assert!(std::fs::read(back).unwrap() == testkit::sample::disk());
}

#[test]
fn another_seal_is_not_this_backup() {
    let place = Place::new();
    let backup = place.save(&[]);
    let json = place.run(&["verify", text(&backup), "--json", "--progress", "none"]);
    let document: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
    let seal = document["seal"].as_str().unwrap();
    assert_eq!(place.run(&["verify", text(&backup), "--expect", seal]).status.code(), Some(0));
    assert_eq!(place.run(&["verify", text(&backup), "--expect", "00"]).status.code(), Some(4));
}

#[test]
fn a_dry_run_writes_nothing() {
    let place = Place::new();
    let output = place.run(&["save", "disk.img", "backups", "--name", "t", "--dry-run"]);
    assert_eq!(output.status.code(), Some(0));
    assert!(String::from_utf8_lossy(&output.stdout).contains("t-disk1.vfat.zst"));
    assert!(!place.path("backups").exists());
}
