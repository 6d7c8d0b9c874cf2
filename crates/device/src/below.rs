//! Which disks a folder or a file lies on, and whether it is only memory.

use crate::topology::{Layers, Topology, Walk};
use crate::{Attached, Machine, Mount};
use block::{Error, ErrorKind, Result};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// What lies below a path.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Below {
    /// Every whole device on the way down: disks, and the loop devices and volumes over them. None for
    /// memory and the network.
    pub disks: Vec<Attached>,
    /// What is written there is gone at the next start: tmpfs, ramfs, zram, or an overlay that keeps
    /// changes there.
    pub memory: bool,
    /// The path is on the root of a live system that keeps changes in memory.
    pub live_root: bool,
    /// Where the filesystem that holds the path is mounted.
    pub mount: String,
}

/// Filesystems that are memory.
const MEMORY: [&str; 4] = ["tmpfs", "ramfs", "rootfs", "devtmpfs"];

impl Machine {
    /// The disks below the filesystem that holds `path`, which must exist: through partitions, device
    /// mapper, md, btrfs, overlays, and loop devices to the disk of their file.
    ///
    /// Fails like opening the path would, and with [`ErrorKind::NotFound`] if nothing is mounted there.
    pub fn below(&self, path: &Path) -> Result<Below> {
        let real = fs::canonicalize(path).map_err(|e| Error::io(e, path.display().to_string()))?;
        let topology = Topology::read(self);
        let Some(mount) = Self::mount_of(&topology.mounts, &real) else {
            let words = format!("no filesystem is mounted at {}: is procfs mounted?", path.display());
            return Err(Error::new(ErrorKind::NotFound, words));
        };
        let all = topology.walk(Layers::All).mount(mount);
        let wholes: BTreeSet<&str> = all.nodes.iter().map(|name| topology.whole(name)).collect();
        let memory = is_memory(mount, &topology, &topology.walk(Layers::Upper).mount(mount));
        Ok(Below {
            disks: wholes.iter().filter_map(|name| Some(self.disk(name)?.attached())).collect(),
            memory,
            live_root: memory && mount.dir == Path::new("/"),
            mount: mount.dir.display().to_string(),
        })
    }
}

/// Does what is written to a filesystem stay in memory? `written` is the walk to where it goes.
fn is_memory(mount: &Mount, topology: &Topology<'_>, written: &Walk<'_>) -> bool {
    let is_ram = |name: &String| topology.whole(name).trim_start_matches('z').starts_with("ram");
    let on_memory = written.mounts.iter().any(|mount| MEMORY.contains(&mount.fs.as_str()));
    // A live system may have hidden what its overlay writes to. If it were a disk, it could be seen.
    let is_hidden = mount.fs == "overlay" && written.mounts.len() == 1 && written.nodes.is_empty();
    let only_memory_below = written.nodes.iter().all(|name| is_ram(name) || topology.has_backing(name));
    only_memory_below && (on_memory || is_hidden || written.nodes.iter().any(is_ram))
}
