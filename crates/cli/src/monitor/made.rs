//! The filesystem of a new backup disk: programs of the system make and mount it, with the monitor's rights.

use super::rights::Prepared;
use crate::ui::text::printable;
use block::{ByteRange, Error, ErrorKind, Result};
use device::{Instance, Machine};
use engine::NewFs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

/// How often and at what distance the node of the new partition is looked for.
const TRIES: u32 = 50;
const PAUSE: Duration = Duration::from_millis(100);

/// What the command line wants to be made, as far as that can be said before anything is written: there are the
/// programs, and the folder to mount at.
pub(super) fn check(prepared: &Prepared) -> Result<()> {
    let name = format!("mkfs.{}", prepared.fs);
    if find(&name).is_none() {
        let package = match prepared.fs {
            NewFs::Ext4 => "e2fsprogs",
            NewFs::Exfat => "exfatprogs",
        };
        let words = format!("there is no program {name}: install the package {package}; nothing was written");
        return Err(Error::new(ErrorKind::NotFound, words));
    }
    match prepared.mount.as_deref().filter(|dir| !dir.is_dir()) {
        Some(dir) => Err(Error::new(ErrorKind::NotFound, format!("no such folder: {}", dir.display()))),
        None => Ok(()),
    }
}

/// The first partition of a disk, if these are its bytes, and its node; the kernel takes a moment for it.
pub(super) fn partition(machine: &Machine, disk: Instance, range: ByteRange) -> Result<(PathBuf, Instance)> {
    for _ in 0..TRIES {
        let this = machine.place_of(disk)?.disk;
        let made = this.partitions.into_iter().find(|p| p.number == 1 && p.range == range);
        if let Some(made) = made.filter(|made| made.path.exists()) {
            return Ok((made.path, Instance { devno: made.devno, ..disk }));
        }
        sleep(PAUSE);
    }
    Err(Error::new(ErrorKind::Io, "the kernel made no node for the new partition"))
}

/// Makes the filesystem.
pub(super) fn make(prepared: &Prepared, node: &Path, owner: Option<(u32, u32)>) -> Result<()> {
    let label = engine::label(prepared.fs, &prepared.label)?;
    run(&engine::mkfs(prepared.fs, &label, &node.to_string_lossy(), owner))
}

/// Mounts it where the command line says.
pub(super) fn mount(prepared: &Prepared, node: &Path, owner: Option<(u32, u32)>) -> Result<()> {
    let Some(dir) = &prepared.mount else { return Ok(()) };
    let dir = dir.canonicalize().map_err(|error| Error::io(error, dir.display().to_string()))?;
    run(&engine::mount(prepared.fs, &node.to_string_lossy(), &dir.to_string_lossy(), owner))
}

/// Where a program is. The path of a user who became root by `su` lacks the folders of the system's.
pub(super) fn find(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let more = ["/usr/sbin", "/sbin"].map(PathBuf::from);
    std::env::split_paths(&path).chain(more).map(|dir| dir.join(name)).find(|file| file.is_file())
}

/// Runs a program with its arguments to its end; fails with what it said.
fn run(words: &[String]) -> Result<()> {
    let (name, rest) = words.split_first().ok_or_else(|| Error::new(ErrorKind::Bug, "no program"))?;
    let program =
        find(name).ok_or_else(|| Error::new(ErrorKind::NotFound, format!("there is no program {name}")))?;
    let failed = |error| Error::io(error, format!("running {name}"));
    let output = Command::new(program).args(rest).stdin(Stdio::null()).output().map_err(failed)?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(Error::new(ErrorKind::Io, format!("{name} failed: {}", printable(said.trim()))))
}
