//! One verb a file.

pub mod backups;
pub mod clone;
pub mod disks;
pub mod man;
pub mod prepare;
pub mod restore;
pub mod save;
pub mod show;
pub mod verify;

mod boot;
mod content;
mod job;

use crate::signals::Signals;
use device::{InProcess, Machine};
use engine::Opener;

/// What every verb works with.
pub struct Tools {
    /// Whose disks.
    pub machine: Machine,
    /// Who opens them.
    pub monitor: InProcess,
    /// What Ctrl-C has said.
    pub signals: Signals,
}

impl Tools {
    /// Of this machine.
    pub fn host(signals: Signals) -> Self {
        let monitor = InProcess { machine: Machine::host() };
        Self { machine: Machine::host(), monitor, signals }
    }

    /// Finds and opens what words name.
    pub fn opener(&self) -> Opener<'_> {
        Opener { machine: &self.machine, monitor: &self.monitor }
    }
}
