//! An image file to read from: raw bytes of a disk in a regular file.

use block::{ByteRange, Error, ErrorKind, Extent, ExtentKind, ReadAt, Result};
use rustix::fd::OwnedFd;
use rustix::fs::{Advice, FileType, FlockOperation, Mode, OFlags, SeekFrom, Stat, fadvise, flock, fstat};
use rustix::io::Errno;
use std::num::NonZeroU64;
use std::path::{Path, PathBuf};

/// What direct reads of files are aligned to, in the file and in memory. More than many filesystems ask
/// for, enough for all.
const ALIGN: usize = 4096;

/// Buffered reads of at least this many bytes are not left in the page cache: they are a copy passing
/// through, while small ones are structures that will be read again.
const LARGE: usize = 128 << 10;

/// A regular file, whose size is that at the time of opening. A shared lock is held.
pub struct FileSource {
    path: PathBuf,
    size: u64,
    buffered: OwnedFd,
    /// Past the page cache, where the filesystem has that.
    direct: Option<OwnedFd>,
}

impl FileSource {
    /// Opens a file for reading. Fails with [`ErrorKind::Refused`] if a program that writes it holds a
    /// lock, and with [`ErrorKind::Usage`] if it is no regular file.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let failed = |error: Errno| Error::io(error.into(), format!("opening {}", path.display()));
        // Not to wait for the other end of a pipe.
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
        #[expect(clippy::disallowed_methods, reason = "only reads")]
        let open = |more| rustix::fs::open(path, flags | more, Mode::empty());

        let buffered = open(OFlags::empty()).map_err(failed)?;
        Self::new(path, buffered, open(OFlags::DIRECT).ok())
    }

    /// Of a file that somebody opened for reading, and again with O_DIRECT where that is possible. Fails as
    /// [`FileSource::open`] does.
    pub fn new(path: &Path, buffered: OwnedFd, direct: Option<OwnedFd>) -> Result<Self> {
        let failed = |error: Errno| Error::io(error.into(), format!("opening {}", path.display()));
        let stat = fstat(&buffered).map_err(failed)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(Error::new(ErrorKind::Usage, format!("{} is no regular file", path.display())));
        }
        // A filesystem without locks answers ENOLCK or EOPNOTSUPP: nobody can lock the file then.
        if flock(&buffered, FlockOperation::NonBlockingLockShared) == Err(Errno::WOULDBLOCK) {
            let why = format!("{} is being written by another program: wait for its end", path.display());
            return Err(Error::new(ErrorKind::Refused, why));
        }
        let is_same = |other: Stat| (other.st_dev, other.st_ino) == (stat.st_dev, stat.st_ino);
        let direct = direct.filter(|fd| fstat(fd).is_ok_and(is_same));
        let size = u64::try_from(stat.st_size).unwrap_or(0);
        Ok(Self { path: path.to_owned(), size, buffered, direct })
    }

    /// One read, past the page cache if the place and the memory permit it.
    fn read_some(&self, offset: u64, buf: &mut [u8]) -> rustix::io::Result<usize> {
        let whole = buf.len() - buf.len() % ALIGN;
        let aligned = offset.is_multiple_of(ALIGN as u64) && buf.as_ptr().align_offset(ALIGN) == 0;
        if let (Some(direct), true, Some(pages)) = (&self.direct, aligned && whole > 0, buf.get_mut(..whole))
        {
            match rustix::io::pread(direct, pages, offset) {
                // Some filesystems refuse direct reads only here, or want more alignment than this.
                Err(Errno::INVAL) => {}
                done => return done,
            }
        }
        let count = rustix::io::pread(&self.buffered, &mut *buf, offset)?;
        if let (true, Some(len)) = (count >= LARGE, NonZeroU64::new(count as u64)) {
            // A hint; the data is here whether or not the kernel drops its copy.
            let _hint = fadvise(&self.buffered, offset, Some(len), Advice::DontNeed);
        }
        Ok(count)
    }

    fn truncated(&self, range: ByteRange) -> Error {
        let what = format!("{} was truncated while it was read", self.path.display());
        Error::new(ErrorKind::Gone, what).with_range(range)
    }

    /// Where the next data or the next hole begins, within the file.
    fn next(&self, from: SeekFrom) -> rustix::io::Result<u64> {
        Ok(rustix::fs::seek(&self.buffered, from)?.min(self.size))
    }
}

impl ReadAt for FileSource {
    fn size(&self) -> u64 {
        self.size
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<()> {
        let want = ByteRange::within(self.size, offset, buf.len() as u64)?;
        let (mut at, mut rest) = (offset, buf);
        while !rest.is_empty() {
            let left = ByteRange::span(at, want.end());
            match self.read_some(at, rest) {
                Err(Errno::INTR) => {}
                Err(error) => {
                    let context = format!("reading {}", self.path.display());
                    return Err(Error::io(error.into(), context).with_range(left));
                }
                Ok(0) => return Err(self.truncated(left)),
                Ok(count) => {
                    at += count as u64;
                    rest = rest.get_mut(count..).unwrap_or_default();
                }
            }
        }
        Ok(())
    }

    fn extent_at(&self, offset: u64) -> Result<Extent> {
        let rest = ByteRange::span(offset, self.size);
        ByteRange::within(self.size, offset, 1)?;
        let (kind, end) = match self.next(SeekFrom::Data(offset)) {
            // Nothing but a hole up to the end, or the end came nearer.
            Err(Errno::NXIO) => match fstat(&self.buffered) {
                Ok(stat) if u64::try_from(stat.st_size).is_ok_and(|now| now >= self.size) => {
                    (ExtentKind::Zero, self.size)
                }
                _ => return Err(self.truncated(rest)),
            },
            Ok(data) if data > offset => (ExtentKind::Zero, data),
            Ok(_) => match self.next(SeekFrom::Hole(offset)) {
                Ok(hole) if hole > offset => (ExtentKind::Data, hole),
                // A hole was made between the two questions: reading it will do.
                _ => (ExtentKind::Data, self.size),
            },
            // A filesystem that does not know its holes.
            Err(_) => (ExtentKind::Data, self.size),
        };
        Ok(Extent { range: ByteRange::span(offset, end), kind })
    }

    fn concurrency(&self) -> usize {
        4
    }
}
