//! `verify` of a folder in which somebody put other things in place of a backup's files: exit 4, named,
//! and soon.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::disallowed_methods)]

use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

/// More than a run takes on a busy machine, and far less than reading a hole of 4 TiB.
const SOON: Duration = Duration::from_secs(20);

struct Place {
    dir: tempfile::TempDir,
    saved: PathBuf,
}

impl Place {
    /// The sample disk, saved.
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("disk.img"), testkit::sample::disk()).unwrap();
        let mut save = Command::new(env!("CARGO_BIN_EXE_selfsame"));
        save.current_dir(dir.path()).args(["save", "disk.img", "backups", "--name", "t", "--no-check"]);
        let output = save.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let saved = dir.path().join(String::from_utf8(output.stdout).unwrap().lines().next().unwrap());
        Self { dir, saved }
    }

    /// A copy of the backup of its own.
    fn copy(&self) -> PathBuf {
        let copy = self.dir.path().join("copy");
        let _ = fs::remove_dir_all(&copy);
        fs::create_dir(&copy).unwrap();
        for entry in fs::read_dir(&self.saved).unwrap() {
            let entry = entry.unwrap();
            fs::copy(entry.path(), copy.join(entry.file_name())).unwrap();
        }
        copy
    }

    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.saved).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }
}

/// Runs the program; kills it, and fails, if it does not end soon.
fn run(words: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_selfsame"));
    command.args(words).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let (mut child, began) = (command.spawn().unwrap(), Instant::now());
    while child.try_wait().unwrap().is_none() {
        if began.elapsed() > SOON {
            child.kill().unwrap();
            panic!("{words:?} does not end: {:?}", child.wait_with_output().unwrap());
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    child.wait_with_output().unwrap()
}

/// Exit 4, and the file is named.
fn damaged(backup: &Path, name: &str, case: &str) {
    for verb in ["verify", "restore"] {
        let mut words = vec![verb, backup.to_str().unwrap(), "--progress", "none"];
        let target = backup.parent().unwrap().join("back.img");
        if verb == "restore" {
            words.push(target.to_str().unwrap());
        }
        let output = run(&words);
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said);
        assert_eq!(output.status.code(), Some(4), "{verb}, {name}, {case}: {said}");
        assert!(said.contains(name), "{verb}, {name}, {case}: {said}");
        assert!(!target.exists(), "{verb}, {name}, {case}: no whole-looking file is left");
    }
}

/// What it is, and how to put it in place of a file.
type Kind = (&'static str, fn(&Path));

/// Everything that is no regular file, in place of each file.
#[test]
fn links_pipes_and_folders_instead_of_files() {
    let place = Place::new();
    let kinds: [Kind; 6] = [
        ("a link to the right file", |path| {
            let real = path.with_file_name("../real");
            fs::copy(path, &real).unwrap();
            fs::remove_file(path).unwrap();
            symlink(real, path).unwrap();
        }),
        ("a link to a device", |path| {
            fs::remove_file(path).unwrap();
            symlink("/dev/zero", path).unwrap();
        }),
        ("a link to itself", |path| {
            fs::remove_file(path).unwrap();
            symlink(path, path).unwrap();
        }),
        ("a pipe", |path| {
            fs::remove_file(path).unwrap();
            assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
        }),
        ("a folder", |path| {
            fs::remove_file(path).unwrap();
            fs::create_dir(path).unwrap();
        }),
        ("a socket", |path| {
            fs::remove_file(path).unwrap();
            drop(std::os::unix::net::UnixListener::bind(path).unwrap());
        }),
    ];
    for name in place.names() {
        for (case, put) in kinds {
            let copy = place.copy();
            put(&copy.join(&name));
            damaged(&copy, &name, case);
        }
    }
}

/// A device of its own, which needs root: opened, /dev/zero would never end.
#[test]
fn a_device_instead_of_a_file() {
    let place = Place::new();
    for name in place.names() {
        let path = place.copy().join(&name);
        fs::remove_file(&path).unwrap();
        let made = Command::new("mknod").arg(&path).args(["c", "1", "5"]).stderr(Stdio::null()).status();
        if !made.unwrap().success() {
            println!("SKIPPED: a_device_instead_of_a_file: needs root");
            return;
        }
        damaged(path.parent().unwrap(), &name, "a device");
    }
}

/// Longer and shorter than it should be: a hole of 4 TiB is not read.
#[test]
fn other_lengths() {
    let place = Place::new();
    for name in place.names() {
        for length in [0, 1, 4 << 40] {
            let copy = place.copy();
            let file = File::options().write(true).open(copy.join(&name)).unwrap();
            if file.set_len(length).is_err() {
                println!("SKIPPED: other_lengths: needs files of 4 TiB");
                continue;
            }
            damaged(&copy, &name, &format!("{length} bytes"));
        }
    }
}

/// What does not belong there.
#[test]
fn more_files_and_other_spellings() {
    let place = Place::new();
    for (name, said) in
        [("MANIFEST.JSON", "MANIFEST.JSON"), ("x y", "x y"), ("-", "-"), (".hidden", ".hidden")]
    {
        let copy = place.copy();
        fs::write(copy.join(name), "x").unwrap();
        damaged(&copy, said, "one more file");
    }
    // Without a manifest it is no backup to restore: exit 1.
    for name in place.names().into_iter().filter(|name| name != "manifest.json") {
        let copy = place.copy();
        fs::rename(copy.join(&name), copy.join(name.to_uppercase() + ".X")).unwrap();
        damaged(&copy, &name, "another name");
    }
    // Three sizes whose sum is more than 2^64.
    let copy = place.copy();
    let huge = |name: &str| File::create(copy.join(name)).unwrap().set_len((1 << 43) * 2 - 4096);
    if ["a", "b", "c"].into_iter().all(|name| huge(name).is_ok()) {
        damaged(&copy, "does not belong", "three huge files");
    }
    assert!(run(&["backups", place.dir.path().to_str().unwrap()]).status.success());
}

/// A file that grows while it is read ends where it ended when it was opened.
#[test]
fn a_file_that_grows() {
    let place = Place::new();
    let copy = place.copy();
    let grow = copy.join("log.txt");
    let (stop, stopped) = std::sync::mpsc::channel::<()>();
    let writer = std::thread::spawn(move || {
        let mut file = File::options().append(true).open(grow).unwrap();
        while stopped.try_recv().is_err() && file.metadata().unwrap().len() < 1 << 30 {
            std::io::Write::write_all(&mut file, &[b'x'; 4096]).unwrap();
        }
    });
    damaged(&copy, "log.txt", "it grows");
    stop.send(()).unwrap();
    writer.join().unwrap();
}
