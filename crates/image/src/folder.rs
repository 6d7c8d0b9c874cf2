//! What both kinds of output do with the folder that they lie in.

use crate::appender::write_error;
use block::{Error, ErrorKind, Result};
use rustix::fs::{self, AtFlags, Gid, Mode, OFlags, RenameFlags, Uid};
use rustix::io::{self, Errno};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

/// How a folder is opened.
pub(crate) const FOLDER: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// Without symbolic links, so that the name at its end is the folder's own.
pub(crate) fn absolute(path: &Path) -> Result<PathBuf> {
    path.canonicalize().map_err(|error| Error::io(error, format!("opening {}", path.display())))
}

/// To read its entries, or to rename in it.
#[expect(clippy::disallowed_methods, reason = "only reads")]
pub(crate) fn open_folder(path: &Path) -> Result<OwnedFd> {
    fs::open(path, FOLDER, Mode::empty())
        .map_err(|errno| Error::io(errno.into(), format!("opening {}", path.display())))
}

/// A folder that is made if only it is missing.
pub(crate) fn open_or_make(path: &Path, owner: Option<(u32, u32)>) -> Result<OwnedFd> {
    match fs::mkdir(path, Mode::RWXU | Mode::RWXG | Mode::RWXO) {
        Err(Errno::EXIST) => open_folder(path),
        Err(errno) => match open_folder(path) {
            // A mount point of a read-only parent is there, whatever mkdir says.
            Ok(dir) => Ok(dir),
            Err(_) => Err(write_error(errno, format!("making {}", path.display()))),
        },
        Ok(()) => {
            let dir = open_folder(path)?;
            give(&dir, owner);
            Ok(dir)
        }
    }
}

/// Is there anything of this name, were it a dangling link?
pub(crate) fn exists(dir: impl AsFd, name: impl rustix::path::Arg) -> io::Result<bool> {
    match fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(_) => Ok(true),
        Err(Errno::NOENT) => Ok(false),
        Err(errno) => Err(errno),
    }
}

/// Best effort: FAT has no owners, and who is not root keeps what they made.
pub(crate) fn give(file: impl AsFd, owner: Option<(u32, u32)>) {
    if let Some((user, group)) = owner.filter(|(user, group)| ![*user, *group].contains(&u32::MAX)) {
        let _ = fs::fchown(file, Some(Uid::from_raw(user)), Some(Gid::from_raw(group)));
    }
}

/// Makes the entries of a folder durable.
pub(crate) fn sync_folder(dir: impl AsFd, path: &Path) -> Result<()> {
    match fs::fsync(dir) {
        // EINVAL: this filesystem has nothing to flush for folders.
        Ok(()) | Err(Errno::INVAL) => Ok(()),
        Err(errno) => Err(write_error(errno, format!("flushing {}", path.display()))),
    }
}

/// Renames within a folder, never over something: that is [`ErrorKind::Refused`]. `to_path` is for messages.
pub(crate) fn rename_new(dir: impl AsFd, from: &Path, to: &Path, to_path: &Path) -> Result<()> {
    let dir = dir.as_fd();
    let renamed = match fs::renameat_with(dir, from, dir, to, RenameFlags::NOREPLACE) {
        // Not every filesystem knows the flag (NFS, FUSE); then there is a moment between look and rename.
        Err(Errno::INVAL | Errno::NOSYS) => match exists(dir, to) {
            Ok(false) => fs::renameat(dir, from, dir, to),
            Ok(true) => Err(Errno::EXIST),
            Err(errno) => Err(errno),
        },
        renamed => renamed,
    };
    renamed.map_err(|errno| match errno {
        Errno::EXIST => {
            let words = format!("{} exists; what is new stays {}", to_path.display(), from.display());
            Error::new(ErrorKind::Refused, words)
        }
        errno => write_error(errno, format!("renaming to {}", to_path.display())),
    })
}
