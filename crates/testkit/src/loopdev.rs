//! A file as a block device of the kernel, for tests that run as root.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A loop device, detached when it is dropped.
#[derive(Debug)]
pub struct LoopDevice(PathBuf);

impl LoopDevice {
    /// Attaches `file` with sectors of `sector` bytes. `None`, and a line that says `SKIPPED`, where this
    /// machine or user cannot.
    pub fn attach(file: &Path, sector: u32) -> Option<Self> {
        Self::attach_from(file, sector, 0)
    }

    /// As [`LoopDevice::attach`], of the file from byte `offset` on.
    pub fn attach_from(file: &Path, sector: u32, offset: u64) -> Option<Self> {
        let root = std::fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0);
        let mut losetup = Command::new("losetup");
        // Partition scan, so that partitions go when the device goes.
        losetup.args(["--find", "--show", "--partscan", "--sector-size", &sector.to_string()]);
        losetup.args(["--offset", &offset.to_string()]).arg(file);
        if !root {
            return skip("root");
        }
        match losetup.output() {
            Err(error) => skip(&format!("losetup: {error}")),
            Ok(out) if out.status.success() => {
                let device = Self(String::from_utf8_lossy(&out.stdout).trim_end().into());
                // A test that was killed may have left it read-only: `blockdev --setro` outlives detaching.
                let _done = Command::new("blockdev").arg("--setrw").arg(&device.0).output();
                Some(device)
            }
            Ok(out) => skip(&format!("loop devices: {}", String::from_utf8_lossy(&out.stderr))),
        }
    }

    /// Its node.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for LoopDevice {
    fn drop(&mut self) {
        // While somebody has it open the kernel detaches it at its last close.
        let _done = Command::new("losetup").arg("--detach").arg(&self.0).output();
    }
}

#[expect(clippy::print_stderr, reason = "CI looks for this word")]
fn skip(needs: &str) -> Option<LoopDevice> {
    // Without the modules that it lies in: `tests/must_run.txt` has names alone.
    let thread = std::thread::current();
    let test = thread.name().and_then(|path| path.rsplit("::").next()).unwrap_or("test");
    eprintln!("SKIPPED: {test}: needs {needs}");
    None
}
