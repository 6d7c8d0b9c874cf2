//! A file that only grows, written past the page cache.
//!
//! A save writes more than memory holds and reads none of it before the check at the end, which must not
//! come from the cache either. So whole pages go out with O_DIRECT from one aligned buffer; where the
//! filesystem does not know O_DIRECT they go out without.

use crate::background_sum::BackgroundSum;
use block::{Buf, Error, ErrorKind, Result};
use rustix::fs::{self, OFlags};
use rustix::io::{self, Errno};
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;

/// What O_DIRECT asks of offsets, lengths and addresses, in bytes.
pub(crate) const PAGE: usize = 4096;

/// A file in the making; only a [`crate::Store`] makes one. Each of its errors is final: what was to be
/// written is not all there, and the kernel does not tell twice.
#[derive(Debug)]
pub struct Appender {
    file: OwnedFd,
    path: PathBuf,
    /// What is not written yet, and after [`Appender::sync`] the part of the last page that is.
    buf: Buf,
    /// Offset of the buffer's first byte: a multiple of [`PAGE`].
    start: u64,
    /// Of the bytes before `start`, if it was asked for.
    sum: Option<BackgroundSum>,
    /// O_DIRECT is set.
    direct: bool,
    /// The file ends in a hole, which it does not know yet.
    hole: bool,
    failed: bool,
}

impl Appender {
    /// On an empty file, just made; `path` is for messages. Writes go out in pieces of `buffer` bytes,
    /// made a multiple of the page.
    pub(crate) fn new(file: OwnedFd, path: PathBuf, buffer: usize) -> Self {
        let pages = buffer.max(1).next_multiple_of(PAGE);
        // Asked for behind the open: an open with O_CREAT that fails for O_DIRECT leaves its file behind.
        let direct = set_direct(&file, true).is_ok();
        let buf = Buf::with_capacity(pages);
        Self { file, path, buf, start: 0, sum: None, direct, hole: false, failed: false }
    }

    /// Also sums what is written, from the first byte on.
    pub(crate) fn summed(self) -> Result<Self> {
        Ok(Self { sum: Some(BackgroundSum::new(self.buf.capacity())?), ..self })
    }

    /// Bytes so far, holes included.
    pub fn len(&self) -> u64 {
        self.start + self.buf.len() as u64
    }

    /// Nothing so far.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Adds `bytes` at the end. Not durable before [`Appender::sync`]. Fails with
    /// [`ErrorKind::NoSpace`] when the filesystem is full or takes no file that long.
    pub fn append(&mut self, bytes: &[u8]) -> Result<()> {
        let mut left = bytes;
        while !left.is_empty() {
            let room = self.buf.capacity() - self.buf.len();
            let (now, later) = left.split_at(left.len().min(room));
            if let Some(place) = self.buf.grow(now.len()) {
                place.copy_from_slice(now);
            }
            if self.buf.len() == self.buf.capacity() {
                self.flush()?;
            }
            left = later;
        }
        Ok(())
    }

    /// Adds `len` bytes that read as zeroes. Whole pages become a hole where the filesystem has holes.
    pub fn hole(&mut self, len: u64) -> Result<()> {
        const PAGE: u64 = super::appender::PAGE as u64;
        let (pos, end) = (self.len(), self.len().saturating_add(len));
        let (first, last) = (pos.next_multiple_of(PAGE), end - end % PAGE);
        if first >= last {
            return self.append_zeroes(len);
        }
        self.append_zeroes(first - pos)?;
        self.flush()?;
        if let Some(sum) = &mut self.sum {
            sum.zeroes(last - first)?;
        }
        self.start = last;
        self.hole = true;
        self.append_zeroes(end - last)
    }

    /// Less than two pages of zeroes.
    fn append_zeroes(&mut self, len: u64) -> Result<()> {
        const ZEROES: [u8; 2 * PAGE] = [0; 2 * PAGE];
        let len = usize::try_from(len).ok().filter(|len| *len <= ZEROES.len());
        match len {
            Some(len) => self.append(&ZEROES[..len]),
            None => Err(Error::new(ErrorKind::Bug, "too many zeroes")),
        }
    }

    /// Returns when all that was appended survives a power cut.
    pub fn sync(&mut self) -> Result<()> {
        self.put_all()?;
        if self.hole {
            self.truncate()?;
        }
        let synced = fs::fdatasync(&self.file);
        self.checked(synced)
    }

    /// The file is complete: makes it durable with its length, which is returned, in bytes.
    pub fn finish(self) -> Result<u64> {
        self.finish_summing().map(|(len, _)| len)
    }

    /// The same, with the sum of all its bytes if it was summed: perhaps still under way.
    pub(crate) fn finish_summing(mut self) -> Result<(u64, Option<BackgroundSum>)> {
        self.put_all()?;
        self.truncate()?;
        let synced = fs::fsync(&self.file);
        self.checked(synced)?;
        let len = self.len();
        let Some(mut sum) = self.sum else { return Ok((len, None)) };
        sum.bytes(&mut self.buf)?;
        Ok((len, Some(sum)))
    }

    /// Gives the file the length that it has, a hole at its end included.
    fn truncate(&mut self) -> Result<()> {
        let cut = fs::ftruncate(&self.file, self.len());
        self.checked(cut)?;
        self.hole = false;
        Ok(())
    }

    /// Writes the buffer, whole pages, and empties it.
    fn flush(&mut self) -> Result<()> {
        let len = self.buf.len();
        self.put(0, len)?;
        self.hole &= len == 0;
        self.start += len as u64;
        match &mut self.sum {
            Some(sum) => sum.bytes(&mut self.buf)?,
            None => self.buf.clear(),
        }
        Ok(())
    }

    /// Writes the buffer and keeps its last page if that is not whole: the next write begins there again,
    /// aligned.
    fn put_all(&mut self) -> Result<()> {
        let odd = self.buf.len() % PAGE;
        let whole = self.buf.len() - odd;
        self.put(0, whole)?;
        if odd > 0 {
            let direct = self.direct;
            self.set_direct(false)?;
            self.put(whole, whole + odd)?;
            self.set_direct(direct)?;
        }
        self.hole &= self.buf.is_empty();
        self.start += whole as u64;
        let mut page = [0; PAGE];
        let page = &mut page[..odd];
        page.copy_from_slice(&self.buf[whole..]);
        self.buf.truncate(whole);
        match &mut self.sum {
            Some(sum) if whole > 0 => sum.bytes(&mut self.buf)?,
            _ => self.buf.clear(),
        }
        match self.buf.grow(odd) {
            Some(place) => place.copy_from_slice(page),
            None => return Err(Error::new(ErrorKind::Bug, "a page does not fit in the buffer")),
        }
        Ok(())
    }

    /// Writes the bytes `from..to` of the buffer to their place.
    fn put(&mut self, mut from: usize, to: usize) -> Result<()> {
        while from < to {
            match io::pwrite(&self.file, &self.buf[from..to], self.start + from as u64) {
                Err(Errno::INTR) => {}
                Err(Errno::INVAL) if self.direct => self.set_direct(false)?,
                Ok(0) => return self.checked(Err(Errno::NOSPC)),
                Ok(written) => from += written,
                Err(errno) => return self.checked(Err(errno)),
            }
        }
        self.checked(Ok(()))
    }

    fn set_direct(&mut self, direct: bool) -> Result<()> {
        if self.direct != direct {
            let set = set_direct(&self.file, direct);
            self.checked(set)?;
            self.direct = direct;
        }
        Ok(())
    }

    /// The outcome of a system call, and that of all before it.
    fn checked(&mut self, outcome: io::Result<()>) -> Result<()> {
        if self.failed {
            let words = format!("writing {}: failed before", self.path.display());
            return Err(Error::new(ErrorKind::Io, words));
        }
        outcome.map_err(|errno| {
            self.failed = true;
            write_error(errno, format!("writing {}", self.path.display()))
        })
    }
}

/// O_DIRECT on or off for later reads and writes; EINVAL where the filesystem does not know it.
pub(crate) fn set_direct(file: impl AsFd, direct: bool) -> io::Result<()> {
    let mut flags = fs::fcntl_getfl(&file)?;
    flags.set(OFlags::DIRECT, direct);
    fs::fcntl_setfl(&file, flags)
}

/// A failed write. EIO is not [`ErrorKind::Media`] here, which says that a source has a bad sector.
pub(crate) fn write_error(errno: Errno, context: impl Into<String>) -> Error {
    let mut context = context.into();
    if errno == Errno::ROFS {
        context.push_str(": the filesystem became read-only, its disk may be gone or failing");
    }
    let error = Error::io(errno.into(), context);
    if error.kind() == ErrorKind::Media { error.with_kind(ErrorKind::Io) } else { error }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Hex, LocalFiles, Store};
    use proptest::prelude::*;
    use sha2::{Digest, Sha256};

    fn store() -> (tempfile::TempDir, Store) {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::create(&LocalFiles::default(), dir.path(), "x").unwrap();
        (dir, store)
    }

    #[derive(Clone, Debug)]
    enum Step {
        Bytes(usize),
        Hole(u64),
        Sync,
    }

    fn step() -> impl Strategy<Value = Step> {
        let lengths = prop_oneof![0..40_000_usize, (0..9_usize).prop_map(|pages| pages * 4096)];
        prop_oneof![
            3 => lengths.clone().prop_map(Step::Bytes),
            1 => lengths.prop_map(|len| Step::Hole(len as u64)),
            1 => Just(Step::Sync),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        #[test]
        fn the_file_is_what_was_appended(
            steps in proptest::collection::vec(step(), 0..20), buffer in 1..40_000_usize, direct: bool,
        ) {
            let (_dir, store) = store();
            let mut file = store.append("f", buffer).unwrap().summed().unwrap();
            if !direct {
                file.set_direct(false).unwrap();
            }
            let mut model = Vec::new();
            for (number, step) in (1_u8..).zip(steps) {
                match step {
                    Step::Bytes(len) => {
                        file.append(&vec![number; len]).unwrap();
                        model.resize(model.len() + len, number);
                    }
                    Step::Hole(len) => {
                        file.hole(len).unwrap();
                        model.resize(model.len() + usize::try_from(len).unwrap(), 0);
                    }
                    Step::Sync => {
                        file.sync().unwrap();
                        prop_assert!(std::fs::read(store.path().join("f")).unwrap() == model);
                    }
                }
                prop_assert_eq!(file.len(), model.len() as u64);
            }
            let sum = Hex(Sha256::digest(&model).into());
            let (len, summed) = file.finish_summing().unwrap();
            prop_assert_eq!((len, summed.unwrap().finish().unwrap()), (model.len() as u64, sum));
            prop_assert!(std::fs::read(store.path().join("f")).unwrap() == model);
        }
    }

    #[test]
    fn whole_pages_of_a_hole_take_no_room() {
        use std::os::unix::fs::MetadataExt;
        let (_dir, store) = store();
        let mut file = store.append("f", 1 << 16).unwrap();
        file.append(b"x").unwrap();
        file.hole(100 << 20).unwrap();
        assert_eq!(file.finish().unwrap(), (100 << 20) + 1);
        let found = std::fs::metadata(store.path().join("f")).unwrap();
        assert_eq!(found.len(), (100 << 20) + 1);
        assert!(found.blocks() * 512 < 1 << 20, "{} blocks", found.blocks());
    }

    /// /dev/full answers every write with ENOSPC; it has no O_DIRECT either.
    #[test]
    fn the_first_error_is_final_and_names_the_file() {
        #[expect(clippy::disallowed_methods, reason = "a node of the kernel that is always full")]
        let full = fs::open("/dev/full", OFlags::WRONLY, fs::Mode::empty()).unwrap();
        let mut file = Appender::new(full, "/some/folder/x.zst".into(), 4096);
        assert!(file.append(&[1; 4095]).is_ok());
        let error = file.append(&[1; 1]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NoSpace);
        assert!(error.to_string().contains("/some/folder/x.zst"), "{error}");
        assert_eq!(file.sync().unwrap_err().kind(), ErrorKind::Io);
        assert!(file.finish().is_err());
    }
}
