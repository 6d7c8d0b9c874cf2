//! Where the disk and what is made of it lie: in memory if there is enough, else in a folder.

use crate::Result;
use crate::shell::{Shell, is_root};
use std::path::{Path, PathBuf};
use tempfile::{Builder, TempDir};

/// Memory that is left to everybody else, in bytes.
const SPARE: u64 = 2 << 30;

/// A folder that goes away with all that is in it.
pub(crate) struct Place {
    folder: TempDir,
    /// A tmpfs of our own is mounted there.
    mounted: bool,
}

impl Place {
    /// A new folder in `dir` with `needed` bytes of room. Without `dir`: a tmpfs for root if there is so
    /// much memory, else the system's folder for such files. Says which.
    pub(crate) fn new(dir: Option<&Path>, needed: u64) -> Result<Self> {
        let parent = dir.map_or_else(std::env::temp_dir, Path::to_path_buf);
        let folder = Builder::new().prefix("selfsame-xtask-").tempdir_in(&parent)?;
        let mut place = Self { folder, mounted: false };
        let memory = available(&std::fs::read_to_string("/proc/meminfo")?).unwrap_or(0);
        let mib = needed >> 20;
        if dir.is_none() && is_root() && memory >= needed + SPARE {
            let mut shell = Shell::new();
            shell.set("PLACE", place.path());
            place.mounted =
                shell.run(&format!("mount -t tmpfs -o size={mib}m,mode=700 tmpfs \"$PLACE\"")).is_ok();
        }
        if place.mounted {
            println!("place: a tmpfs of {mib} MiB at {}", place.path().display());
            return Ok(place);
        }
        let room = rustix::fs::statvfs(place.path())?;
        let free = room.f_bavail.saturating_mul(room.f_frsize);
        if free < needed {
            let (parent, free) = (parent.display(), free >> 20);
            return Err(
                format!("{mib} MiB of room are needed in {parent}, {free} are free: --dir, --size").into()
            );
        }
        println!("place: {}, on a disk: its speed is in the figures", place.path().display());
        Ok(place)
    }

    /// The folder.
    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// A path in it.
    pub(crate) fn join(&self, name: &str) -> PathBuf {
        self.path().join(name)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if self.mounted {
            let mut shell = Shell::new();
            shell.set("PLACE", self.path());
            // Lazily, if a program that was interrupted still ends.
            if let Err(error) = shell.run("umount \"$PLACE\" || umount --lazy \"$PLACE\"") {
                eprintln!("xtask: {error}");
            }
        }
    }
}

/// Bytes of memory that programs may still take, of the text of `/proc/meminfo`.
fn available(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn available_memory_is_read() {
        let text = "MemTotal:       24684512 kB\nMemAvailable:   20328448 kB\n";
        assert_eq!(available(text), Some(20_328_448 * 1024));
        assert_eq!(available("MemTotal: 5 kB\n"), None);
    }

    #[test]
    fn a_place_on_a_disk_goes_away() {
        let parent = tempfile::tempdir().unwrap();
        let place = Place::new(Some(parent.path()), 4096).unwrap();
        let path = place.path().to_owned();
        assert!(path.is_dir());
        drop(place);
        assert!(!path.exists());
        assert!(Place::new(Some(parent.path()), u64::MAX >> 1).is_err(), "so much room is nowhere");
    }
}
