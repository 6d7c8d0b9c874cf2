//! Files and folders as something that somebody else may open: who copies a disk needs no right to any path.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;

/// How a file of a folder is opened. Symbolic links are never followed, and only regular files are opened:
/// `ENXIO` for all else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// To read.
    Read,
    /// To read past the page cache.
    ReadDirect,
    /// A new file, to write and to read back, for its owner alone; `EEXIST` if anything has the name.
    Make,
    /// To write and to read, a file that is there.
    Write,
    /// A file that was just made, to write and to read past the page cache.
    WriteDirect,
}

/// What a folder holds.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Entry {
    /// Its name, one component.
    pub name: OsString,
    /// Bytes of a regular file; `None` for all else.
    pub size: Option<u64>,
}

/// A folder that is held open: what is in it is found even if it is renamed or moved. Names are single
/// components; any other one is `EINVAL`.
pub trait Folder: Send + Sync + fmt::Debug {
    /// Where it was when it was opened: absolute, without symbolic links.
    fn path(&self) -> &Path;

    /// The folder itself: to lock it, to flush it, to ask what its filesystem has room for.
    fn fd(&self) -> BorrowedFd<'_>;

    /// All that it holds, by name.
    fn list(&self) -> io::Result<Vec<Entry>>;

    /// Is there anything of this name, were it a dangling link?
    fn has(&self, name: &OsStr) -> io::Result<bool>;

    /// Opens a file in it.
    fn open(&self, name: &OsStr, how: How) -> io::Result<OwnedFd>;

    /// Opens a folder in it; not through a symbolic link.
    fn folder(&self, name: &OsStr) -> io::Result<Arc<dyn Folder>>;

    /// Makes a folder in it that nobody had made before, and opens it; with `private` for its owner alone.
    fn make_folder(&self, name: &OsStr, private: bool) -> io::Result<Arc<dyn Folder>>;

    /// Gives a file or folder in it another name; `EEXIST` if something has that one already, unless it
    /// shall be replaced.
    fn rename(&self, from: &OsStr, to: &OsStr, replace: bool) -> io::Result<()>;

    /// Removes a file in it.
    fn remove(&self, name: &OsStr) -> io::Result<()>;
}

/// What a path leads to.
#[derive(Clone, Debug)]
pub enum Found {
    /// A folder.
    Folder(Arc<dyn Folder>),
    /// Something else, by its name in its folder; symbolic links were followed.
    File(Arc<dyn Folder>, OsString),
    /// Nothing yet, but the folder that it would be in.
    Nothing(Arc<dyn Folder>, OsString),
}

/// The folder that `path` is in: the current one, where it names none.
pub fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Who opens folders.
pub trait Files: Send + Sync {
    /// What `path` leads to. Fails with `ENOENT` if not even its folder is there, and with `EACCES` where it
    /// may not be looked for.
    fn find(&self, path: &Path) -> io::Result<Found>;
}
