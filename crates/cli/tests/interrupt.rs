//! Signals in mid-job, and readers that go away: what is left is never taken for something whole.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::disallowed_methods)]

use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Nothing takes this long; a test that would wait for ever fails instead.
const PATIENCE: Duration = Duration::from_secs(60);

/// A folder with `noise.img` in it: 96 MiB that do not compress.
struct Lab(tempfile::TempDir);

impl Lab {
    fn new() -> Self {
        let lab = Self(tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap());
        fs::write(lab.path("noise.img"), testkit::pattern(96 << 20)).unwrap();
        lab
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_selfsame"));
        command.current_dir(self.0.path()).args(words);
        command
    }

    fn run(&self, words: &[&str]) -> Output {
        self.command(words).output().unwrap()
    }

    fn start(&self, words: &[&str]) -> Child {
        self.command(words).stderr(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap()
    }

    /// The only thing in the folder `dest`, which must be unfinished.
    fn part(&self) -> PathBuf {
        let left: Vec<_> =
            fs::read_dir(self.path("dest")).unwrap().map(|entry| entry.unwrap().path()).collect();
        let [part] = &left[..] else { panic!("{left:?}") };
        assert!(part.extension().is_some_and(|end| end == "part"), "{}", part.display());
        part.clone()
    }

    /// Runs, and checks the exit code and that stderr says all of these words.
    fn ends(&self, code: i32, words: &[&str], line: &[&str]) {
        let output = self.run(line);
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{line:?}: {said}");
        words.iter().for_each(|words| assert!(said.contains(words), "{said:?} does not say {words:?}"));
    }
}

const SAVE: [&str; 6] = ["save", "noise.img", "dest", "--name", "t", "--no-check"];

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn send(job: &Child, signal: Signal) {
    kill_process(Pid::from_child(job), signal).unwrap();
}

/// To the monitor and to its job.
fn both(monitor: &Child, signal: Signal) {
    let children = format!("/proc/{0}/task/{0}/children", monitor.id());
    for child in fs::read_to_string(children).unwrap().split_whitespace() {
        kill_process(Pid::from_raw(child.parse().unwrap()).unwrap(), signal).unwrap();
    }
    send(monitor, signal);
}

/// Are so many bytes in a file or in all files of a folder whose name ends in `.part`?
fn has_bytes(dir: &Path, bytes: u64) -> bool {
    fn held(path: &Path) -> u64 {
        let inside = fs::read_dir(path).into_iter().flatten().flatten().map(|entry| held(&entry.path()));
        path.metadata().map_or(0, |data| if data.is_dir() { inside.sum() } else { data.blocks() * 512 })
    }
    let is_part = |path: &PathBuf| path.extension().is_some_and(|end| end == "part");
    let entries = fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path());
    entries.filter(is_part).map(|part| held(&part)).sum::<u64>() >= bytes
}

/// Are so many bytes in files in `dir` that a process has open, whether they have a name or none yet?
fn has_open_bytes(process: &Child, dir: &Path, bytes: u64) -> bool {
    let open = fs::read_dir(format!("/proc/{}/fd", process.id())).into_iter().flatten().flatten();
    let inside =
        open.map(|file| file.path()).filter(|file| fs::read_link(file).is_ok_and(|to| to.starts_with(dir)));
    inside.filter_map(|file| file.metadata().ok()).map(|data| data.blocks() * 512).sum::<u64>() >= bytes
}

/// Waits until they are.
fn wait_for_bytes(dir: &Path, bytes: u64) {
    let began = Instant::now();
    while !has_bytes(dir, bytes) {
        assert!(began.elapsed() < PATIENCE, "nothing in {}", dir.display());
        sleep(Duration::from_millis(1));
    }
}

/// Signals a job that has begun to write into `dir`; what it said. It stands while it is signalled, so that
/// it has most of its work before it when it sees that.
fn interrupted(job: Child, dir: &Path, signal: Signal) -> String {
    wait_for_bytes(dir, 1 << 20);
    both(&job, Signal::STOP);
    send(&job, signal);
    both(&job, Signal::CONT);
    let output = job.wait_with_output().unwrap();
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(130), "{said}");
    assert!(said.lines().last().unwrap().starts_with("FAILED"), "{said}");
    said
}

#[test]
fn a_save_that_is_interrupted_leaves_only_a_part() {
    for signal in [Signal::INT, Signal::TERM] {
        let lab = Lab::new();
        interrupted(lab.start(&SAVE), &lab.path("dest"), signal);
        let part = lab.part();
        let part = part.to_str().unwrap();
        // Every verb that takes a backup says what it is.
        lab.ends(1, &["unfinished"], &["verify", part]);
        lab.ends(1, &["unfinished"], &["restore", part, "./back.img"]);
        lab.ends(1, &["unfinished"], &["show", part]);
        assert!(!lab.path("back.img").exists() && !lab.path("back.img.part").exists());
        let listed = lab.run(&["backups", "dest"]);
        assert!(text(&listed.stdout).contains("unfinished"), "{}", text(&listed.stdout));
        // And the next save of the same disk.
        let next = lab.run(&SAVE);
        assert_eq!(next.status.code(), Some(0), "{}", text(&next.stderr));
        let said = text(&next.stderr);
        let part = Path::new(part).canonicalize().unwrap();
        let note = format!("an unfinished backup of this disk is in {}", part.display());
        assert!(said.contains(&note), "{said}");
    }
}

#[test]
fn progress_as_json_knows_what_is_stored_and_what_is_free() {
    let lab = Lab::new();
    let done = lab.run(&[&SAVE[..], &["--level", "12", "--progress", "json"]].concat());
    assert_eq!(done.status.code(), Some(0), "{}", text(&done.stderr));
    let said = text(&done.stderr);
    let mut samples = said.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    let sample = samples.rfind(|line| line.get("free").is_some());
    let sample = sample.unwrap_or_else(|| panic!("no sample in {said}"));
    assert!(sample["free"].as_u64() > Some(1 << 20) && sample["stored"].as_u64().is_some(), "{sample}");
}

#[test]
fn a_second_signal_leaves_at_once() {
    let lab = Lab::new();
    // Text that is slow to compress as hard as this: a buffer takes seconds.
    let letters: Vec<u8> = testkit::pattern(24 << 20).iter().map(|byte| b'a' + (byte >> 4)).collect();
    fs::write(lab.path("noise.img"), letters).unwrap();
    let mut job = lab.start(&[&SAVE[..], &["--level", "19"]].concat());
    wait_for_bytes(&lab.path("dest"), 1);
    let mut said = BufReader::new(job.stderr.take().unwrap());
    send(&job, Signal::INT);
    let mut line = String::new();
    while !line.contains("press again") {
        line.clear();
        assert!(said.read_line(&mut line).unwrap() > 0, "it ended too soon");
    }
    let began = Instant::now();
    send(&job, Signal::INT);
    let mut rest = String::new();
    said.read_to_string(&mut rest).unwrap();
    assert_eq!(job.wait().unwrap().code(), Some(130));
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    assert!(!rest.contains("FAILED"), "it did not leave at once: {rest}");
    lab.part();
}

#[test]
fn a_restore_that_is_interrupted_leaves_no_file() {
    let lab = Lab::new();
    let saved = lab.run(&SAVE);
    assert_eq!(saved.status.code(), Some(0), "{}", text(&saved.stderr));
    let backup = text(&saved.stdout).lines().next().unwrap().to_owned();
    fs::create_dir(lab.path("out")).unwrap();
    for signal in [Signal::INT, Signal::TERM] {
        let job = lab.start(&["restore", &backup, "out/back.img"]);
        let said = interrupted(job, &lab.path("out"), signal);
        assert!(said.contains("interrupted"), "{said}");
        assert_eq!(lab.path("out").read_dir().unwrap().count(), 0);
    }
    // What a killed one left is in the way, and what to do is said.
    fs::write(lab.path("out/back.img.part"), b"").unwrap();
    let words = [".part already exists", "--force replaces it"];
    lab.ends(5, &words, &["restore", &backup, "out/back.img"]);
    assert!(!lab.path("out/back.img").exists());
    lab.ends(0, &["DONE"], &["restore", &backup, "out/back.img", "--force"]);
    assert!(fs::read(lab.path("out/back.img")).unwrap() == fs::read(lab.path("noise.img")).unwrap());
}

/// Is what comes out, under its own name, what went in? Parts have no such name.
fn only_whole_files(out: &Path, tree: &Path) {
    for entry in fs::read_dir(out).unwrap().map(Result::unwrap) {
        let name = entry.file_name();
        let whole =
            fs::read(tree.join(&name)).unwrap_or_else(|_| panic!("{} is left", entry.path().display()));
        assert!(fs::read(entry.path()).unwrap() == whole, "{} is half a file", entry.path().display());
    }
}

#[test]
fn a_get_that_is_interrupted_leaves_only_whole_files() {
    let test = "a_get_that_is_interrupted_leaves_only_whole_files";
    if !testkit::tools::has(test, &["mkfs.ext4"]) {
        return;
    }
    let lab = Lab::new();
    fs::create_dir(lab.path("tree")).unwrap();
    fs::rename(lab.path("noise.img"), lab.path("tree/noise")).unwrap();
    // More than are under way at once, so that some have their names before the large one has.
    for n in 0..100 {
        fs::write(lab.path(&format!("tree/small {n}")), vec![n; 1000]).unwrap();
    }
    testkit::tools::run("cd \"$F\"; truncate -s 140M part; mkfs.ext4 -q -F -d tree part", lab.0.path());
    let line = ["get", "./part", "0/noise", "0/small *", "out"];
    for signal in [Signal::INT, Signal::TERM] {
        let mut was_interrupted = false;
        // It may be done before it is seen that it has begun.
        for _ in 0..20 {
            let _ = fs::remove_dir_all(lab.path("out"));
            fs::create_dir(lab.path("out")).unwrap();
            let mut job = lab.start(&line);
            while !has_open_bytes(&job, &lab.path("out"), 1 << 20) && job.try_wait().unwrap().is_none() {
                sleep(Duration::from_millis(1));
            }
            if job.try_wait().unwrap().is_none() {
                both(&job, Signal::STOP);
                send(&job, signal);
                both(&job, Signal::CONT);
            }
            let output = job.wait_with_output().unwrap();
            only_whole_files(&lab.path("out"), &lab.path("tree"));
            let said = text(&output.stderr);
            if output.status.code() == Some(130) {
                assert!(said.lines().last().unwrap().starts_with("FAILED"), "{said}");
                assert!(!lab.path("out/noise").exists());
                was_interrupted = true;
                break;
            }
            assert_eq!(output.status.code(), Some(0), "{said}");
        }
        assert!(was_interrupted, "{signal:?} came too late each time");
    }
    // What is whole is not copied again without a word, and the rest comes.
    lab.ends(0, &[], &[&line[..], &["--force"]].concat());
    assert_eq!(fs::read_dir(lab.path("out")).unwrap().count(), 101);
    only_whole_files(&lab.path("out"), &lab.path("tree"));
}

#[test]
fn a_reader_that_goes_away_is_quiet() {
    let lab = Lab::new();
    fs::write(lab.path("disk.img"), testkit::sample::disk()).unwrap();
    let saved = lab.run(&["save", "disk.img", "dest", "--no-check"]);
    let backup = text(&saved.stdout).lines().next().unwrap().to_owned();
    for line in [
        &["disks"][..],
        &["disks", "--json"],
        &["backups", "dest"],
        &["show", "disk.img"],
        &["show", &backup, "--json"],
        &["save", "disk.img", "dest", "--dry-run", "--json"],
        &["save", "disk.img", "dest", "--no-check"],
        &["verify", &backup],
        &["restore", &backup, "./back.img", "--json"],
        &["help", "save"],
    ] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output = lab.command(line).stdout(writer).output().unwrap();
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(0), "{line:?}: {said}");
        assert!(!said.to_lowercase().contains("pipe") && !said.contains("panic"), "{line:?}: {said}");
    }
    // Nor does it matter that nobody reads the messages.
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let status = lab.command(&["verify", &backup]).stderr(writer).stdout(Stdio::null()).status().unwrap();
    assert_eq!(status.code(), Some(0));
}
