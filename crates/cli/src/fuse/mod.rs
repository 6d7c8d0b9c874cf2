//! A disk as a read-only filesystem: a folder for each volume with its files, and `images/` with raw regions.
//!
//! `tree` knows what is where, `attr` says what files are in the kernel's words, `answers` speaks FUSE.

mod answers;
mod attr;
mod tree;

pub use attr::Owner;
pub use tree::{Image, Tree, Volume};

use answers::Answers;
use block::{Error, Result};
use fuser::{Config, Session, SessionACL};
use std::os::fd::OwnedFd;
use std::sync::mpsc::{self, Receiver};

/// Threads that answer the kernel at most.
const MAX_THREADS: usize = 8;

/// Begins to answer what the kernel asks by the descriptor of /dev/fuse. What comes back says that it was unmounted.
pub fn serve(tree: Tree, fd: OwnedFd) -> Result<Receiver<Result<()>>> {
    let failed = |error| Error::io(error, "answering the kernel");
    let mut config = Config::default();
    config.n_threads = Some((2 * block::cores()).min(MAX_THREADS));
    // Who may look is judged by the kernel, by the options of the mount.
    let session = Session::from_fd(Answers::new(tree), fd, SessionACL::All, config).map_err(failed)?;
    let (said, ended) = mpsc::channel();
    std::thread::spawn(move || {
        // Who waits may be gone: the program ends.
        let _ = said.send(session.run().map_err(failed));
    });
    Ok(ended)
}

#[cfg(test)]
mod tests;
