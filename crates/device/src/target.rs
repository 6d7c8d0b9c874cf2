//! The one door to writing a disk: claimed alone, judged on the open handle, held to the end.

use crate::handle::{BOUNCE, FLAGS, Handle, bounce, open};
use crate::permission::who_may;
use crate::sys::ioctl;
use crate::{Facts, Refusal, Usage, Wanted, judge};
use block::{ByteRange, Error, ErrorKind, ReadAt, Result, WriteAt};
use rustix::fd::OwnedFd;
use rustix::fs::{FlockOperation, Mode, OFlags, flock};
use rustix::io::Errno;
use std::path::Path;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::thread::sleep;
use std::time::Duration;

/// How often and at what distance a call is repeated: udev locks and opens a disk that has just been
/// closed, for a moment.
const TRIES: u32 = 20;
const PAUSE: Duration = Duration::from_millis(100);

/// What one BLKZEROOUT zeroes at most: the call cannot be interrupted, and a disk that must be written
/// needs a second or two for this.
const ZERO_OUT: u64 = 256 << 20;

/// A disk or partition that is ours alone to write to: O_EXCL and flock(LOCK_EX) until it is dropped.
pub struct Target {
    handle: Handle,
    /// Held while the sectors at the edges of an odd range are read, changed and written.
    edges: Mutex<()>,
    /// The first failure of `sync`, which the kernel reports once only.
    lost: OnceLock<String>,
}

impl Target {
    /// Opens the device at `path` for writing, alone, and lets `judge` decide on what is found through
    /// that handle: `facts` tells the name, the identity, the ID and the usage; which attachment it is, its
    /// size and whether it can be written are asked of the handle itself.
    ///
    /// `Ok(Err(..))` has all reasons not to write, and nothing was written. Fails with
    /// [`ErrorKind::Permission`], [`ErrorKind::NotFound`] or [`ErrorKind::Gone`] where there is nothing to
    /// judge.
    pub fn claim(
        path: &Path,
        want: &Wanted,
        facts: impl FnOnce(&Handle) -> Result<Facts>,
    ) -> Result<std::result::Result<Self, Vec<Refusal>>> {
        let (fd, not_ours) = match open_for_writing(path) {
            Err(Errno::BUSY) => (open(path, false), Some(Refusal::Busy)),
            Err(Errno::ROFS) => (open(path, false), Some(Refusal::ReadOnly)),
            opened => (opened, None),
        };
        let opening = |error: Errno| {
            let who = if error == Errno::ACCESS { who_may(path) } else { String::new() };
            Error::io(error.into(), format!("opening {} for writing{who}", path.display()))
        };
        let handle = Handle::new(fd.map_err(opening)?, path)?;
        let locked = not_ours.is_some() || lock(&handle)?;

        let told = facts(&handle)?;
        let read_only = told.read_only || handle.read_only()?;
        let now = Facts { instance: handle.instance(), size: handle.size(), read_only, ..told };
        let mut refusals = judge(want, &now);
        match not_ours {
            Some(Refusal::Busy) if is_explained(&now.usage) => {}
            Some(why) if refusals.contains(&why) => {}
            other => refusals.extend(other),
        }
        if !locked {
            refusals.push(Refusal::OpenElsewhere("a program that locked it".into()));
        }
        if !refusals.is_empty() {
            return Ok(Err(refusals));
        }
        // Looking at the facts took time, and a disk may be pulled and another one put in at any moment.
        handle.must_be(want.instance)?;
        Ok(Ok(Self { handle, edges: Mutex::default(), lost: OnceLock::new() }))
    }

    /// A target that another process claimed, by the descriptor that came from it: alone and locked as long
    /// as either process holds it. Nothing is opened here, and nothing judged.
    pub fn received(fd: OwnedFd, path: &Path) -> Result<Self> {
        Ok(Self { handle: Handle::new(fd, path)?, edges: Mutex::default(), lost: OnceLock::new() })
    }

    /// What was claimed.
    pub fn handle(&self) -> &Handle {
        &self.handle
    }

    /// Has the kernel read the partition table again; the error says why it did not.
    pub fn reread_table(&self) -> std::result::Result<(), String> {
        patiently(|| ioctl::reread_table(self.handle.fd())).map_err(|error| match error {
            Errno::BUSY => "a partition is still in use".to_owned(),
            Errno::INVAL => "it is a partition, or a device that has none".to_owned(),
            error => error.to_string(),
        })
    }

    /// The error of a failed write. EIO and ENODATA are no unreadable sector here: there is nothing to rescue
    /// from this disk.
    fn failed(&self, error: Errno, range: Option<ByteRange>, doing: &str) -> Error {
        let error = self.handle.failed(error, range, doing);
        if error.kind() == ErrorKind::Media { error.with_kind(ErrorKind::Io) } else { error }
    }

    /// Flushes, unless that failed before: the kernel would say that all is well the second time.
    fn flush(&self, fsync: impl FnOnce() -> rustix::io::Result<()>) -> Result<()> {
        if let Some(why) = self.lost.get() {
            let what = format!("an earlier flush failed, and what it lost is unknown: {why}");
            return Err(Error::new(ErrorKind::Io, what));
        }
        fsync().map_err(|error| {
            let error = self.failed(error, None, "flushing");
            // Two threads may fail at once; either reason is as good.
            let _kept = self.lost.set(error.to_string());
            error
        })
    }

    /// Whole sectors from aligned memory.
    fn write_direct(&self, offset: u64, bytes: &[u8]) -> Result<()> {
        let range = ByteRange::span(offset, offset + bytes.len() as u64);
        let failed = |error| Err(self.failed(error, Some(range), "writing"));
        let (mut at, mut rest) = (offset, bytes);
        while !rest.is_empty() {
            match rustix::io::pwrite(self.handle.fd(), rest, at) {
                Err(Errno::INTR) => {}
                Err(error) => return failed(error),
                Ok(0) => return failed(Errno::NXIO),
                Ok(count) => {
                    at += count as u64;
                    rest = rest.get(count..).unwrap_or_default();
                }
            }
        }
        Ok(())
    }

    /// Any bytes, through aligned memory; the sectors that they fill in part are read first.
    fn write_odd(&self, want: ByteRange, bytes: &[u8]) -> Result<()> {
        let _alone = self.edges.lock().unwrap_or_else(PoisonError::into_inner);
        for piece in self.handle.sectors(want).pieces(BOUNCE) {
            let mine = piece.intersect(want);
            let mut buf = bounce(piece);
            for outside in piece.minus(mine).into_iter().filter(|outside| !outside.is_empty()) {
                let edge = self.handle.sectors(outside);
                self.handle.read_direct(edge.start(), &mut buf[edge.index(piece.start())], edge)?;
            }
            buf[mine.index(piece.start())].copy_from_slice(&bytes[mine.index(want.start())]);
            self.write_direct(piece.start(), &buf)?;
        }
        Ok(())
    }

    /// Whole sectors, by the drive if it can, else written.
    fn zero_sectors(&self, range: ByteRange) -> Result<()> {
        let mut start = range.start();
        while start < range.end() {
            let piece = ByteRange::span(start, range.end().min(start.saturating_add(ZERO_OUT)));
            match ioctl::zero_out(self.handle.fd(), piece) {
                Ok(()) => start = piece.end(),
                Err(Errno::INTR) => {}
                Err(Errno::OPNOTSUPP | Errno::NOTTY | Errno::INVAL) => {
                    return self.write_zeroed(piece, range);
                }
                Err(error) => return Err(self.failed(error, Some(piece), "zeroing")),
            }
        }
        Ok(())
    }

    /// Zeroes, written from the start of `piece` to the end of `range`.
    fn write_zeroed(&self, piece: ByteRange, range: ByteRange) -> Result<()> {
        let zeroes = bounce(ByteRange::span(0, BOUNCE));
        ByteRange::span(piece.start(), range.end())
            .pieces(BOUNCE)
            .try_for_each(|piece| self.write_direct(piece.start(), &zeroes[piece.index(piece.start())]))
    }
}

/// Alone. Nothing else in selfsame opens a device for writing.
#[expect(clippy::disallowed_methods, reason = "what is opened here is judged by claim before it is written")]
fn open_for_writing(path: &Path) -> rustix::io::Result<OwnedFd> {
    rustix::fs::open(path, OFlags::RDWR | OFlags::EXCL | FLAGS, Mode::empty())
}

/// `false` if another program keeps its lock.
fn lock(handle: &Handle) -> Result<bool> {
    match patiently(|| flock(handle.fd(), FlockOperation::NonBlockingLockExclusive)) {
        Ok(()) => Ok(true),
        Err(Errno::WOULDBLOCK) => Ok(false),
        Err(error) => Err(handle.failed(error, None, "locking")),
    }
}

/// Repeats a call for two seconds while somebody else is in the way.
fn patiently(call: impl Fn() -> rustix::io::Result<()>) -> rustix::io::Result<()> {
    for _ in 1..TRIES {
        match call() {
            Err(Errno::BUSY | Errno::WOULDBLOCK | Errno::INTR) => sleep(PAUSE),
            done => return done,
        }
    }
    call()
}

/// Do these facts say why the kernel does not hand it out alone? A program that merely has it open does
/// not keep the kernel from doing so.
fn is_explained(usage: &Usage) -> bool {
    !(usage.mounted.is_empty() && usage.swap.is_empty() && usage.held_by.is_empty())
}

/// Any number of threads may read at once: each read has its own place and its own memory, and a sector
/// that an odd write changes in part goes to the disk in one write. `concurrency` says 1 all the same, which
/// asks who copies *from* a target to read in order: it may have a moving head.
impl ReadAt for Target {
    fn size(&self) -> u64 {
        self.handle.size()
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<()> {
        self.handle.read_at(offset, buf)
    }
}

impl WriteAt for Target {
    fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<()> {
        let want = ByteRange::within(self.size(), offset, bytes.len() as u64)?;
        if self.handle.is_direct(offset, bytes) {
            self.write_direct(offset, bytes)
        } else {
            self.write_odd(want, bytes)
        }
    }

    fn write_zeroes(&self, range: ByteRange) -> Result<()> {
        let range = ByteRange::within(self.size(), range.start(), range.len())?;
        let sector = self.handle.sector().bytes();
        let start = range.start().next_multiple_of(sector);
        let whole = ByteRange::span(start, range.end() - range.end() % sector);
        if !whole.is_empty() {
            self.zero_sectors(whole)?;
        }
        for odd in range.minus(whole).into_iter().filter(|odd| !odd.is_empty()) {
            self.write_odd(odd, &vec![0; odd.index(odd.start()).len()])?;
        }
        Ok(())
    }

    fn sync(&self) -> Result<()> {
        self.flush(|| rustix::fs::fsync(self.handle.fd()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A device of 1 MiB that nobody judged.
    fn claimed() -> Option<(testkit::LoopDevice, Target)> {
        let file = tempfile::NamedTempFile::new().unwrap();
        file.as_file().set_len(1 << 20).unwrap();
        let device = testkit::LoopDevice::attach(file.path(), 512)?;
        let target = Target::received(open_for_writing(device.path()).unwrap(), device.path()).unwrap();
        Some((device, target))
    }

    #[test]
    fn a_failed_flush_is_final() {
        let Some((_device, target)) = claimed() else { return };
        target.sync().unwrap();
        assert!(target.flush(|| Err(Errno::IO)).is_err());
        let again = target.sync().unwrap_err();
        assert!(again.to_string().contains("an earlier flush failed"), "{again}");
    }

    #[test]
    fn what_cannot_be_written_is_no_unreadable_sector() {
        let Some((_device, target)) = claimed() else { return };
        let kind = |errno| target.failed(errno, None, "writing").kind();
        use ErrorKind::{Gone, Io};
        assert_eq!([Errno::IO, Errno::NODATA, Errno::NODEV].map(kind), [Io, Io, Gone]);
    }

    #[test]
    fn patience_ends() {
        let calls = std::cell::Cell::new(0);
        let after = |n| {
            calls.set(0);
            patiently(|| {
                calls.set(calls.get() + 1);
                if calls.get() > n { Ok(()) } else { Err(Errno::BUSY) }
            })
        };
        assert_eq!((after(0), calls.get()), (Ok(()), 1));
        assert_eq!((after(2), calls.get()), (Ok(()), 3));
        assert_eq!((after(99), calls.get()), (Err(Errno::BUSY), TRIES));
        assert_eq!(patiently(|| Err(Errno::IO)), Err(Errno::IO));
    }
}
