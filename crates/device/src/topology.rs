//! What lies on what: from filesystems and files down through loop devices, device mapper, md and
//! partitions to disks. One snapshot, and one walk that only ever goes down.

use crate::machine::{devno, names, text};
use crate::mounts::unescape;
use crate::{Machine, Mount};
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

/// A block device: a whole one or a partition.
struct Node {
    devno: (u32, u32),
    /// The whole device; itself if it is one.
    whole: String,
    /// What the kernel says lies directly below it.
    slaves: Vec<String>,
    /// The file or device that it keeps its bytes in: loop devices, and zram that writes back.
    backing: Option<PathBuf>,
}

/// All block devices, mounts and swaps at one moment. Names are those of sysfs.
pub(crate) struct Topology<'a> {
    machine: &'a Machine,
    nodes: BTreeMap<String, Node>,
    /// The devices of each btrfs filesystem: its mounts name one of them at most.
    pub(crate) btrfs: Vec<Vec<String>>,
    /// In all mount namespaces.
    pub(crate) mounts: Vec<Mount>,
    /// Files and devices that the kernel swaps to.
    pub(crate) swaps: Vec<PathBuf>,
}

/// Which layers of an overlay to go into.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Layers {
    /// Everything that the overlay shows.
    All,
    /// Where the overlay keeps what is written.
    Upper,
}

impl<'a> Topology<'a> {
    pub(crate) fn read(machine: &'a Machine) -> Self {
        let mut nodes = BTreeMap::new();
        let mut holders = Vec::new();
        for whole in names(machine.sys.join("block")) {
            let inside = names(machine.block(&whole));
            let is_partition = |name: &String| machine.block(&whole).join(name).join("partition").exists();
            for name in inside.into_iter().filter(is_partition).chain([whole.clone()]) {
                let dir = machine.block(&name);
                let Some(devno) = text(dir.join("dev")).as_deref().and_then(devno) else {
                    continue;
                };
                let backing = text(dir.join("loop/backing_file")).or_else(|| text(dir.join("backing_dev")));
                let backing = backing.map(PathBuf::from).filter(|path| path.is_absolute());
                holders.extend(names(dir.join("holders")).into_iter().map(|holder| (holder, name.clone())));
                let slaves = names(dir.join("slaves"));
                nodes.insert(name, Node { devno, whole: whole.clone(), slaves, backing });
            }
        }
        for (holder, slave) in holders {
            if let Some(node) = nodes.get_mut(&holder)
                && !node.slaves.contains(&slave)
            {
                node.slaves.push(slave);
            }
        }
        let filesystems = machine.sys.join("fs/btrfs");
        let btrfs = names(&filesystems).into_iter().map(|uuid| names(filesystems.join(uuid).join("devices")));
        Self {
            btrfs: btrfs.filter(|devices| !devices.is_empty()).collect(),
            mounts: machine.mounts(),
            swaps: swaps(&fs::read(machine.proc.join("swaps")).unwrap_or_default()),
            machine,
            nodes,
        }
    }

    /// All block devices.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.nodes.keys().map(String::as_str)
    }

    /// The device with these numbers.
    pub(crate) fn name_by_devno(&self, devno: (u32, u32)) -> Option<&str> {
        self.nodes.iter().find(|(_, node)| node.devno == devno).map(|(name, _)| name.as_str())
    }

    /// The whole device that a device is part of; itself if it is whole.
    pub(crate) fn whole<'n>(&'n self, name: &'n str) -> &'n str {
        self.nodes.get(name).map_or(name, |node| &node.whole)
    }

    /// Does it keep its bytes in a file?
    pub(crate) fn has_backing(&self, name: &str) -> bool {
        self.nodes.get(self.whole(name)).is_some_and(|node| node.backing.is_some())
    }

    /// The devices that a filesystem keeps its bytes on; none for those in memory or on the network.
    fn devices(&self, mount: &Mount) -> Vec<String> {
        if let Some(name) = self.name_by_devno(mount.devno) {
            return vec![name.to_owned()];
        }
        // bcachefs names all its devices, with colons between.
        let sources = mount.source.split(':').map(Path::new);
        let named: Vec<String> = sources.filter_map(|path| self.node_name(path)).collect();
        if mount.fs != "btrfs" {
            return named;
        }
        // A source like `/dev/root` says nothing: then it may be any of them.
        let is_meant = |devices: &&Vec<String>| named.is_empty() || devices.iter().any(|d| named.contains(d));
        let group = self.btrfs.iter().filter(is_meant).flatten().cloned();
        group.chain(named.iter().cloned()).collect()
    }

    /// The device of a node. Only what lies under /dev is looked at: a look at a dead network mount would
    /// stand still.
    fn node_name(&self, path: &Path) -> Option<String> {
        if path.starts_with(&self.machine.dev) { self.machine.name_of(path) } else { None }
    }

    /// Starts a walk down.
    pub(crate) fn walk(&self, layers: Layers) -> Walk<'_> {
        Walk { topology: self, layers, nodes: BTreeSet::new(), mounts: Vec::new() }
    }
}

/// What was met on the way down. A partition on the way does not stand for its whole disk.
pub(crate) struct Walk<'t> {
    topology: &'t Topology<'t>,
    layers: Layers,
    /// Devices.
    pub(crate) nodes: BTreeSet<String>,
    /// Filesystems.
    pub(crate) mounts: Vec<&'t Mount>,
}

impl<'t> Walk<'t> {
    /// From a device.
    pub(crate) fn node(mut self, name: &str) -> Self {
        self.enter_node(name);
        self
    }

    /// From a filesystem.
    pub(crate) fn mount(mut self, mount: &'t Mount) -> Self {
        self.enter_mount(mount);
        self
    }

    /// From a file, a folder or a device node.
    pub(crate) fn path(mut self, path: &Path) -> Self {
        self.enter_path(path);
        self
    }

    fn enter_node(&mut self, name: &str) {
        let topology = self.topology;
        if !self.nodes.insert(name.to_owned()) {
            return;
        }
        for name in [name, topology.whole(name)] {
            let Some(node) = topology.nodes.get(name) else {
                continue;
            };
            node.slaves.iter().for_each(|slave| self.enter_node(slave));
            if let Some(file) = &node.backing {
                self.enter_path(file);
                // Two loop devices over one file lie on each other.
                let twins = topology.nodes.iter().filter(|(_, other)| other.backing.as_ref() == Some(file));
                twins.for_each(|(twin, _)| self.enter_node(twin));
            }
        }
    }

    fn enter_path(&mut self, path: &Path) {
        let topology = self.topology;
        match topology.node_name(path) {
            Some(name) => self.enter_node(&name),
            None => Machine::mount_of(&topology.mounts, path)
                .into_iter()
                .for_each(|mount| self.enter_mount(mount)),
        }
    }

    fn enter_mount(&mut self, mount: &'t Mount) {
        if self.mounts.iter().any(|met| std::ptr::eq(*met, mount)) {
            return;
        }
        self.mounts.push(mount);
        self.topology.devices(mount).iter().for_each(|name| self.enter_node(name));
        if mount.fs == "overlay" {
            overlay_dirs(mount, self.layers).iter().for_each(|dir| self.enter_path(dir));
        }
    }
}

/// The directories that an overlay is made of, from its options.
fn overlay_dirs(mount: &Mount, layers: Layers) -> Vec<PathBuf> {
    let options = mount.options.split(',').filter_map(|option| option.split_once('='));
    let wanted = options.filter(|(key, _)| match layers {
        Layers::All => ["lowerdir", "upperdir", "lowerdir+", "datadir+"].contains(key),
        Layers::Upper => *key == "upperdir",
    });
    wanted
        .flat_map(|(_, dirs)| dirs.split(':'))
        .filter(|dir| dir.starts_with('/'))
        .map(PathBuf::from)
        .collect()
}

/// proc(5), /proc/swaps: a heading, then the path first in each line, escaped as in mountinfo.
fn swaps(table: &[u8]) -> Vec<PathBuf> {
    let lines = table.split(|byte| *byte == b'\n').skip(1);
    let paths = lines.filter_map(|line| line.split(|byte| byte.is_ascii_whitespace()).next());
    paths.filter(|path| !path.is_empty()).map(|path| OsString::from_vec(unescape(path)).into()).collect()
}
