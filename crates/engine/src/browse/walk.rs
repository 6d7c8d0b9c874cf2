//! Everything below a directory, each directory once, however its entries lead.

use super::Found;
use block::{Error, ErrorKind, Result};
use disk::fs::{DirEntry, FileKind, FileSystem, NodeId};
use std::collections::HashSet;
use std::vec::IntoIter;

/// Directories inside each other.
const MAX_DEPTH: usize = 4096;

/// The names of a directory, in the order of the disk, as far as they can be had; and why that is not all.
pub fn list(fs: &dyn FileSystem, dir: NodeId) -> (Vec<DirEntry>, Option<Error>) {
    let mut entries = vec![];
    let read = fs.read_dir(dir, &mut |entry| {
        entries.push(entry);
        Ok(true)
    });
    (entries, read.err())
}

/// What sort of file an entry is, asked only where the directory does not say.
pub fn kind_of(fs: &dyn FileSystem, entry: &DirEntry) -> Result<FileKind> {
    entry.kind.map_or_else(|| Ok(fs.metadata(entry.node)?.kind), Ok)
}

/// Which directories were entered: damage can make a tree into a net, and a hostile hand into a labyrinth.
#[derive(Debug, Default)]
pub struct Below(HashSet<NodeId>);

impl Below {
    /// Fails with [`ErrorKind::Corrupt`] if this directory was entered before, or lies too deep.
    pub fn enter(&mut self, dir: NodeId, depth: usize) -> Result<()> {
        if depth > MAX_DEPTH {
            return Err(Error::new(ErrorKind::Corrupt, "folders lie too deep in each other"));
        }
        match self.0.insert(dir) {
            true => Ok(()),
            false => Err(Error::new(ErrorKind::Corrupt, "this folder has been elsewhere already: a loop")),
        }
    }
}

/// What comes next on a walk.
#[derive(Debug)]
pub enum Step {
    /// A name; if it is a directory, what is in it comes next, and then [`Step::Leave`].
    Entry {
        /// The file.
        node: NodeId,
        /// What sort.
        kind: FileKind,
    },
    /// A name whose sort could not be read, or a directory that could not be listed wholly (after its entry; what
    /// is known of it comes next).
    Failed(Error),
    /// The directory that was entered last is over.
    Leave,
}

struct Frame {
    entries: IntoIter<DirEntry>,
    /// Bytes of the path without the names of this directory.
    path: usize,
}

/// A walk, by hand: [`Walk::next`] and then [`Walk::path`].
pub struct Walk<'a> {
    fs: &'a dyn FileSystem,
    frames: Vec<Frame>,
    below: Below,
    path: Vec<u8>,
    start: Option<Found>,
    enter: Option<NodeId>,
}

impl<'a> Walk<'a> {
    /// Of `start` and all that is below it, which comes first; paths begin with its own.
    pub fn new(fs: &'a dyn FileSystem, start: Found) -> Self {
        let path = start.path.clone();
        Self { fs, frames: vec![], below: Below::default(), path, start: Some(start), enter: None }
    }

    /// Of the name that [`Walk::next`] gave last, from the root of the filesystem.
    pub fn path(&self) -> &[u8] {
        &self.path
    }

    /// Does not go into the directory that came last.
    pub fn skip(&mut self) {
        self.enter = None;
    }

    /// The next step; `None`: it is over.
    #[expect(clippy::should_implement_trait, reason = "the path is lent between two steps")]
    pub fn next(&mut self) -> Option<Step> {
        if let Some(start) = self.start.take() {
            return Some(self.entry(start.node, start.meta.kind));
        }
        if let Some(dir) = self.enter.take()
            && let Err(error) = self.go_into(dir)
        {
            return Some(Step::Failed(error));
        }
        let frame = self.frames.last_mut()?;
        self.path.truncate(frame.path);
        let Some(entry) = frame.entries.next() else {
            // What was opened is closed again under its own path.
            self.frames.pop();
            return Some(Step::Leave);
        };
        if !self.path.is_empty() {
            self.path.push(b'/');
        }
        self.path.extend_from_slice(&entry.name);
        match kind_of(self.fs, &entry) {
            Ok(kind) => Some(self.entry(entry.node, kind)),
            Err(error) => Some(Step::Failed(error)),
        }
    }

    fn entry(&mut self, node: NodeId, kind: FileKind) -> Step {
        self.enter = (kind == FileKind::Directory).then_some(node);
        Step::Entry { node, kind }
    }

    fn go_into(&mut self, dir: NodeId) -> Result<()> {
        // Also where it fails there is something to leave.
        let (mut entries, failed) = match self.below.enter(dir, self.frames.len()) {
            Ok(()) => list(self.fs, dir),
            Err(error) => (vec![], Some(error)),
        };
        // Files lie on the disk more or less in the order of their inodes.
        entries.sort_by_key(|entry| entry.node);
        self.frames.push(Frame { entries: entries.into_iter(), path: self.path.len() });
        failed.map_or(Ok(()), Err)
    }
}
