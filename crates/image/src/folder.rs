//! Files and folders of this process's own, and what both kinds of output do with the folder they lie in.

use crate::appender::write_error;
use crate::store::regular_size;
use block::{Entry, Error, ErrorKind, Files, Folder, Found, How, Result, folder_of};
use rustix::fs::{self, AtFlags, FileType, Gid, Mode, OFlags, RenameFlags, Uid};
use rustix::io::Errno;
use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// How a folder is opened.
const FOLDER: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);
/// How a file is opened, whatever for: an open alone does something to a FIFO, a tape or a watchdog.
const FILE: OFlags = OFlags::NOFOLLOW.union(OFlags::NONBLOCK).union(OFlags::CLOEXEC).union(OFlags::NOCTTY);

/// Opens files with the rights of this process. What is made is given to `owner` (user, group) as far as the
/// filesystem has owners.
#[derive(Clone, Copy, Debug, Default)]
pub struct LocalFiles {
    /// `None`: who runs this.
    pub owner: Option<(u32, u32)>,
}

impl LocalFiles {
    /// A folder, which must be there; symbolic links are followed.
    pub fn folder(self, path: &Path) -> io::Result<LocalFolder> {
        let path = path.canonicalize()?;
        #[expect(clippy::disallowed_methods, reason = "only reads")]
        let dir = fs::open(&path, FOLDER, Mode::empty())?;
        Ok(LocalFolder { dir, path, owner: self.owner })
    }
}

impl Files for LocalFiles {
    fn find(&self, path: &Path) -> io::Result<Found> {
        let nothing = |error: io::Error| {
            let Some(name) = path.file_name() else { return Err(error) };
            let parent = self.folder(folder_of(path))?;
            Ok(Found::Nothing(Arc::new(parent), name.to_owned()))
        };
        let real = match path.canonicalize() {
            Ok(real) => real,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return nothing(error),
            Err(error) => return Err(error),
        };
        if real.is_dir() {
            return Ok(Found::Folder(Arc::new(self.folder(&real)?)));
        }
        match (real.parent(), real.file_name()) {
            (Some(parent), Some(name)) => Ok(Found::File(Arc::new(self.folder(parent)?), name.to_owned())),
            _ => Err(Errno::NOTDIR.into()),
        }
    }
}

/// A folder that this process opened itself.
#[derive(Debug)]
pub struct LocalFolder {
    dir: OwnedFd,
    path: PathBuf,
    owner: Option<(u32, u32)>,
}

impl LocalFolder {
    fn child(&self, name: &OsStr) -> io::Result<Self> {
        #[expect(clippy::disallowed_methods, reason = "only reads")]
        let dir = fs::openat(&self.dir, one_component(name)?, FOLDER | OFlags::NOFOLLOW, Mode::empty())?;
        Ok(Self { dir, path: self.path.join(name), owner: self.owner })
    }

    /// Best effort: FAT has no owners, and who is not root keeps what they made.
    fn give(&self, file: impl AsFd) {
        if let Some((user, group)) = self.owner.filter(|(user, group)| ![*user, *group].contains(&u32::MAX)) {
            let _ = fs::fchown(file, Some(Uid::from_raw(user)), Some(Gid::from_raw(group)));
        }
    }

    fn size(&self, name: impl rustix::path::Arg) -> rustix::io::Result<Option<u64>> {
        Ok(regular_size(&fs::statat(&self.dir, name, AtFlags::SYMLINK_NOFOLLOW)?))
    }
}

/// A name that leads nowhere else.
pub(crate) fn one_component(name: &OsStr) -> rustix::io::Result<&OsStr> {
    let bytes = name.as_bytes();
    let elsewhere =
        [b"".as_slice(), b".", b".."].contains(&bytes) || bytes.iter().any(|b| b"/\0".contains(b));
    if elsewhere { Err(Errno::INVAL) } else { Ok(name) }
}

impl Folder for LocalFolder {
    fn path(&self) -> &Path {
        &self.path
    }

    fn fd(&self) -> BorrowedFd<'_> {
        self.dir.as_fd()
    }

    fn list(&self) -> io::Result<Vec<Entry>> {
        let mut entries = vec![];
        for entry in fs::Dir::read_from(&self.dir)? {
            let entry = entry?;
            let name = entry.file_name();
            if [b".".as_slice(), b".."].contains(&name.to_bytes()) {
                continue;
            }
            match self.size(name) {
                Ok(size) => {
                    let name = std::ffi::OsString::from_vec(name.to_bytes().to_vec());
                    entries.push(Entry { name, size });
                }
                // Removed since it was listed.
                Err(Errno::NOENT) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
        entries.sort();
        Ok(entries)
    }

    fn has(&self, name: &OsStr) -> io::Result<bool> {
        match self.size(one_component(name)?) {
            Ok(_) => Ok(true),
            Err(Errno::NOENT) => Ok(false),
            Err(errno) => Err(errno.into()),
        }
    }

    fn open(&self, name: &OsStr, how: How) -> io::Result<OwnedFd> {
        let name = one_component(name)?;
        let flags = match how {
            How::Read => OFlags::RDONLY,
            How::ReadDirect => OFlags::RDONLY | OFlags::DIRECT,
            How::Make => OFlags::RDWR | OFlags::CREATE | OFlags::EXCL,
            How::Write => OFlags::RDWR,
            How::WriteDirect => OFlags::RDWR | OFlags::DIRECT,
        };
        // A look before the open, and then again at what was opened: something else may take its place.
        if how != How::Make && self.size(name)?.is_none() {
            return Err(Errno::NXIO.into());
        }
        #[expect(clippy::disallowed_methods, reason = "reads, or writes what was made here and nothing else")]
        let file = match fs::openat(&self.dir, name, flags | FILE, Mode::RUSR | Mode::WUSR) {
            Err(Errno::LOOP) => return Err(Errno::NXIO.into()),
            opened => opened?,
        };
        match how {
            How::Make => self.give(&file),
            _ if regular_size(&fs::fstat(&file)?).is_none() => return Err(Errno::NXIO.into()),
            _ => {}
        }
        Ok(file)
    }

    fn folder(&self, name: &OsStr) -> io::Result<Arc<dyn Folder>> {
        Ok(Arc::new(self.child(name)?))
    }

    fn make_folder(&self, name: &OsStr, private: bool) -> io::Result<Arc<dyn Folder>> {
        let all = Mode::RWXU | Mode::RWXG | Mode::RWXO; // less what the umask says
        fs::mkdirat(&self.dir, one_component(name)?, if private { Mode::RWXU } else { all })?;
        let made = self.child(name)?;
        self.give(&made.dir);
        Ok(Arc::new(made))
    }

    fn rename(&self, from: &OsStr, to: &OsStr, replace: bool) -> io::Result<()> {
        let (from, to) = (one_component(from)?, one_component(to)?);
        if replace {
            return Ok(fs::renameat(&self.dir, from, &self.dir, to)?);
        }
        match fs::renameat_with(&self.dir, from, &self.dir, to, RenameFlags::NOREPLACE) {
            // Not every filesystem knows the flag (NFS, FUSE); then there is a moment between look and rename.
            Err(Errno::INVAL | Errno::NOSYS) if self.has(to)? => Err(Errno::EXIST.into()),
            Err(Errno::INVAL | Errno::NOSYS) => Ok(fs::renameat(&self.dir, from, &self.dir, to)?),
            renamed => Ok(renamed?),
        }
    }

    fn remove(&self, name: &OsStr) -> io::Result<()> {
        Ok(fs::unlinkat(&self.dir, one_component(name)?, AtFlags::empty())?)
    }
}

/// The errno of an error that a folder answered with.
pub(crate) fn errno(error: &io::Error) -> Errno {
    Errno::from_io_error(error).unwrap_or(Errno::IO)
}

/// Opens the folder that `path` leads to, or makes it if only it is missing.
pub(crate) fn open_or_make(files: &dyn Files, path: &Path) -> Result<Arc<dyn Folder>> {
    let making = |error: io::Error| write_error(errno(&error), format!("making {}", path.display()));
    match files.find(path).map_err(making)? {
        Found::Folder(folder) => Ok(folder),
        Found::Nothing(parent, name) => parent.make_folder(&name, false).map_err(making),
        Found::File(..) => Err(Error::io(Errno::NOTDIR.into(), format!("opening {}", path.display()))),
    }
}

/// Makes the entries of a folder durable.
pub(crate) fn sync_folder(folder: &dyn Folder) -> Result<()> {
    match fs::fsync(folder.fd()) {
        // EINVAL: this filesystem has nothing to flush for folders.
        Ok(()) | Err(Errno::INVAL) => Ok(()),
        Err(errno) => Err(write_error(errno, format!("flushing {}", folder.path().display()))),
    }
}

/// Renames within a folder, never over something: that is [`ErrorKind::Refused`].
pub(crate) fn rename_new(folder: &dyn Folder, from: &OsStr, to: &OsStr) -> Result<()> {
    let path = folder.path().join(to);
    folder.rename(from, to, false).map_err(|error| match errno(&error) {
        Errno::EXIST => {
            let words = format!("{} exists; what is new stays {}", path.display(), from.display());
            Error::new(ErrorKind::Refused, words)
        }
        errno => write_error(errno, format!("renaming to {}", path.display())),
    })
}

/// Is it a regular file?
pub(crate) fn is_regular(found: &fs::Stat) -> bool {
    FileType::from_raw_mode(found.st_mode) == FileType::RegularFile
}
