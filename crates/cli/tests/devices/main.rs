//! save and restore as a user types them, against block devices of the running kernel: what is asked, what is
//! refused, with which exit code and words, and that nothing was written. Needs root and loop devices.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    clippy::print_stderr
)]

mod clone;
mod confirm;
mod larger;
mod prepare;
mod restore;
mod save;
mod terminal;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use testkit::LoopDevice;

const MIB: u64 = 1 << 20;
const SELFSAME: &str = env!("CARGO_BIN_EXE_selfsame");

/// A folder for one test, on a disk: tests are about disks, and `/tmp` may be memory.
struct Lab(tempfile::TempDir);

impl Lab {
    fn new() -> Self {
        Self(tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// A file of `size` bytes: one hole.
    fn file(&self, name: &str, size: u64) -> PathBuf {
        let path = self.path(name);
        std::fs::File::create(&path).unwrap().set_len(size).unwrap();
        path
    }

    /// A disk of `size` zeroes.
    fn disk(&self, name: &str, size: u64) -> Option<Disk> {
        Disk::over(self.file(name, size), 512)
    }

    /// A disk that holds an ext4 of its whole size, without a table.
    fn ext4(&self, name: &str, size: u64) -> Option<Disk> {
        let disk = self.disk(name, size)?;
        // All of it written now: what the kernel would write later would change the disk in mid-test.
        let all_now = "lazy_itable_init=0,lazy_journal_init=0";
        tool("mkfs.ext4", &["-q", "-F", "-L", "family", "-E", all_now, disk.word()]);
        Some(disk)
    }

    /// The backup of a blank disk of this size: enough to be refused, and quick.
    fn blank(&self, size: u64) -> String {
        self.file("blank.img", size);
        self.backup("blank.img")
    }

    /// The backup of the file `name`, in the folder `backups`.
    fn backup(&self, name: &str) -> String {
        backup_into(&self.path("backups"), text(&self.path(name)))
    }

    /// The backup of the sample disk.
    fn sample(&self) -> String {
        std::fs::write(self.path("sample.img"), testkit::sample::disk()).unwrap();
        self.backup("sample.img")
    }
}

/// A backup of `source` in `dest`; its folder.
fn backup_into(dest: &Path, source: &str) -> String {
    let output = selfsame(&["save", source, text(dest), "--name", "t", "--no-check", "--progress", "none"]);
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    String::from_utf8(output.stdout).unwrap().lines().next().unwrap().to_owned()
}

/// A loop device over a file of the lab.
struct Disk(LoopDevice);

impl Disk {
    fn over(file: PathBuf, sector: u32) -> Option<Self> {
        LoopDevice::attach(&file, sector).map(Self)
    }

    /// Its node, as it is typed.
    fn word(&self) -> &str {
        text(self.0.path())
    }

    fn name(&self) -> &str {
        self.word().strip_prefix("/dev/").unwrap()
    }

    fn bytes(&self) -> Vec<u8> {
        std::fs::read(self.0.path()).unwrap()
    }

    /// As `disks` prints it.
    fn id(&self) -> String {
        let listed = selfsame(&["disks", "--json"]);
        let document: serde_json::Value = serde_json::from_slice(&listed.stdout).unwrap();
        let disks = document["disks"].as_array().unwrap();
        let this = disks.iter().find(|disk| disk["name"] == self.name()).unwrap();
        this["id"].as_str().unwrap().to_owned()
    }

    /// Restores onto it without a question.
    fn restore(&self, backup: &str, more: &[&str]) -> Output {
        selfsame(&[&["restore", backup, self.word(), "--yes", "--target-id", &self.id()], more].concat())
    }

    /// Restoring onto it is refused, although it was confirmed, with all of these words, and writes nothing.
    fn refuses(&self, backup: &str, more: &[&str], words: &[&str]) {
        let before = self.bytes();
        refused(&self.restore(backup, more), 5, words);
        assert!(self.bytes() == before, "{}: written to", self.word());
    }
}

/// A command on a device at the end, also of a test that fails.
struct Undo(&'static [&'static str], String);

impl Drop for Undo {
    fn drop(&mut self) {
        let _done = Command::new(self.0[0]).args(&self.0[1..]).arg(&self.1).status();
    }
}

/// Mounted until it is dropped.
struct Mounted(PathBuf);

impl Mounted {
    /// A device at a new folder of the lab.
    fn at(lab: &Lab, folder: &str, device: &str, options: &str) -> Self {
        Self::of_type(lab, "ext4", folder, device, options)
    }

    fn of_type(lab: &Lab, fs: &str, folder: &str, device: &str, options: &str) -> Self {
        let dir = lab.path(folder);
        std::fs::create_dir(&dir).unwrap();
        tool("mount", &["-t", fs, "-o", options, device, text(&dir)]);
        tool("sync", &["-f", text(&dir)]);
        Self(dir)
    }

    fn dir(&self) -> &str {
        text(&self.0)
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _done = Command::new("umount").arg(&self.0).status();
    }
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn selfsame(words: &[&str]) -> Output {
    Command::new(SELFSAME).args(words).output().unwrap()
}

fn skip(needs: &str) {
    let thread = std::thread::current();
    let test = thread.name().and_then(|path| path.rsplit("::").next()).unwrap_or("test");
    eprintln!("SKIPPED: {test}: needs {needs}");
}

/// Runs a tool that must succeed; what it prints.
fn tool(name: &str, words: &[&str]) -> String {
    let output = Command::new(name).args(words).output().unwrap_or_else(|error| panic!("{name}: {error}"));
    assert!(output.status.success(), "{name} {words:?}: {}", said(&output));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// It ended with this exit code, all of these words on stderr, and the word for it in the last line.
fn refused(output: &Output, code: i32, words: &[&str]) {
    let said = said(output);
    assert_eq!(output.status.code(), Some(code), "{said}");
    for words in words {
        assert!(said.contains(words), "{said:?} does not say {words:?}");
    }
    assert!(said.lines().last().unwrap().starts_with("FAILED"), "{said}");
    assert!(output.stdout.is_empty(), "{}", String::from_utf8_lossy(&output.stdout));
}
