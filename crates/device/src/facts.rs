//! Who uses a disk or a partition.

use crate::Mount;
use serde::{Deserialize, Serialize};

/// Everything that makes writing to a disk or a partition dangerous. Empty: nobody uses it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Filesystems on it that are mounted, in any mount namespace.
    pub mounted: Vec<Mount>,
    /// Nodes on it that the kernel swaps to.
    pub swap: Vec<String>,
    /// What lies on it and is active: LVM, dm, md, loop devices.
    pub held_by: Vec<String>,
    /// Programs that have it open for writing.
    pub open_elsewhere: Vec<String>,
    /// The running system is on it.
    pub system: bool,
}

impl Usage {
    /// Filesystems on it are mounted, all of them read-only, and nothing else uses it.
    pub fn is_only_read(&self) -> bool {
        let others = [&self.swap, &self.held_by, &self.open_elsewhere];
        !self.mounted.is_empty()
            && self.mounted.iter().all(|mount| mount.read_only)
            && others.iter().all(|users| users.is_empty())
    }

    /// What may write to it while it is read, each as a clause: filesystems that are mounted read-write,
    /// swap, programs. What merely lies on it and keeps still is none of them.
    pub fn may_change(&self) -> Vec<String> {
        let mounted = self.mounted.iter().filter(|mount| !mount.read_only).map(ToString::to_string);
        let swap = self.swap.iter().map(|name| format!("the system swaps to {name}"));
        let writers = self.open_elsewhere.iter().map(|by| format!("{by} has it open for writing"));
        mounted.chain(swap).chain(writers).collect()
    }
}
