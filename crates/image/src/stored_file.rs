//! A file of a backup, read; past the page cache if asked, so that a check reads what the disk holds.

use crate::appender::{PAGE, set_direct};
use block::{Buf, ByteRange, Error, ErrorKind, ReadAt, Result};
use rustix::fs::{self, Advice};
use rustix::io::{self, Errno};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

/// Bytes that one aligned read moves for a caller whose buffer or offset is not aligned.
const BOUNCE: usize = 1 << 20;

/// An open regular file. Reads only the bytes that were there when it was opened.
pub(crate) struct StoredFile {
    file: OwnedFd,
    path: PathBuf,
    size: u64,
    direct: AtomicBool,
    /// Aligned memory that is not in use just now.
    bounce: Mutex<Vec<Buf>>,
}

impl StoredFile {
    /// Of a regular file of `size` bytes; `path` is for messages.
    pub(crate) fn new(file: OwnedFd, path: PathBuf, size: u64, direct: bool) -> Self {
        let stored =
            Self { file, path, size, direct: AtomicBool::new(false), bounce: Mutex::new(Vec::new()) };
        if direct {
            match set_direct(&stored.file, true) {
                Ok(()) => stored.direct.store(true, Ordering::Relaxed),
                Err(_) => stored.forget_cache(),
            }
        }
        stored
    }

    /// The second best: what the cache holds of the file is dropped, as far as it is clean.
    fn forget_cache(&self) {
        // Only advice: a filesystem that does not take it is read through its cache.
        let _ = fs::fadvise(&self.file, 0, None, Advice::DontNeed);
    }

    /// One read. EINVAL means that this filesystem does not take O_DIRECT after all.
    fn read_once(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        loop {
            match io::pread(&self.file, &mut *buf, offset) {
                Err(Errno::INTR) => {}
                Err(Errno::INVAL) if self.direct.swap(false, Ordering::Relaxed) => {
                    set_direct(&self.file, false)?;
                    self.forget_cache();
                }
                outcome => return outcome,
            }
        }
    }

    /// Reads some bytes at `offset` into the front of `buf`; 0: the file ends there.
    fn read_some(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let fits = offset.is_multiple_of(PAGE as u64)
            && buf.len().is_multiple_of(PAGE)
            && buf.as_ptr().align_offset(PAGE) == 0;
        if fits || !self.direct.load(Ordering::Relaxed) {
            return self.read_once(buf, offset);
        }
        let pool = || self.bounce.lock().unwrap_or_else(PoisonError::into_inner);
        let mut bounce = pool().pop().unwrap_or_else(|| Buf::with_capacity(BOUNCE));
        let copied = self.read_through(&mut bounce, buf, offset);
        pool().push(bounce);
        copied
    }

    /// Reads the pages around `offset` into `bounce` and copies from there.
    fn read_through(&self, bounce: &mut Buf, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let page = offset - offset % PAGE as u64;
        let before = ByteRange::span(page, offset).index(page).len();
        let wanted = (before + buf.len()).next_multiple_of(PAGE).min(BOUNCE);
        bounce.clear();
        let Some(pages) = bounce.grow(wanted) else { return Ok(0) };
        let read = self.read_once(pages, page)?;
        let found = pages.get(before..read).unwrap_or_default();
        let copied = found.len().min(buf.len());
        buf[..copied].copy_from_slice(&found[..copied]);
        Ok(copied)
    }
}

impl ReadAt for StoredFile {
    fn size(&self) -> u64 {
        self.size
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<()> {
        let range = ByteRange::within(self.size, offset, buf.len() as u64)?;
        read_exact(&self.path, range, buf, |buf, offset| self.read_some(buf, offset))
    }
}

/// Fills `buf` with the bytes `range` of the file at `path`, in as many reads as it takes.
pub(crate) fn read_exact(
    path: &Path,
    range: ByteRange,
    buf: &mut [u8],
    mut read: impl FnMut(&mut [u8], u64) -> io::Result<usize>,
) -> Result<()> {
    let mut done = 0;
    while done < buf.len() {
        let left = ByteRange::span(range.start() + done as u64, range.end());
        let words = || format!("reading {}", path.display());
        match read(&mut buf[done..], left.start()) {
            Ok(0) => {
                let words = format!("{}: the file is shorter than it was", words());
                return Err(Error::new(ErrorKind::Corrupt, words).with_range(left));
            }
            Ok(read) => done += read,
            Err(errno) => return Err(Error::io(errno.into(), words()).with_range(left)),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Store;
    use proptest::prelude::*;

    const SIZE: u64 = 3 * (1 << 20) + 777;

    fn content() -> Vec<u8> {
        (0..SIZE).map(|at| (at % 251) as u8).collect()
    }

    fn folder() -> (tempfile::TempDir, Store) {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::create(&crate::LocalFiles::default(), dir.path(), "x").unwrap();
        store.write_small("f", &content()).unwrap();
        (dir, store)
    }

    #[test]
    fn any_offset_and_length_past_the_cache_and_through_it() {
        let (_dir, store) = folder();
        let content = content();
        for direct in [true, false] {
            let source = store.open_read("f", direct).unwrap();
            proptest!(ProptestConfig::with_cases(64), |(a in 0..=SIZE, b in 0..=SIZE)| {
                let range = ByteRange::span(a.min(b), a.max(b));
                let mut buf = vec![0; usize::try_from(range.len()).unwrap()];
                source.read_at(range.start(), &mut buf).unwrap();
                prop_assert!(buf == content[range.index(0)]);
            });
            let mut aligned = Buf::with_capacity(1 << 20);
            source.read_at(4096, aligned.grow(1 << 20).unwrap()).unwrap();
            assert!(aligned[..] == content[4096..][..1 << 20]);
            assert_eq!(source.read_at(SIZE, &mut [0]).unwrap_err().kind(), ErrorKind::OutOfRange);
        }
    }

    #[test]
    fn a_file_that_shrank_is_corrupt_from_there_on() {
        let (_dir, store) = folder();
        for direct in [true, false] {
            let source = store.open_read("f", direct).unwrap();
            let flags = fs::OFlags::WRONLY;
            #[expect(clippy::disallowed_methods, reason = "damages a file on purpose")]
            let file = fs::open(store.path().join("f"), flags, fs::Mode::empty()).unwrap();
            fs::ftruncate(&file, 5000).unwrap();
            let error = source.read_at(0, &mut vec![0; 8192]).unwrap_err();
            assert_eq!(
                (error.kind(), error.range()),
                (ErrorKind::Corrupt, Some(ByteRange::span(5000, 8192)))
            );
            std::fs::remove_file(store.path().join("f")).unwrap();
            store.write_small("f", &content()).unwrap();
        }
    }
}
