//! The slow disk: a loop device that the kernel serves at a fixed speed to the commands in a cgroup.

use super::Bench;
use super::measure::{Sample, measure};
use super::report::{Outcome, lines};
use super::rows::{Limit, What};
use crate::Result;
use crate::loop_device::LoopDevice;
use crate::shell::{Shell, is_root};
use crate::stats::number;
use std::path::{Path, PathBuf};

/// Bytes a second.
const RATE: u64 = 150_000_000;
/// The part of the disk that is used, in MiB, at most.
const PART: u64 = 1536;
/// Runs that count, at most: they differ little and take long.
const RUNS: usize = 3;
/// Of both rows.
const LIMITS: &[Limit] = &[Limit { what: What::Wall, at_most: 1.03, aim: None }];
/// The rows.
pub(crate) const SAVE: &str = "slow-save";
pub(crate) const RESTORE: &str = "slow-restore";
pub(crate) const NAMES: [&str; 2] = [SAVE, RESTORE];

const OURS_READING: &str =
    r#"exec "$SELFSAME" save "$SLOW" "$OUT" --name t --whole --no-check --progress=none"#;
const READING: &str = r#"exec dd if="$SLOW" of=/dev/null bs=4M iflag=direct"#;
const OURS_WRITING: &str =
    r#"exec "$SELFSAME" restore "$SMALL" "$SLOW" --no-check --yes --target-id "$ID" --progress=none"#;
const WRITING: &str = r#"exec dd if="$FAST" of="$SLOW" bs=4M oflag=direct conv=fsync"#;
/// The ID of a disk, of what `disks --json` prints.
const ID: &str = r#""$SELFSAME" disks --json"#;

/// A cgroup for which a device is slow, removed when it is dropped.
struct Throttle(PathBuf);

/// Writes a control file of the kernel.
#[expect(clippy::disallowed_methods, reason = "a control file of a cgroup that this program made")]
fn control(file: &Path, text: &str) -> Result<()> {
    std::fs::write(file, text).map_err(|error| format!("{}: {error}", file.display()).into())
}

impl Throttle {
    /// For the device with this number: cgroup v1 if its controller is mounted, else v2.
    fn new(device: &str) -> Result<Self> {
        let name = format!("selfsame-bench-{}", std::process::id());
        let old = Path::new("/sys/fs/cgroup/blkio");
        let (parent, v1) = match old.join("tasks").exists() {
            true => (old, true),
            false => (Path::new("/sys/fs/cgroup"), false),
        };
        if !v1 {
            control(&parent.join("cgroup.subtree_control"), "+io")?;
        }
        let folder = parent.join(name);
        std::fs::create_dir(&folder)?;
        let made = Self(folder);
        if v1 {
            let rate = format!("{device} {RATE}");
            control(&made.0.join("blkio.throttle.read_bps_device"), &rate)?;
            control(&made.0.join("blkio.throttle.write_bps_device"), &rate)?;
        } else {
            control(&made.0.join("io.max"), &format!("{device} rbps={RATE} wbps={RATE}"))?;
        }
        Ok(made)
    }

    /// Runs lines that end in `exec` in the cgroup.
    fn lines(&self, lines: &str) -> String {
        format!("echo $$ >'{}/cgroup.procs'\n{lines}", self.0.display())
    }
}

impl Drop for Throttle {
    fn drop(&mut self) {
        // The kernel needs a moment after the last program has ended.
        for _ in 0..50 {
            if std::fs::remove_dir(&self.0).is_ok() {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        eprintln!("xtask: {} is still there", self.0.display());
    }
}

/// What keeps the rows from being run; `None`: nothing. Whether the kernel really limits shows `save`.
pub(crate) fn lacks() -> Option<String> {
    let controlled = ["/sys/fs/cgroup/blkio/tasks", "/sys/fs/cgroup/cgroup.controllers"];
    match () {
        () if !is_root() => Some("needs root".to_owned()),
        () if !controlled.iter().any(|file| Path::new(file).exists()) => Some("needs cgroups".to_owned()),
        () => None,
    }
}

/// The first bytes of the disk as a device, and how many.
fn part(bench: &Bench) -> Result<(LoopDevice, u64)> {
    let size = PART.min(bench.disk.shape.size * 3 / 8) << 20;
    println!("slow disk: {} MiB at {} MB/s", size >> 20, RATE / 1_000_000);
    Ok((LoopDevice::attach(&bench.disk.image, &format!("-r --sizelimit {size}"))?, size))
}

/// One command, in the cgroup.
fn throttled(bench: &mut Bench, throttle: &Throttle, lines: &str) -> Result<Sample> {
    bench.fresh(true)?;
    measure(bench.shell.command(&throttle.lines(lines)), &bench.out())
}

/// An error unless the peer was as slow as it should: a little passes at once.
fn check(size: u64, theirs: &[Sample]) -> Result<()> {
    let most = theirs.iter().map(|sample| number(size) / sample.wall).fold(0.0, f64::max);
    if most <= 1.2 * number(RATE) {
        return Ok(());
    }
    Err(format!("this kernel does not slow the device down: {:.0} MB/s", most / 1e6).into())
}

/// Reading a slow disk.
pub(crate) fn save(bench: &mut Bench) -> Result<Outcome> {
    let (slow, size) = part(bench)?;
    bench.shell.set("SLOW", slow.path());
    let throttle = Throttle::new(&slow.number()?)?;
    let (mut ours, mut theirs) = (vec![], vec![]);
    for _ in 0..bench.runs.min(RUNS) {
        ours.push(throttled(bench, &throttle, OURS_READING)?);
        theirs.push(throttled(bench, &throttle, READING)?);
    }
    check(size, &theirs)?;
    let note = "save --no-check of a slow disk";
    Ok(Outcome { name: SAVE, peer: "dd to nowhere", lines: lines(&ours, &theirs, LIMITS), note })
}

/// Writing to one, which is new and empty each time.
pub(crate) fn restore(bench: &mut Bench) -> Result<Outcome> {
    let (fast, size) = part(bench)?;
    for (name, path) in [("SLOW", fast.path()), ("FAST", fast.path())] {
        bench.shell.set(name, path);
    }
    bench.shell.set("SMALL", bench.kept("small"));
    bench.fresh(false)?;
    bench.shell.run(&OURS_READING.replace("exec ", ""))?;
    bench.shell.run("mv \"$OUT\"/t-* \"$SMALL\"")?;
    let target = bench.kept("target.img");
    bench.shell.set("TARGET", &target);
    let (mut ours, mut theirs) = (vec![], vec![]);
    for _ in 0..bench.runs.min(RUNS) {
        for (lines, samples) in [(OURS_WRITING, &mut ours), (WRITING, &mut theirs)] {
            bench.shell.run(&format!("rm -f \"$TARGET\"; truncate -s {size} \"$TARGET\""))?;
            let slow = LoopDevice::attach(&target, "")?;
            bench.shell.set("SLOW", slow.path());
            bench.shell.set("ID", id_of(&bench.shell, slow.path())?);
            let throttle = Throttle::new(&slow.number()?)?;
            samples.push(throttled(bench, &throttle, lines)?);
        }
    }
    bench.shell.run("rm -rf \"$TARGET\" \"$SMALL\"")?;
    check(size, &theirs)?;
    let note = "restore --no-check to a slow disk; ours does not send zeroes where the disk can make them";
    let lines = lines(&ours, &theirs, LIMITS);
    Ok(Outcome { name: RESTORE, peer: "dd from the disk", lines, note })
}

/// What `--target-id` wants.
fn id_of(shell: &Shell, device: &Path) -> Result<String> {
    let listed: serde_json::Value = serde_json::from_str(&shell.run(ID)?)?;
    let disks = listed["disks"].as_array().map(Vec::as_slice).unwrap_or_default();
    let found = disks.iter().find(|disk| disk["path"].as_str() == device.to_str());
    let id = found.and_then(|disk| disk["id"].as_str());
    Ok(id.ok_or_else(|| format!("selfsame disks does not list {}", device.display()))?.to_owned())
}
