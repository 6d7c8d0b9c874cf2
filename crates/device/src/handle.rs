//! An open block device: what it says of itself, and direct reads of any offset and length.

use crate::Instance;
use crate::sys::ioctl;
use block::{Buf, ByteRange, Error, ErrorKind, ReadAt, Result, SectorSize};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;
use std::path::{Path, PathBuf};

/// Most bytes that go through memory of our own at a time: a multiple of every sector size.
pub(crate) const BOUNCE: u64 = 1 << 20;

/// A disk or partition, open with O_DIRECT: nothing is read from or left in the page cache.
pub struct Handle {
    fd: OwnedFd,
    path: PathBuf,
    size: u64,
    sector: SectorSize,
    instance: Instance,
}

/// How device nodes are opened.
pub(crate) const FLAGS: OFlags = OFlags::DIRECT.union(OFlags::CLOEXEC).union(OFlags::NOCTTY);

/// Opens a device node for reading. `exclusive`: EBUSY if the kernel knows of another user.
#[expect(clippy::disallowed_methods, reason = "only reads")]
pub(crate) fn open(path: &Path, exclusive: bool) -> rustix::io::Result<OwnedFd> {
    let exclusive = if exclusive { OFlags::EXCL } else { OFlags::empty() };
    rustix::fs::open(path, OFlags::RDONLY | FLAGS | exclusive, Mode::empty())
}

impl Handle {
    /// Takes an open descriptor and asks the device what it is. Fails with [`ErrorKind::Usage`] if it is
    /// no block device.
    pub(crate) fn new(fd: OwnedFd, path: &Path) -> Result<Self> {
        let asking = |error: Errno| Error::io(error.into(), format!("asking {}", path.display()));
        let instance = instance_of(&fd, path)?;
        let size = ioctl::size(&fd).map_err(asking)?;
        let bytes = ioctl::sector(&fd).map_err(asking)?;
        let sector =
            SectorSize::new(bytes).filter(|sector| size.is_multiple_of(sector.bytes())).ok_or_else(|| {
                let what = format!("{}: {size} bytes in sectors of {bytes}", path.display());
                Error::new(ErrorKind::Unsupported, what)
            })?;
        Ok(Self { fd, path: path.to_owned(), size, sector, instance })
    }

    /// Which attachment it was when it was opened.
    pub fn instance(&self) -> Instance {
        self.instance
    }

    /// Bytes of a logical sector.
    pub fn sector(&self) -> SectorSize {
        self.sector
    }

    /// Bytes that the drive writes at once, a multiple of [`Handle::sector`].
    pub fn physical_sector(&self) -> Result<u32> {
        ioctl::physical_sector(&self.fd).map_err(|error| self.failed(error, None, "asking"))
    }

    /// The kernel or the drive refuses writes.
    pub fn read_only(&self) -> Result<bool> {
        ioctl::read_only(&self.fd).map_err(|error| self.failed(error, None, "asking"))
    }

    /// The node that was opened.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// For the calls that only some users of a handle make, and to be sent to another process.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// Fails with [`ErrorKind::Gone`] unless it is still the device that `shown` tells of.
    pub(crate) fn must_be(&self, shown: Instance) -> Result<()> {
        if instance_of(&self.fd, &self.path)? == shown {
            return Ok(());
        }
        Err(Error::new(ErrorKind::Gone, format!("{}: another disk took its place", self.path.display())))
    }

    /// The error of a failed call. A device that went away answers with many an errno, so it is asked
    /// whether it is still there before a sector is called bad.
    pub(crate) fn failed(&self, error: Errno, range: Option<ByteRange>, doing: &str) -> Error {
        let is_there = ioctl::size(&self.fd) == Ok(self.size) && self.must_be(self.instance).is_ok();
        let context = format!("{doing} {}", self.path.display());
        let error = if is_gone(error) || !is_there {
            Error::io(error.into(), context + ": the device is gone").with_kind(ErrorKind::Gone)
        } else {
            Error::io(error.into(), context)
        };
        range.into_iter().fold(error, Error::with_range)
    }

    /// Is a direct transfer between this place and this memory possible? The kernel asks for whole
    /// sectors, and before Linux 6.0 for memory aligned to them too.
    pub(crate) fn is_direct(&self, offset: u64, bytes: &[u8]) -> bool {
        let sector = self.sector.bytes();
        offset.is_multiple_of(sector)
            && (bytes.len() as u64).is_multiple_of(sector)
            && usize::try_from(sector).is_ok_and(|sector| bytes.as_ptr().align_offset(sector) == 0)
    }

    /// The whole sectors that `range` touches.
    pub(crate) fn sectors(&self, range: ByteRange) -> ByteRange {
        let sector = self.sector.bytes();
        ByteRange::span(range.start() - range.start() % sector, range.end().next_multiple_of(sector))
    }

    /// Whole sectors into aligned memory. `want` is what the caller asked for, for the error.
    pub(crate) fn read_direct(&self, offset: u64, bytes: &mut [u8], want: ByteRange) -> Result<()> {
        let (mut at, mut rest) = (offset, bytes);
        while !rest.is_empty() {
            match rustix::io::pread(&self.fd, &mut *rest, at) {
                Err(Errno::INTR) => {}
                Err(error) => return Err(self.failed(error, Some(want), "reading")),
                // A drive that was pulled answers like the end of a file.
                Ok(0) => return Err(self.failed(Errno::NXIO, Some(want), "reading")),
                Ok(count) => {
                    at += count as u64;
                    rest = rest.get_mut(count..).unwrap_or_default();
                }
            }
        }
        Ok(())
    }
}

impl ReadAt for Handle {
    fn size(&self) -> u64 {
        self.size
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<()> {
        let want = ByteRange::within(self.size, offset, buf.len() as u64)?;
        if self.is_direct(offset, buf) {
            return self.read_direct(offset, buf, want);
        }
        for piece in self.sectors(want).pieces(BOUNCE) {
            let mine = piece.intersect(want);
            let mut bounce = bounce(piece);
            self.read_direct(piece.start(), &mut bounce, mine)?;
            buf[mine.index(offset)].copy_from_slice(&bounce[mine.index(piece.start())]);
        }
        Ok(())
    }
}

/// Aligned memory, zeroed, for one piece.
pub(crate) fn bounce(piece: ByteRange) -> Buf {
    let len = piece.index(piece.start()).len();
    let mut buf = Buf::with_capacity(len);
    buf.grow(len);
    buf
}

/// An errno that says that a device is gone, whatever it was asked: some drivers say ENOSPC, because
/// the device's size is zero then, and a device is never full.
fn is_gone(error: Errno) -> bool {
    [Errno::NXIO, Errno::NODEV, Errno::NOSPC].contains(&error)
}

/// Number and sequence of an open device, asked now.
fn instance_of(fd: &OwnedFd, path: &Path) -> Result<Instance> {
    let stat = rustix::fs::fstat(fd)
        .map_err(|error| Error::io(error.into(), format!("asking {}", path.display())))?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::BlockDevice {
        return Err(Error::new(ErrorKind::Usage, format!("{} is no block device", path.display())));
    }
    let devno = (rustix::fs::major(stat.st_rdev), rustix::fs::minor(stat.st_rdev));
    // ENOTTY or EINVAL before Linux 5.15: there the number alone must do, here as in sysfs.
    Ok(Instance { devno, diskseq: ioctl::diskseq(fd).unwrap_or(0) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_falls_into_pieces_without_loss() {
        let r = ByteRange::span;
        for range in [r(0, 0), r(512, 1024), r(512, 512 + BOUNCE), r(4096, 3 * BOUNCE + 512)] {
            let list: Vec<_> = range.pieces(BOUNCE).collect();
            assert_eq!(list.iter().map(|piece| piece.len()).sum::<u64>(), range.len());
            assert!(list.iter().all(|piece| !piece.is_empty() && piece.len() <= BOUNCE));
            assert!(list.windows(2).all(|pair| pair[0].end() == pair[1].start()));
            assert_eq!(list.first().map_or(range.start(), |piece| piece.start()), range.start());
        }
    }

    #[test]
    fn these_errnos_mean_gone() {
        assert!([Errno::NXIO, Errno::NODEV, Errno::NOSPC].into_iter().all(is_gone));
        assert!(![Errno::IO, Errno::NODATA, Errno::PERM, Errno::INVAL].into_iter().any(is_gone));
    }

    #[test]
    fn only_block_devices() {
        let fd = std::fs::File::open("/dev/null").unwrap();
        let error = Handle::new(fd.into(), Path::new("/dev/null")).err().unwrap();
        assert_eq!(error.kind(), ErrorKind::Usage, "{error}");
    }

    #[test]
    fn a_bad_sector_and_a_pulled_disk() {
        let file = tempfile::NamedTempFile::new().unwrap();
        file.as_file().set_len(1 << 20).unwrap();
        let Some(device) = testkit::LoopDevice::attach(file.path(), 512) else { return };
        let handle = Handle::new(open(device.path(), false).unwrap(), device.path()).unwrap();
        assert!(rustix::fs::fcntl_getfl(handle.fd()).unwrap().contains(OFlags::DIRECT));

        let errors = [Errno::IO, Errno::NODATA, Errno::PERM, Errno::NOSPC, Errno::NXIO, Errno::NODEV];
        let range = ByteRange::span(512, 1024);
        let kinds = || errors.map(|error| handle.failed(error, Some(range), "reading").kind());
        use ErrorKind::{Gone, Media, Permission};
        assert_eq!(kinds(), [Media, Media, Permission, Gone, Gone, Gone]);
        assert_eq!(handle.failed(Errno::IO, Some(range), "reading").range(), Some(range));

        file.as_file().set_len(0).unwrap();
        let told = std::process::Command::new("losetup").arg("--set-capacity").arg(device.path()).status();
        assert!(told.unwrap().success());
        assert_eq!(kinds(), [Gone; 6]);
    }
}
