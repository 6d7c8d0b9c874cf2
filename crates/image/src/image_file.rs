//! A new raw image file: what a backup is restored into when there is no disk for it.

use crate::appender::{PAGE, write_error};
use crate::folder::{errno, rename_new, sync_folder};
use crate::stored_file::read_exact;
use block::{
    ByteRange, Error, ErrorKind, Extent, ExtentKind, Files, Folder, Found, How, ReadAt, Result, WriteAt,
    folder_of,
};
use rustix::fs::{self, Advice, FallocateFlags, FlockOperation, SeekFrom};
use rustix::io::{self, Errno};
use std::ffi::{OsStr, OsString};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Bytes of zeroes written at a time.
const ZEROES: usize = 1 << 20;

/// Kept as `PATH.part` until it is published; without that it is removed again. It begins as one hole.
/// Whole pages from aligned memory go past the page cache, and are read back from behind it.
#[derive(Debug)]
pub struct ImageFile {
    file: OwnedFd,
    /// The same file past the page cache, where the filesystem has that.
    direct: Option<OwnedFd>,
    folder: Arc<dyn Folder>,
    path: PathBuf,
    part: OsString,
    size: u64,
    force: bool,
    published: bool,
}

impl ImageFile {
    /// Of `size` bytes. Fails with [`ErrorKind::Refused`] under /dev, and without `force` if `path`
    /// or `PATH.part` exists already; with it a regular file there is replaced when this one is published,
    /// and a `PATH.part` that nobody is writing at once.
    pub fn create(files: &dyn Files, path: &Path, size: u64, force: bool) -> Result<Self> {
        let refused = |what: &str| Err(Error::new(ErrorKind::Refused, format!("{}: {what}", path.display())));
        let failed = |errno: Errno| write_error(errno, format!("making {}", path.display()));
        let Some(name) = path.file_name() else {
            return refused("no file name");
        };
        // Its folder, not the file: a link that has the name is not followed.
        let folder = match files.find(folder_of(path)).map_err(|error| failed(errno(&error)))? {
            Found::Folder(folder) => folder,
            Found::File(..) => return Err(failed(Errno::NOTDIR)),
            Found::Nothing(..) => return Err(failed(Errno::NOENT)),
        };
        if folder.path().starts_with("/dev") {
            return refused("no file is made under /dev");
        }
        if folder.has(name).map_err(|error| failed(errno(&error)))? {
            if !force {
                return refused("already exists; --force replaces it");
            }
            if folder.open(name, How::Read).is_err_and(|error| errno(&error) == Errno::NXIO) {
                return refused("is no regular file");
            }
        }
        let mut part = name.to_owned();
        part.push(".part");
        if force {
            clear_away(&*folder, &part).map_err(|error| error.context(path.display()))?;
        }
        let file = match folder.open(&part, How::Make) {
            Err(error) if errno(&error) == Errno::EXIST => {
                return refused(".part already exists, of a restore that was cut off; --force replaces it");
            }
            opened => opened.map_err(|error| failed(errno(&error)))?,
        };
        lock(&file).map_err(failed)?;
        let direct = open_direct(&*folder, &part, &file);
        let path = folder.path().join(name);
        let image = Self { file, direct, folder, path, part, size, force, published: false };
        fs::ftruncate(&image.file, size).map_err(|errno| image.failed(errno))?;
        Ok(image)
    }

    /// Makes it durable and gives it its name. Without `force` this fails with [`ErrorKind::Refused`] if
    /// something has that name by now.
    pub fn publish(mut self) -> Result<()> {
        fs::fsync(&self.file).map_err(|errno| self.failed(errno))?;
        let name = self.path.file_name().unwrap_or_default();
        if self.force {
            let renamed = self.folder.rename(&self.part, name, true);
            renamed.map_err(|error| self.failed(errno(&error)))?;
        } else {
            rename_new(&*self.folder, &self.part, name)?;
        }
        self.published = true;
        sync_folder(&*self.folder)
    }

    fn failed(&self, errno: Errno) -> Error {
        write_error(errno, format!("writing {}", self.path.display()))
    }

    /// The file past the page cache, if it takes this.
    fn direct(&self, offset: u64, bytes: &[u8]) -> Option<&OwnedFd> {
        let fits = offset.is_multiple_of(PAGE as u64)
            && bytes.len().is_multiple_of(PAGE)
            && bytes.as_ptr().align_offset(PAGE) == 0;
        self.direct.as_ref().filter(|_| fits)
    }

    fn pread(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        if let Some(direct) = self.direct(offset, buf) {
            match io::pread(direct, &mut *buf, offset) {
                Err(Errno::INVAL) => {} // some filesystems refuse only here
                done => return done,
            }
        }
        io::pread(&self.file, buf, offset)
    }

    fn pwrite(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        match self.direct(offset, bytes).map(|direct| io::pwrite(direct, bytes, offset)) {
            None | Some(Err(Errno::INVAL)) => io::pwrite(&self.file, bytes, offset),
            Some(done) => done,
        }
    }

    /// For filesystems without holes.
    fn put_zeroes(&self, range: ByteRange) -> Result<()> {
        let zeroes = vec![0; ZEROES];
        let mut pieces = range.pieces(ZEROES as u64);
        pieces.try_for_each(|piece| self.write_at(piece.start(), &zeroes[piece.index(piece.start())]))
    }

    /// Where the next data or hole begins at or behind `offset`.
    fn seek(&self, to: SeekFrom) -> io::Result<u64> {
        match fs::seek(&self.file, to) {
            // Nothing but a hole up to the end.
            Err(Errno::NXIO) => Ok(self.size),
            found => found,
        }
    }
}

/// Opens `part`, which is `file`, again.
fn open_direct(folder: &dyn Folder, part: &OsStr, file: &OwnedFd) -> Option<OwnedFd> {
    let direct = folder.open(part, How::WriteDirect).ok()?;
    let (this, other) = (fs::fstat(file).ok()?, fs::fstat(&direct).ok()?);
    ((this.st_dev, this.st_ino) == (other.st_dev, other.st_ino)).then_some(direct)
}

/// Removes the `.part` of a restore that was cut off.
fn clear_away(folder: &dyn Folder, part: &OsStr) -> Result<()> {
    let refused = |words: &str| Err(Error::new(ErrorKind::Refused, words));
    // To ask for its lock.
    let file = match folder.open(part, How::Read) {
        Err(error) => match errno(&error) {
            Errno::NOENT => return Ok(()),
            Errno::NXIO => return refused(".part is no regular file"),
            errno => return Err(write_error(errno, ".part")),
        },
        Ok(file) => file,
    };
    match lock(&file) {
        Err(Errno::WOULDBLOCK) => refused(".part is being written by another restore"),
        _ => folder.remove(part).map_err(|error| write_error(errno(&error), ".part")),
    }
}

/// So that others see that it is being written. Where there are no locks, O_EXCL has to do.
fn lock(file: &OwnedFd) -> io::Result<()> {
    match fs::flock(file, FlockOperation::NonBlockingLockExclusive) {
        Err(Errno::NOTSUP | Errno::NOSYS | Errno::NOLCK) => Ok(()),
        locked => locked,
    }
}

impl Drop for ImageFile {
    fn drop(&mut self) {
        if !self.published {
            // There is nobody to tell, and what stays is called .part.
            let _ = self.folder.remove(&self.part);
        }
    }
}

impl ReadAt for ImageFile {
    fn size(&self) -> u64 {
        self.size
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<()> {
        let range = ByteRange::within(self.size, offset, buf.len() as u64)?;
        read_exact(&self.path, range, buf, |buf, at| io::retry_on_intr(|| self.pread(&mut *buf, at)))
    }

    fn extent_at(&self, offset: u64) -> Result<Extent> {
        let left = self.size.saturating_sub(offset).max(1);
        let rest = ByteRange::within(self.size, offset, left)?;
        let failed = |errno: Errno| Error::io(errno.into(), format!("reading {}", self.path.display()));
        let data = self.seek(SeekFrom::Data(offset)).map_err(failed)?;
        let (end, kind) = if data > offset {
            (data, ExtentKind::Zero)
        } else {
            (self.seek(SeekFrom::Hole(offset)).map_err(failed)?, ExtentKind::Data)
        };
        // What others write meanwhile may move a hole below `offset`: one byte is always told.
        Ok(Extent { range: rest.intersect(ByteRange::span(offset, end.max(offset + 1))), kind })
    }

    fn concurrency(&self) -> usize {
        4
    }
}

impl WriteAt for ImageFile {
    fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<()> {
        let range = ByteRange::within(self.size, offset, bytes.len() as u64)?;
        let mut left = bytes;
        while !left.is_empty() {
            let at = range.end() - left.len() as u64;
            match io::retry_on_intr(|| self.pwrite(left, at)) {
                Ok(0) => return Err(self.failed(Errno::NOSPC)),
                Ok(written) => left = &left[written..],
                Err(errno) => return Err(self.failed(errno).with_range(ByteRange::span(at, range.end()))),
            }
        }
        Ok(())
    }

    fn write_zeroes(&self, range: ByteRange) -> Result<()> {
        ByteRange::within(self.size, range.start(), range.len())?;
        if range.is_empty() {
            return Ok(());
        }
        let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        match io::retry_on_intr(|| fs::fallocate(&self.file, flags, range.start(), range.len())) {
            Ok(()) => Ok(()),
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => self.put_zeroes(range),
            Err(errno) => Err(self.failed(errno).with_range(range)),
        }
    }

    fn sync(&self) -> Result<()> {
        fs::fdatasync(&self.file).map_err(|errno| self.failed(errno))?;
        // So that all that is read back comes from the disk; only advice.
        let _ = fs::fadvise(&self.file, 0, None, Advice::DontNeed);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::LocalFiles;
    use block::Buf;
    use proptest::prelude::*;

    const MIB: u64 = 1 << 20;

    fn create(path: &Path, size: u64, force: bool) -> Result<ImageFile> {
        ImageFile::create(&LocalFiles::default(), path, size, force)
    }

    fn kind<T>(result: Result<T>) -> ErrorKind {
        result.map(drop).unwrap_err().kind()
    }

    #[test]
    fn has_its_name_when_it_is_published() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.img");
        let image = create(&path, 5000, false).unwrap();
        assert!(!path.exists() && dir.path().join("a.img.part").exists());
        assert_eq!(kind(create(&path, 1, false)), ErrorKind::Refused);
        image.write_at(4090, &[7; 910]).unwrap();
        assert_eq!(kind(image.write_at(4091, &[7; 910])), ErrorKind::OutOfRange);
        image.write_zeroes(ByteRange::span(4095, 4097)).unwrap();
        assert_eq!(kind(image.write_zeroes(ByteRange::span(4999, 5001))), ErrorKind::OutOfRange);
        image.sync().unwrap();
        image.publish().unwrap();
        let mut want = vec![0; 4090];
        want.extend([7; 5]);
        want.extend([0; 2]);
        want.extend([7; 903]);
        assert!(std::fs::read(&path).unwrap() == want);
        assert!(!dir.path().join("a.img.part").exists());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn what_was_written_comes_back_past_the_cache_or_through_it(
            writes in proptest::collection::vec((0..64_u64, 0..3_u64, 1..9_usize, 0..2_usize), 1..12),
        ) {
            const SIZE: usize = 80 * PAGE + 77;
            let dir = tempfile::tempdir().unwrap();
            let image = create(&dir.path().join("a"), SIZE as u64, false).unwrap();
            let mut model = vec![0; SIZE];
            for (number, (page, odd, pages, cut)) in (1_u8..).zip(writes) {
                // Aligned, odd by its offset, odd by its length.
                let offset = page * PAGE as u64 + odd * 512;
                let mut bytes = Buf::with_capacity(pages * PAGE);
                let bytes = &mut bytes.grow(pages * PAGE).unwrap()[cut..];
                bytes.fill(number);
                image.write_at(offset, bytes).unwrap();
                let range = ByteRange::new(offset, bytes.len() as u64).unwrap();
                model[range.index(0)].copy_from_slice(bytes);
                let mut back = Buf::with_capacity(pages * PAGE);
                let back = &mut back.grow(pages * PAGE).unwrap()[cut..];
                image.read_at(offset, back).unwrap();
                prop_assert!(back == bytes);
            }
            let mut all = Buf::with_capacity(SIZE);
            image.read_at(0, all.grow(SIZE).unwrap()).unwrap();
            prop_assert!(all[..] == model[..]);
            image.sync().unwrap();
            image.publish().unwrap();
            prop_assert!(std::fs::read(dir.path().join("a")).unwrap() == model);
        }
    }

    #[test]
    fn one_that_is_given_up_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        drop(create(&dir.path().join("a"), 5000, false).unwrap());
        assert_eq!(dir.path().read_dir().unwrap().count(), 0);
    }

    #[test]
    fn replaces_only_by_force() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        create(&path, 1, false).unwrap().publish().unwrap();
        assert_eq!(kind(create(&path, 2, false)), ErrorKind::Refused);
        create(&path, 2, true).unwrap().publish().unwrap();
        assert_eq!(path.metadata().unwrap().len(), 2);

        let part = dir.path().join("a.part");
        std::os::unix::fs::symlink("nowhere", &part).unwrap();
        assert!(create(&path, 3, true).is_err(), "a link is not followed");
        std::fs::remove_file(&part).unwrap();
        let other = create(&path, 3, true).unwrap();
        assert_eq!(kind(create(&path, 3, true)), ErrorKind::Refused, "it is being written");
        other.write_at(0, b"old").unwrap();
        let left = dir.path().join("left");
        std::fs::rename(&part, &left).unwrap();
        drop(other);
        std::fs::rename(&left, &part).unwrap();
        assert_eq!(kind(create(&path, 3, false)), ErrorKind::Refused);
        create(&path, 3, true).unwrap().publish().unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), [0; 3], "nothing of the old one is left");

        let late = create(&dir.path().join("b"), 1, false).unwrap();
        std::os::unix::fs::symlink("nowhere", dir.path().join("b")).unwrap();
        assert_eq!(kind(late.publish()), ErrorKind::Refused);
        assert_eq!(kind(create(&dir.path().join("b"), 1, true)), ErrorKind::Refused);
        assert!(!dir.path().join("b.part").exists());
    }

    #[test]
    fn nothing_is_made_under_dev() {
        let dir = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink("/dev", dir.path().join("dev")).unwrap();
        for path in [Path::new("/dev/sdzz"), Path::new("/dev/shm/x"), &dir.path().join("dev/sdzz")] {
            assert_eq!(kind(create(path, 1, true)), ErrorKind::Refused, "{}", path.display());
        }
        assert_eq!(kind(create(&dir.path().join("no/x"), 1, false)), ErrorKind::NotFound);
        assert_eq!(kind(create(Path::new("/"), 1, false)), ErrorKind::Refused);
    }

    #[test]
    fn holes_are_told() {
        let dir = tempfile::tempdir().unwrap();
        let image = create(&dir.path().join("a"), 8 * MIB + 5, false).unwrap();
        image.write_at(2 * MIB, &vec![1; 4 << 20]).unwrap();
        image.write_zeroes(ByteRange::span(3 * MIB, 4 * MIB)).unwrap();
        let mut found = Vec::new();
        while let Some(last) = found.last().map_or(Some(0), |last: &Extent| Some(last.range.end())) {
            if last == image.size() {
                break;
            }
            found.push(image.extent_at(last).unwrap());
        }
        let extent = |from: u64, to: u64, kind| Extent { range: ByteRange::span(from * MIB, to * MIB), kind };
        let mut want = vec![
            extent(0, 2, ExtentKind::Zero),
            extent(2, 3, ExtentKind::Data),
            extent(3, 4, ExtentKind::Zero),
            extent(4, 6, ExtentKind::Data),
        ];
        want.push(Extent { range: ByteRange::span(6 * MIB, image.size()), kind: ExtentKind::Zero });
        assert_eq!(found, want);
        assert_eq!(image.extent_at(MIB + 1).unwrap().range, ByteRange::span(MIB + 1, 2 * MIB));
        assert_eq!(kind(image.extent_at(image.size())), ErrorKind::OutOfRange);
    }

    #[test]
    fn written_zeroes_are_as_good() {
        let dir = tempfile::tempdir().unwrap();
        let image = create(&dir.path().join("a"), 4 * MIB, false).unwrap();
        image.write_at(0, &vec![1; 4 << 20]).unwrap();
        image.put_zeroes(ByteRange::span(5, 2 * MIB + 7)).unwrap();
        let mut back = vec![0; 4 << 20];
        image.read_at(0, &mut back).unwrap();
        let first = back.iter().skip(5).position(|byte| *byte != 0).unwrap() as u64;
        assert_eq!((back[4], first), (1, 2 * MIB + 2));
    }
}
