//! One verb a file.

pub mod backups;
pub mod cat;
pub mod clone;
pub mod disks;
pub mod get;
pub mod ls;
pub mod man;
pub mod mount;
pub mod prepare;
pub mod restore;
pub mod save;
pub mod serve;
pub mod show;
pub mod trial;
pub mod verify;

mod boot;
mod checked;
mod content;
mod deleted;
mod differing;
mod file_line;
mod files;
mod job;
mod lost;
mod target;

use crate::monitor::Client;
use crate::signals::Signals;
use engine::Opener;

/// What every verb works with.
pub struct Tools {
    /// Who knows and opens disks, files and folders.
    pub monitor: Client,
    /// What Ctrl-C has said.
    pub signals: Signals,
}

impl Tools {
    /// Finds and opens what words name.
    pub fn opener(&self) -> Opener<'_> {
        Opener { monitor: &self.monitor, files: &self.monitor, bridge: &self.monitor }
    }
}
