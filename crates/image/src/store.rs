//! A backup's folder: the only creator of files in it.

use crate::appender::write_error;
use crate::folder::{FOLDER, absolute, exists, give, open_folder, open_or_make, rename_new, sync_folder};
use crate::name::check_name;
use crate::stored_file::StoredFile;
use crate::{Appender, Hex, MANIFEST, MAX_MANIFEST, Manifest};
use block::{Error, ErrorKind, ReadAt, Result, Source};
use rustix::fs::{self, AtFlags, FileType, FlockOperation, Mode, OFlags};
use rustix::io::{self, Errno};
use rustix::rand::{GetRandomFlags, getrandom};
use std::os::fd::OwnedFd;
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
    dir: OwnedFd,
    path: PathBuf,
    owner: Option<(u32, u32)>,
}

impl Store {
    /// Makes `FOLDER.part` in `parent`, for its owner alone, and locks it until the value is dropped.
    /// Where FOLDER or FOLDER.part exists it is `FOLDER-2`, and so on. `parent` is made if only it is
    /// missing. All that is made is given to `owner` (user, group) as far as the filesystem has owners.
    pub fn create(parent: &Path, folder: &str, owner: Option<(u32, u32)>) -> Result<Self> {
        check_name(folder).map_err(|error| error.with_kind(ErrorKind::Usage))?;
        let parent_dir = open_or_make(parent, owner)?;
        let parent = absolute(parent)?;
        for number in 1..=MAX_SAME_NAME {
            let name = if number == 1 { folder.to_owned() } else { format!("{folder}-{number}") };
            let part = format!("{name}{PART}");
            let path = parent.join(&part);
            let failed = |errno: Errno| write_error(errno, format!("making {}", path.display()));
            if exists(&parent_dir, &name).map_err(failed)? {
                continue;
            }
            match fs::mkdirat(&parent_dir, &part, Mode::RWXU) {
                Err(Errno::EXIST) => continue,
                made => made.map_err(failed)?,
            }
            #[expect(clippy::disallowed_methods, reason = "only reads")]
            let dir =
                fs::openat(&parent_dir, &part, FOLDER | OFlags::NOFOLLOW, Mode::empty()).map_err(failed)?;
            // Other errors: some network filesystems lock no folders. The new name alone keeps others away.
            if fs::flock(&dir, FlockOperation::NonBlockingLockExclusive) == Err(Errno::WOULDBLOCK) {
                return Err(failed(Errno::BUSY));
            }
            give(&dir, owner);
            return Ok(Self { dir, path, owner });
        }
        let words = format!("{} and {MAX_SAME_NAME} names like it exist", parent.join(folder).display());
        Err(Error::new(ErrorKind::Refused, words))
    }

    /// An existing folder, finished or not. Nothing is locked.
    pub fn open(path: &Path) -> Result<Self> {
        let path = absolute(path)?;
        let dir = open_folder(&path)?;
        Ok(Self { dir, path, owner: None })
    }

    /// Where it was when it was opened: absolute, without symbolic links.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// It is unfinished.
    pub fn is_part(&self) -> bool {
        is_part(&self.path)
    }

    /// Fails with [`ErrorKind::Unsupported`] if it is unfinished.
    pub fn must_be_finished(&self) -> Result<()> {
        if !self.is_part() {
            return Ok(());
        }
        let words = format!("{} is unfinished: it was interrupted, or is being made", self.path.display());
        Err(Error::new(ErrorKind::Unsupported, words))
    }

    /// Makes the file `name`, which must not exist, written in pieces of `buffer` bytes.
    pub fn append(&self, name: &str, buffer: usize) -> Result<Appender> {
        check_name(name)?;
        let path = self.path.join(name);
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        #[expect(clippy::disallowed_methods, reason = "a new file: whatever has the name is never opened")]
        let file = fs::openat(&self.dir, name, flags, Mode::RUSR | Mode::WUSR)
            .map_err(|errno| write_error(errno, format!("making {}", path.display())))?;
        give(&file, self.owner);
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
            let words = format!("{} reads back differently", self.path.join(name).display());
            return Err(Error::new(ErrorKind::Corrupt, words));
        }
        sync_folder(&self.dir, &self.path)
    }

    /// Makes or replaces the file `name`: after a power cut there is the old one or the new one.
    pub fn replace_small(&self, name: &str, bytes: &[u8]) -> Result<()> {
        let new = format!("{name}.new");
        let failed =
            |errno: Errno| write_error(errno, format!("replacing {}", self.path.join(name).display()));
        match fs::unlinkat(&self.dir, &new, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(errno) => return Err(failed(errno)),
        }
        self.write_small(&new, bytes)?;
        fs::renameat(&self.dir, &new, &self.dir, name).map_err(failed)?;
        sync_folder(&self.dir, &self.path)
    }

    /// All of the file `name`; fails with [`ErrorKind::Corrupt`] if it is longer than `max` bytes.
    pub fn read_small(&self, name: &str, max: u64) -> Result<Vec<u8>> {
        let file = self.open_file(name, false)?;
        let size = usize::try_from(file.size()).ok().filter(|_| file.size() <= max).ok_or_else(|| {
            let path = self.path.join(name);
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
        let path = self.path.join(name);
        let irregular = || Error::new(ErrorKind::Corrupt, format!("{} is no regular file", path.display()));
        let failed = |errno: Errno| Error::io(errno.into(), format!("opening {}", path.display()));
        // Opening alone does something to a FIFO, a tape or a watchdog: first a look, then again at what was
        // opened. NONBLOCK is for what takes its place in between.
        let found = fs::statat(&self.dir, name, AtFlags::SYMLINK_NOFOLLOW).map_err(failed)?;
        regular_size(&found).ok_or_else(irregular)?;
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        #[expect(clippy::disallowed_methods, reason = "only reads")]
        let file = fs::openat(&self.dir, name, flags, Mode::empty()).map_err(|errno| match errno {
            Errno::LOOP | Errno::NXIO => irregular(),
            errno => failed(errno),
        })?;
        let size = regular_size(&fs::fstat(&file).map_err(failed)?).ok_or_else(irregular)?;
        Ok(StoredFile::new(file, path, size, direct))
    }

    /// Names and sizes in bytes of all files, by name. Fails with [`ErrorKind::Corrupt`] at anything that
    /// is no regular file.
    pub fn names(&self) -> Result<Vec<(String, u64)>> {
        let failed = |errno: Errno| Error::io(errno.into(), format!("listing {}", self.path.display()));
        let mut names = Vec::new();
        for entry in fs::Dir::read_from(&self.dir).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let name = entry.file_name();
            if [b".".as_slice(), b".."].contains(&name.to_bytes()) {
                continue;
            }
            let found = fs::statat(&self.dir, name, AtFlags::SYMLINK_NOFOLLOW).map_err(failed)?;
            match (name.to_str(), regular_size(&found)) {
                (Ok(name), Some(size)) => names.push((name.to_owned(), size)),
                _ => {
                    let words = format!("{}: {name:?} is no file of a backup", self.path.display());
                    return Err(Error::new(ErrorKind::Corrupt, words));
                }
            }
        }
        names.sort();
        Ok(names)
    }

    /// Gives a file another name, which nothing has yet.
    pub(crate) fn rename(&self, from: &str, to: &str) -> Result<()> {
        check_name(to)?;
        rename_new(&self.dir, from.as_ref(), to.as_ref(), &self.path.join(to))
    }

    /// Makes all names durable and takes `.part` from the folder's own. Fails with
    /// [`ErrorKind::Refused`], the folder still `.part`, if a folder of that name appeared meanwhile.
    pub fn publish(self) -> Result<PathBuf> {
        sync_folder(&self.dir, &self.path)?;
        let (Some(parent), Some(part)) = (self.path.parent(), self.path.file_name()) else {
            return Err(Error::new(ErrorKind::Bug, "a backup's folder without a name"));
        };
        let Some(name) = part.to_str().and_then(|part| part.strip_suffix(PART)) else {
            return Err(Error::new(ErrorKind::Bug, format!("{} is finished", self.path.display())));
        };
        let parent_dir = open_folder(parent)?;
        let finished = parent.join(name);
        rename_new(&parent_dir, part.as_ref(), name.as_ref(), &finished)?;
        sync_folder(&parent_dir, parent)?;
        Ok(finished)
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

/// The manifest of a finished or unfinished backup, by itself: neither SHA256SUMS nor the index is read.
pub fn peek(folder: &Path) -> Result<Manifest> {
    let store = Store::open(folder)?;
    Manifest::parse(&store.read_small(MANIFEST, MAX_MANIFEST)?)
        .map_err(|error| error.context(store.path().display()))
}

/// Size of a regular file; `None` for all else.
pub(crate) fn regular_size(found: &fs::Stat) -> Option<u64> {
    (FileType::from_raw_mode(found.st_mode) == FileType::RegularFile)
        .then(|| u64::try_from(found.st_size).ok())?
}
