//! Runs a command and takes its time, its memory and what it leaves; and looks whether others are busy.

use crate::Result;
use crate::stats::number;
use std::io::{Read, Seek};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};
use wait4::Wait4;

/// One run of a command.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sample {
    /// Seconds from start to end.
    pub(crate) wall: f64,
    /// Seconds of all cores, in the program and in the kernel for it, with all children.
    pub(crate) cpu: f64,
    /// The same of all the machine meanwhile: of neighbours, but also of the kernel's own threads, which read
    /// loop devices for others.
    pub(crate) machine: f64,
    /// Bytes of memory at most: of the largest process.
    pub(crate) memory: f64,
    /// Bytes that it left.
    pub(crate) size: f64,
}

/// Runs a command that has to work. `out`: the folder that it writes into.
pub(crate) fn measure(mut command: Command, out: &Path) -> Result<Sample> {
    let mut said = tempfile::tempfile()?;
    command.stdout(said.try_clone()?).stderr(said.try_clone()?);
    rustix::fs::sync();
    let before = ticks(&std::fs::read_to_string("/proc/stat")?);
    let began = Instant::now();
    let done = command.spawn()?.wait4()?;
    let wall = began.elapsed().as_secs_f64();
    if !done.status.success() {
        let mut text = String::new();
        said.rewind()?;
        said.read_to_string(&mut text)?;
        // Its last argument are the lines of bash.
        let lines = command.get_args().last().unwrap_or_default().to_string_lossy();
        return Err(format!("{lines}\nfailed ({}): {}", done.status, text.trim_end()).into());
    }
    let used = done.rusage;
    let cpu = (used.utime + used.stime).as_secs_f64();
    let after = ticks(&std::fs::read_to_string("/proc/stat")?);
    let machine = before.zip(after).map_or(0.0, |(before, after)| number(working(before, after)) / TICKS);
    Ok(Sample { wall, cpu, machine, memory: number(used.maxrss), size: number(stored(out)?) })
}

/// Bytes that the files below `folder` take; holes are none.
fn stored(folder: &Path) -> Result<u64> {
    let mut sum = 0;
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let found = path.symlink_metadata()?;
        sum += if found.is_dir() { stored(&path)? } else { found.len().min(found.blocks() * 512) };
    }
    Ok(sum)
}

/// Counts the runs at which others were busy.
#[derive(Default)]
pub(crate) struct Neighbours {
    runs: usize,
    busy: usize,
}

/// Ticks of a second, on every Linux machine that there is.
const TICKS: f64 = 100.0;
/// How long is looked.
const LOOK: Duration = Duration::from_millis(200);
/// From this part of all cores on others are busy.
const BUSY: f64 = 0.15;

impl Neighbours {
    /// Looks before a run that counts.
    pub(crate) fn look(&mut self) -> Result<()> {
        let before = ticks(&std::fs::read_to_string("/proc/stat")?);
        std::thread::sleep(LOOK);
        let after = ticks(&std::fs::read_to_string("/proc/stat")?);
        self.runs += 1;
        if before.zip(after).is_some_and(|(before, after)| busy(before, after) > BUSY) {
            self.busy += 1;
        }
        Ok(())
    }

    /// What there is to warn of.
    pub(crate) fn warning(&self) -> Option<String> {
        let Self { runs, busy } = self;
        (*busy > 0).then(|| format!("WARNING: the machine was busy with others before {busy} of {runs} runs"))
    }

    /// Busy ones and all.
    pub(crate) const fn counts(&self) -> (usize, usize) {
        (self.busy, self.runs)
    }
}

/// Idle and all ticks of the first line of `/proc/stat`. Time that the host takes is counted as busy.
fn ticks(text: &str) -> Option<(u64, u64)> {
    let fields = text.lines().next()?.strip_prefix("cpu ")?.split_whitespace();
    // The last two, of guests, are in the first two already.
    let fields: Vec<u64> = fields.take(8).map(|field| field.parse().ok()).collect::<Option<_>>()?;
    let idle = fields.get(3)? + fields.get(4)?;
    Some((idle, fields.iter().sum()))
}

/// The ticks between that were not idle.
fn working(before: (u64, u64), after: (u64, u64)) -> u64 {
    after.1.saturating_sub(before.1).saturating_sub(after.0.saturating_sub(before.0))
}

/// The part of them.
fn busy(before: (u64, u64), after: (u64, u64)) -> f64 {
    let all = after.1.saturating_sub(before.1);
    if all == 0 { 0.0 } else { number(working(before, after)) / number(all) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_read() {
        let text = "cpu  100 1 50 800 40 0 5 4 7 0\ncpu0 1 1 1 1\n";
        assert_eq!(ticks(text), Some((840, 1000)));
        assert_eq!(ticks("intr 5"), None);
        assert!((busy((840, 1000), (870, 1100)) - 0.7).abs() < 1e-9);
        assert!(busy((1, 1), (1, 1)).abs() < 1e-9);
    }

    #[test]
    fn children_count_and_holes_do_not() {
        let folder = tempfile::tempdir().unwrap();
        let mut command = crate::shell::Shell::new().command(
            "cd \"$F\"; truncate -s 1M hole; head -c 8192 /dev/urandom >full; head -c 200M /dev/urandom | cat >/dev/null",
        );
        command.env("F", folder.path());
        let sample = measure(command, folder.path()).unwrap();
        assert!((sample.size - 8192.0).abs() < 1.0, "{sample:?}");
        assert!(sample.cpu > 0.05 && sample.wall > 0.05 && sample.memory > 1e6, "{sample:?}");
        let failing = crate::shell::Shell::new().command("echo why >&2; exit 3");
        assert!(measure(failing, folder.path()).unwrap_err().to_string().contains("why"));
    }
}
