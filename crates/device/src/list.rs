//! The disks of this machine, from sysfs.

use crate::machine::{devno, names, number, text};
use crate::{Attached, Identity, Instance, Machine};
use block::{ByteRange, Error, ErrorKind, Result};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// What sort of whole block device it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum DiskKind {
    /// Hardware.
    Disk,
    /// A file that the kernel shows as a disk.
    Loop,
    /// Made of other disks or partitions: device mapper (LVM, LUKS), md, bcache.
    Volume,
}

/// A whole block device that holds bytes now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Disk {
    /// As the kernel calls it, with `/` where sysfs writes `!`: `sda`.
    pub name: String,
    /// Its node.
    pub path: PathBuf,
    /// Who it says it is; its size and sector too.
    pub identity: Identity,
    /// Which attachment.
    pub instance: Instance,
    /// Links in `/dev/disk/by-id` that lead to it, without the directory.
    pub stable_names: Vec<String>,
    /// Does it spin? `None` if the kernel does not say.
    pub rotational: Option<bool>,
    /// Bytes of a physical sector: what the drive rewrites as one.
    pub physical_sector: u32,
    /// The kernel refuses writes.
    pub read_only: bool,
    /// The medium comes out of the drive. Not a test for USB, whose disks say no.
    pub removable: bool,
    /// Hardware, file or volume.
    pub kind: DiskKind,
    /// The file behind a loop device.
    pub backing: Option<String>,
    /// In the order of their numbers, as the kernel sees them.
    pub partitions: Vec<Partition>,
    /// What the drive keeps apart from these bytes as sysfs tells, one sentence each. The drive itself
    /// may tell more: [`Monitor::hidden`](crate::Monitor::hidden).
    pub hidden: Vec<String>,
    /// It hangs on a slower USB link than it could; a sentence.
    pub slow_link: Option<String>,
}

/// A partition that the kernel shows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Partition {
    /// As the kernel counts: 1 to 4, logical ones from 5.
    pub number: u32,
    /// As the kernel calls it: `sda1`, `nvme0n1p1`.
    pub name: String,
    /// Its node.
    pub path: PathBuf,
    /// Major and minor number.
    pub devno: (u32, u32),
    /// Its bytes on the disk.
    #[serde(with = "crate::wire::range")]
    pub range: ByteRange,
}

impl Disk {
    /// Which disk, and which attachment of it.
    pub fn attached(&self) -> Attached {
        Attached { identity: self.identity.clone(), instance: self.instance }
    }

    /// Made of other disks, so that copying it copies part of those.
    pub fn is_volume(&self) -> bool {
        self.kind == DiskKind::Volume
    }
}

/// Whole devices that are no disks: memory, optical drives and floppies.
const NO_DISKS: [&str; 4] = ["ram", "zram", "sr", "fd"];

impl Machine {
    /// All disks that hold bytes now: hardware, then backed loop devices, then volumes, each in natural
    /// order (`sdz` before `sdaa`, `nvme2n1` before `nvme10n1`).
    ///
    /// Fails if sysfs cannot be read.
    pub fn disks(&self) -> Result<Vec<Disk>> {
        let dir = self.sys.join("block");
        std::fs::read_dir(&dir)
            .map_err(|e| Error::io(e, format!("{} cannot be read: is sysfs mounted?", dir.display())))?;
        let mut disks: Vec<Disk> = names(&dir).iter().filter_map(|name| self.disk(name)).collect();
        disks.sort_by(|a, b| (a.kind, natural(&a.name)).cmp(&(b.kind, natural(&b.name))));
        Ok(disks)
    }

    /// The whole disk `name`; `None` if it is no disk, has no medium, or is just going away.
    pub(crate) fn disk(&self, name: &str) -> Option<Disk> {
        if NO_DISKS.iter().any(|prefix| is_numbered_after(name, prefix)) {
            return None;
        }
        let dir = self.block(name);
        let identity = self.identity(name);
        let flag = |file: &str| number::<u8>(dir.join(file)).map(|value| value != 0);
        let kind = match identity.transport.as_str() {
            "loop" => DiskKind::Loop,
            "dm" | "md" => DiskKind::Volume,
            _ if !names(dir.join("slaves")).is_empty() => DiskKind::Volume,
            _ => DiskKind::Disk,
        };
        let backing = text(dir.join("loop/backing_file"));
        // One path of a multipath NVMe drive: it has no node.
        let no_node = flag("hidden") == Some(true);
        if identity.size == 0 || no_node || kind == DiskKind::Loop && backing.is_none() {
            return None;
        }
        let instance = Instance {
            devno: devno(&text(dir.join("dev"))?)?,
            diskseq: number(dir.join("diskseq")).unwrap_or(0),
        };
        Some(Disk {
            name: name.replace('!', "/"),
            path: self.node(name),
            stable_names: self.stable_names(name),
            rotational: flag("queue/rotational"),
            physical_sector: number(dir.join("queue/physical_block_size")).unwrap_or(identity.sector),
            read_only: flag("ro").unwrap_or(false),
            removable: flag("removable").unwrap_or(false),
            kind,
            backing,
            partitions: self.partitions(name),
            hidden: self.hidden(name, &identity.transport),
            slow_link: self.slow_link(name).filter(|_| identity.transport == "usb"),
            identity,
            instance,
        })
    }

    fn partitions(&self, disk: &str) -> Vec<Partition> {
        let dir = self.block(disk);
        let mut partitions: Vec<Partition> = names(&dir)
            .into_iter()
            .filter_map(|name| {
                let dir = dir.join(&name);
                let bytes = |file: &str| number::<u64>(dir.join(file))?.checked_mul(512);
                Some(Partition {
                    number: number(dir.join("partition"))?,
                    path: self.node(&name),
                    devno: devno(&text(dir.join("dev"))?)?,
                    range: ByteRange::new(bytes("start")?, bytes("size")?)?,
                    name: name.replace('!', "/"),
                })
            })
            .collect();
        partitions.sort_by_key(|partition| partition.number);
        partitions
    }
}

/// `sr0` is a numbered `sr`; `srx` or a disk of another driver is not.
fn is_numbered_after(name: &str, prefix: &str) -> bool {
    name.strip_prefix(prefix).is_some_and(|rest| rest.bytes().all(|byte| byte.is_ascii_digit()))
}

/// A key that orders names as the kernel gave them out: numbers by value, and letters behind the two of
/// the driver (`sd`) by count first.
fn natural(name: &str) -> Vec<(Option<u64>, &str, usize, &str)> {
    name.as_bytes()
        .chunk_by(|a, b| a.is_ascii_digit() == b.is_ascii_digit())
        .scan(0, |at, run| {
            let from = *at;
            *at += run.len();
            name.get(from..*at)
        })
        .map(|run| (run.parse().ok(), run.get(..2).unwrap_or(run), run.len(), run))
        .collect()
}

/// The error for a word that names no disk.
pub(crate) fn no_such_disk(word: &str, disks: &[Disk]) -> Error {
    let names: Vec<&str> = disks.iter().map(|disk| disk.name.as_str()).collect();
    let now = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
    Error::new(ErrorKind::NotFound, format!("no such disk: {word}; disks now: {now}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn natural_order() {
        let mut names = ["sdaa", "nvme10n1", "sdz", "dm-10", "nvme2n1", "sdb", "dm-9", "nvme2n10", "vda"];
        names.sort_by(|a, b| natural(a).cmp(&natural(b)));
        assert_eq!(names, ["dm-9", "dm-10", "nvme2n1", "nvme2n10", "nvme10n1", "sdb", "sdz", "sdaa", "vda"]);
    }
}
