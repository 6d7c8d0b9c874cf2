//! A file as a block device of the kernel, while it is needed.

use crate::Result;
use crate::shell::Shell;
use std::path::{Path, PathBuf};

/// A loop device that this program made, detached when it is dropped.
pub(crate) struct LoopDevice(PathBuf);

impl LoopDevice {
    /// Attaches `file`. `options`: of losetup, separated by blanks. Needs root.
    pub(crate) fn attach(file: &Path, options: &str) -> Result<Self> {
        let mut shell = Shell::new();
        shell.set("FILE", file);
        // udev may still look at the device while losetup asks for a free one: a second try finds another.
        let lines = format!("losetup -f --show {options} \"$FILE\"");
        let name = shell.run(&lines).or_else(|_| shell.run(&lines))?;
        Ok(Self(PathBuf::from(name)))
    }

    /// Its node.
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// Its number as `major:minor`.
    pub(crate) fn number(&self) -> Result<String> {
        let name = self.0.file_name().unwrap_or_default();
        let text = std::fs::read_to_string(Path::new("/sys/class/block").join(name).join("dev"))?;
        Ok(text.trim().to_owned())
    }
}

impl Drop for LoopDevice {
    fn drop(&mut self) {
        let mut shell = Shell::new();
        shell.set("DEVICE", &self.0);
        if let Err(error) = shell.run("losetup --detach \"$DEVICE\"") {
            eprintln!("xtask: {error}");
        }
    }
}
