//! Who uses a disk or a partition: mounts, swap, what lies on it, and programs.

use crate::machine::{names, text};
use crate::topology::{Layers, Topology};
use crate::{Disk, Machine, Usage};
use block::{Error, ErrorKind, Result};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::Duration;

/// Where the running system lives.
const SYSTEM: [&str; 6] = ["/", "/usr", "/boot", "/boot/efi", "/efi", "/var"];

/// What made a device mapper volume, by the beginning of its `dm/uuid`.
const MAPPERS: [(&str, &str); 4] =
    [("LVM-", "LVM"), ("CRYPT-", "dm-crypt"), ("mpath-", "multipath"), ("DMRAID-", "dmraid")];

/// How often and at what distance a program that has a disk open for writing is looked at again: udev and
/// `losetup --find` open disks that are not theirs, for a moment.
const LOOKS: u32 = 5;
const PAUSE: Duration = Duration::from_millis(50);

/// `O_ACCMODE`: not zero if a file is open for writing.
const ACCESS_MODE: u32 = 3;

impl Machine {
    /// Who uses a disk or any partition of it.
    ///
    /// Fails with [`ErrorKind::Gone`] if it is there no more.
    pub fn usage(&self, disk: &Disk) -> Result<Usage> {
        self.usage_of(disk.instance.devno)
    }

    /// Who uses the disk or partition with these major and minor numbers: of a disk with all its
    /// partitions; of a partition it alone, and what uses the whole disk at once.
    ///
    /// What other users' programs do is seen by root only. Fails with [`ErrorKind::Gone`] if there is no
    /// such device.
    pub fn usage_of(&self, devno: (u32, u32)) -> Result<Usage> {
        let topology = Topology::read(self);
        let Some(name) = topology.name_by_devno(devno) else {
            let (major, minor) = devno;
            return Err(Error::new(ErrorKind::Gone, format!("the disk with number {major}:{minor} is gone")));
        };
        let whole = topology.whole(name);
        let of_it: BTreeSet<&str> = if name == whole {
            topology.names().filter(|other| topology.whole(other) == whole).collect()
        } else {
            [name, whole].into()
        };
        let hits = |nodes: &BTreeSet<String>| nodes.iter().any(|node| of_it.contains(node.as_str()));

        let lies_on_it = |other: &&str| hits(&topology.walk(Layers::All).node(other).nodes);
        let users: Vec<&str> = topology.names().filter(lies_on_it).collect();
        let mut mounted = topology.mounts.clone();
        // An overlay only shows filesystems that are mounted themselves.
        mounted.retain(|m| m.fs != "overlay" && hits(&topology.walk(Layers::All).mount(m).nodes));
        let swaps_here = |path: &&PathBuf| hits(&topology.walk(Layers::All).path(path).nodes);
        let swap = topology.swaps.iter().filter(swaps_here).map(|path| path.display().to_string());

        let above = users.iter().filter(|user| !of_it.contains(**user) && topology.whole(user) == **user);
        let mut held_by: Vec<String> = above.map(|user| self.holder(user)).collect();
        let in_btrfs = |devices: &Vec<String>| devices.iter().any(|device| users.contains(&device.as_str()));
        if mounted.is_empty() && topology.btrfs.iter().any(in_btrfs) {
            held_by.push("btrfs".to_owned());
        }
        Ok(Usage {
            swap: swap.collect(),
            held_by,
            open_elsewhere: self.writers(&users),
            system: hits(&system(&topology)),
            mounted,
        })
    }

    /// In words: what it is and what it is called.
    fn holder(&self, name: &str) -> String {
        let dir = self.block(name);
        if let Some(mapper_name) = text(dir.join("dm/name")) {
            let uuid = text(dir.join("dm/uuid")).unwrap_or_default();
            let maker = MAPPERS.iter().find(|(prefix, _)| uuid.starts_with(prefix));
            let maker = maker.map_or("device mapper", |(_, maker)| maker);
            return format!("{maker} {mapper_name} ({name})");
        }
        match text(dir.join("loop/backing_file")).or_else(|| text(dir.join("md/level"))) {
            Some(what) => format!("{name} ({what})"),
            None => name.to_owned(),
        }
    }

    /// Other programs that have one of these devices open for writing: `dd (7)`.
    fn writers(&self, devices: &[&str]) -> Vec<String> {
        let own = fs::read_link(self.proc.join("self")).ok();
        let mut pids: Vec<u32> = names(&self.proc).iter().filter_map(|name| name.parse().ok()).collect();
        pids.sort_unstable();
        let others = pids.iter().filter(|pid| own.as_deref() != Some(Path::new(&pid.to_string())));
        let mut writers: Vec<&u32> = others.filter(|pid| self.writes_to(**pid, devices)).collect();
        for _ in 0..LOOKS {
            if !writers.is_empty() {
                sleep(PAUSE);
                writers.retain(|pid| self.writes_to(**pid, devices));
            }
        }
        writers
            .into_iter()
            .map(|pid| {
                let comm = text(self.proc.join(format!("{pid}/comm")));
                format!("{} ({pid})", comm.unwrap_or_else(|| "a program".to_owned()))
            })
            .collect()
    }

    fn writes_to(&self, pid: u32, devices: &[&str]) -> bool {
        let process = self.proc.join(pid.to_string());
        names(process.join("fd")).iter().any(|fd| {
            let opened = fs::read_link(process.join("fd").join(fd)).ok();
            // Only what lies under /dev is looked at: a look at a dead network mount would stand still.
            let opened = opened.filter(|path| path.starts_with(&self.dev));
            opened.and_then(|path| self.name_of(&path)).is_some_and(|name| devices.contains(&name.as_str()))
                && is_writing(text(process.join("fdinfo").join(fd)).as_deref())
        })
    }
}

/// proc(5), /proc/PID/fdinfo: the line `flags:` has the flags of open(2), octal. If it cannot be read,
/// the worst is assumed.
fn is_writing(fdinfo: Option<&str>) -> bool {
    let flags = fdinfo.and_then(|info| info.lines().find_map(|line| line.strip_prefix("flags:")));
    let flags = flags.and_then(|octal| u32::from_str_radix(octal.trim(), 8).ok());
    flags.is_none_or(|flags| flags & ACCESS_MODE != 0)
}

/// The devices below the running system: as this process sees it, and as the first one does.
fn system(topology: &Topology<'_>) -> BTreeSet<String> {
    let seen_by_system = |pid: Option<u32>| pid.is_none_or(|pid| pid == 1);
    let is_system = |dir: &Path| SYSTEM.iter().any(|system| dir == Path::new(system));
    let mounts = topology.mounts.iter().filter(|m| seen_by_system(m.seen_by) && is_system(&m.dir));
    let below_mounts = mounts.flat_map(|mount| topology.walk(Layers::All).mount(mount).nodes);
    let below_swaps = topology.swaps.iter().flat_map(|swap| topology.walk(Layers::All).path(swap).nodes);
    below_mounts.chain(below_swaps).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn open_for_writing_by_fdinfo() {
        let flags = |octal: &str| is_writing(Some(&format!("pos:\t0\nflags:\t{octal}\nmnt_id:\t9")));
        assert_eq!(["0100000", "0100001", "0140002", "02"].map(flags), [false, true, true, true]);
        // Neither flags nor the file: a program that just ended or one that may not be looked at.
        assert!(is_writing(Some("pos:\t0")) && is_writing(None));
    }
}
