//! A backup's folder: the only creator of files in it.

use crate::appender::write_error;
use crate::folder::{LocalFiles, errno, is_regular, open_or_make, rename_new, sync_folder};
use crate::name::check_name;
use crate::stored_file::StoredFile;
use crate::{Appender, Hex, MANIFEST, MAX_MANIFEST, Manifest};
use block::{Entry, Error, ErrorKind, Files, Folder, How, ReadAt, Result, Source};
use rustix::fs::{self, FlockOperation};
use rustix::io::{self, Errno};
use rustix::rand::{GetRandomFlags, getrandom};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What the name of an unfinished folder ends in.
const PART: &str = ".part";
/// Folders of one name that are tried: NAME, NAME-2, ..
const MAX_SAME_NAME: u32 = 1000;
/// Bytes that a small file is written in.
const SMALL: usize = 1 << 16;

/// A folder of one backup, held open: its files are found in it even if it is renamed meanwhile. Files
/// are regular ones with names of FORMAT 1, never reached through a symbolic link.
#[derive(Debug)]
pub struct Store {
    folder: Arc<dyn Folder>,
    /// Where it was made: it is published there.
    parent: Option<Arc<dyn Folder>>,
}

impl Store {
    /// Makes `FOLDER.part` in `parent`, for its owner alone, and locks it until the value is dropped.
    /// Where FOLDER or FOLDER.part exists it is `FOLDER-2`, and so on. `parent` is made if only it is
    /// missing.
    pub fn create(files: &dyn Files, parent: &Path, folder: &str) -> Result<Self> {
        check_name(folder).map_err(|error| error.with_kind(ErrorKind::Usage))?;
        let parent = open_or_make(files, parent)?;
        for number in 1..=MAX_SAME_NAME {
            let name = if number == 1 { folder.to_owned() } else { format!("{folder}-{number}") };
            let part = format!("{name}{PART}");
            let making =
                |errno: Errno| write_error(errno, format!("making {}", parent.path().join(&part).display()));
            if parent.has(name.as_ref()).map_err(|error| making(errno(&error)))? {
                continue;
            }
            let folder = match parent.make_folder(part.as_ref(), true) {
                Err(error) if errno(&error) == Errno::EXIST => continue,
                made => made.map_err(|error| making(errno(&error)))?,
            };
            // Other errors: some network filesystems lock no folders. The new name alone keeps others away.
            if fs::flock(folder.fd(), FlockOperation::NonBlockingLockExclusive) == Err(Errno::WOULDBLOCK) {
                return Err(making(Errno::BUSY));
            }
            return Ok(Self { folder, parent: Some(parent) });
        }
        let words =
            format!("{} and {MAX_SAME_NAME} names like it exist", parent.path().join(folder).display());
        Err(Error::new(ErrorKind::Refused, words))
    }

    /// An existing folder, finished or not. Nothing is locked.
    pub fn open(path: &Path) -> Result<Self> {
        let folder = LocalFiles::default().folder(path);
        Ok(Self::of(Arc::new(
            folder.map_err(|error| Error::io(error, format!("opening {}", path.display())))?,
        )))
    }

    /// A folder that somebody opened.
    pub fn of(folder: Arc<dyn Folder>) -> Self {
        Self { folder, parent: None }
    }

    /// Where it was when it was opened: absolute, without symbolic links.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// It is unfinished.
    pub fn is_part(&self) -> bool {
        is_part(self.path())
    }

    /// Fails with [`ErrorKind::Unsupported`] if it is unfinished.
    pub fn must_be_finished(&self) -> Result<()> {
        if !self.is_part() {
            return Ok(());
        }
        let words = format!("{} is unfinished: it was interrupted, or is being made", self.path().display());
        Err(Error::new(ErrorKind::Unsupported, words))
    }

    /// Makes the file `name`, which must not exist, written in pieces of `buffer` bytes.
    pub fn append(&self, name: &str, buffer: usize) -> Result<Appender> {
        check_name(name)?;
        let path = self.path().join(name);
        let file = self.folder.open(name.as_ref(), How::Make);
        let file = file.map_err(|error| write_error(errno(&error), format!("making {}", path.display())))?;
        Ok(Appender::new(file, path, buffer))
    }

    /// Makes the file `name`, which must not exist, durable and read back past the page cache. Fails with
    /// [`ErrorKind::Corrupt`] if other bytes come back.
    pub fn write_small(&self, name: &str, bytes: &[u8]) -> Result<()> {
        let mut file = self.append(name, bytes.len().min(SMALL))?;
        file.append(bytes)?;
        file.finish()?;
        let mut back = vec![0; bytes.len()];
        let source = self.open_read(name, true)?;
        source.read_at(0, &mut back)?;
        if back != bytes || source.size() != bytes.len() as u64 {
            let words = format!("{} reads back differently", self.path().join(name).display());
            return Err(Error::new(ErrorKind::Corrupt, words));
        }
        sync_folder(&*self.folder)
    }

    /// Makes or replaces the file `name`: after a power cut there is the old one or the new one.
    pub fn replace_small(&self, name: &str, bytes: &[u8]) -> Result<()> {
        let new = format!("{name}.new");
        let failed = |error: std::io::Error| {
            write_error(errno(&error), format!("replacing {}", self.path().join(name).display()))
        };
        match self.folder.remove(new.as_ref()) {
            Err(error) if errno(&error) != Errno::NOENT => return Err(failed(error)),
            _ => {}
        }
        self.write_small(&new, bytes)?;
        self.folder.rename(new.as_ref(), name.as_ref(), true).map_err(failed)?;
        sync_folder(&*self.folder)
    }

    /// All of the file `name`; fails with [`ErrorKind::Corrupt`] if it is longer than `max` bytes.
    pub fn read_small(&self, name: &str, max: u64) -> Result<Vec<u8>> {
        let file = self.open_file(name, false)?;
        let size = usize::try_from(file.size()).ok().filter(|_| file.size() <= max).ok_or_else(|| {
            let path = self.path().join(name);
            let words = format!("{}: {} bytes are more than {max}", path.display(), file.size());
            Error::new(ErrorKind::Corrupt, words)
        })?;
        let mut bytes = vec![0; size];
        file.read_at(0, &mut bytes)?;
        Ok(bytes)
    }

    /// The file `name` to read from; `direct`: past the page cache, as far as the filesystem can.
    pub fn open_read(&self, name: &str, direct: bool) -> Result<Source> {
        Ok(Arc::new(self.open_file(name, direct)?))
    }

    fn open_file(&self, name: &str, direct: bool) -> Result<StoredFile> {
        check_name(name)?;
        let path = self.path().join(name);
        let irregular = || Error::new(ErrorKind::Corrupt, format!("{} is no regular file", path.display()));
        let failed = |errno: Errno| Error::io(errno.into(), format!("opening {}", path.display()));
        let file = self.folder.open(name.as_ref(), How::Read).map_err(|error| match errno(&error) {
            Errno::NXIO => irregular(),
            errno => failed(errno),
        })?;
        let size = regular_size(&fs::fstat(&file).map_err(failed)?).ok_or_else(irregular)?;
        Ok(StoredFile::new(file, path, size, direct))
    }

    /// Names and sizes in bytes of all files, by name. Fails with [`ErrorKind::Corrupt`] at anything that
    /// is no regular file.
    pub fn names(&self) -> Result<Vec<(String, u64)>> {
        let failed = |error| Error::io(error, format!("listing {}", self.path().display()));
        let file = |entry: Entry| match (entry.name.to_str(), entry.size) {
            (Some(name), Some(size)) => Ok((name.to_owned(), size)),
            _ => {
                let words = format!("{}: {:?} is no file of a backup", self.path().display(), entry.name);
                Err(Error::new(ErrorKind::Corrupt, words))
            }
        };
        self.folder.list().map_err(failed)?.into_iter().map(file).collect()
    }

    /// Gives a file another name, which nothing has yet.
    pub(crate) fn rename(&self, from: &str, to: &str) -> Result<()> {
        check_name(to)?;
        rename_new(&*self.folder, from.as_ref(), to.as_ref())
    }

    /// Makes all names durable and takes `.part` from the folder's own. Fails with
    /// [`ErrorKind::Refused`], the folder still `.part`, if a folder of that name appeared meanwhile.
    pub fn publish(self) -> Result<PathBuf> {
        sync_folder(&*self.folder)?;
        let (Some(parent), Some(part)) = (&self.parent, self.path().file_name()) else {
            return Err(Error::new(ErrorKind::Bug, "a backup's folder that was not made here"));
        };
        let Some(name) = part.to_str().and_then(|part| part.strip_suffix(PART)) else {
            return Err(Error::new(ErrorKind::Bug, format!("{} is finished", self.path().display())));
        };
        rename_new(&**parent, part, name.as_ref())?;
        sync_folder(&**parent)?;
        Ok(parent.path().join(name))
    }

    /// The manifest of a finished or unfinished backup, by itself: neither SHA256SUMS nor the index is read.
    pub fn peek(&self) -> Result<Manifest> {
        Manifest::parse(&self.read_small(MANIFEST, MAX_MANIFEST)?)
            .map_err(|error| error.context(self.path().display()))
    }
}

/// Does the name say that the folder or file is unfinished?
pub fn is_part(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.as_encoded_bytes().ends_with(PART.as_bytes()))
}

/// A new backup's id.
pub fn random_id() -> Result<Hex<16>> {
    let mut id = [0; 16];
    // Up to 256 bytes come whole or not at all.
    io::retry_on_intr(|| getrandom(&mut id, GetRandomFlags::empty()))
        .map_err(|errno| Error::io(errno.into(), "getrandom"))?;
    Ok(Hex(id))
}

/// Size of a regular file; `None` for all else.
pub(crate) fn regular_size(found: &fs::Stat) -> Option<u64> {
    is_regular(found).then(|| u64::try_from(found.st_size).ok())?
}
