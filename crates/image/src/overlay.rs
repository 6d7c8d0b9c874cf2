//! Writes that do not touch what is written over: a file that keeps them beside the disk.
//!
//! The file has a header of one page, a map with a bit for each cluster, and a place for each cluster, most of
//! them holes (docs/FORMAT.md, section 10):
//!
//! | bytes | what |
//! |---|---|
//! | 0..32 | `selfsame overlay 1\n` and zeroes |
//! | 32..40 | bytes of the disk, little-endian |
//! | 40..72 | BLAKE3 of the words by which the disk below is known |
//! | 72..104 | BLAKE3 of bytes 0..72 |
//! | 4096.. | the map: bit `n % 8` of byte `n / 8` is set if cluster `n` is here |
//! | behind it, at a multiple of 64 KiB | the clusters, 64 KiB each |
//!
//! A cluster's bytes are durable before its bit: after a power cut what was flushed is there, and of what was not
//! each cluster is old or new.

use crate::appender::write_error;
use crate::folder::errno;
use crate::stored_file::read_exact;
use block::{ByteRange, Error, ErrorKind, Extent, ExtentKind, Folder, How, ReadAt, Result, Source, WriteAt};
use rustix::fs::{self, FallocateFlags, FlockOperation};
use rustix::io::{self, Errno};
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError, RwLock};

const MAGIC: &[u8; 32] = b"selfsame overlay 1\n\0\0\0\0\0\0\0\0\0\0\0\0\0";
/// Bytes of the header, and of a piece of the map that is written as one.
const PAGE: usize = 4096;
/// Bytes of a cluster.
const CLUSTER: u64 = 64 << 10;

/// A disk that can be written, over one that cannot.
pub struct Overlay {
    below: Source,
    file: OwnedFd,
    path: PathBuf,
    /// Where the clusters begin.
    data: u64,
    map: RwLock<Map>,
    /// Held while a cluster comes here.
    coming: Mutex<()>,
    /// Held while it is flushed; the first failure is final.
    flushed: Mutex<Option<String>>,
}

/// Which clusters are here.
struct Map {
    bits: Vec<u8>,
    /// Pages of it that are not in the file yet.
    changed: BTreeSet<usize>,
}

impl Map {
    fn has(&self, cluster: u64) -> bool {
        let byte = usize::try_from(cluster / 8).ok().and_then(|at| self.bits.get(at));
        byte.is_some_and(|byte| byte & (1 << (cluster % 8)) != 0)
    }

    fn add(&mut self, cluster: u64) {
        if let Some((at, byte)) =
            usize::try_from(cluster / 8).ok().and_then(|at| Some((at, self.bits.get_mut(at)?)))
        {
            *byte |= 1 << (cluster % 8);
            self.changed.insert(at / PAGE);
        }
    }
}

impl Overlay {
    /// Opens the overlay `name` in `folder`, or makes it. `below`: the disk; `known_by`: words that no other disk
    /// has.
    ///
    /// Fails with [`ErrorKind::Refused`] if it is of another disk or in use, and with [`ErrorKind::Corrupt`]
    /// if it is none.
    pub fn open(below: Source, known_by: &str, folder: &dyn Folder, name: &OsStr) -> Result<Self> {
        let path = folder.path().join(name);
        let failed =
            |error: std::io::Error| write_error(errno(&error), format!("opening {}", path.display()));
        let file = match folder.open(name, How::Write) {
            Err(error) if errno(&error) == Errno::NOENT => folder.open(name, How::Make).map_err(failed)?,
            opened => opened.map_err(failed)?,
        };
        Self::of(below, known_by, file, path)
    }

    /// The same with a file that is open already; `path` is what it is called in errors.
    pub fn of(below: Source, known_by: &str, file: OwnedFd, path: PathBuf) -> Result<Self> {
        // Where there are no locks, nobody else can be seen.
        if fs::flock(&file, FlockOperation::NonBlockingLockExclusive) == Err(Errno::WOULDBLOCK) {
            return Err(Error::new(ErrorKind::Refused, format!("{} is in use", path.display())));
        }
        let clusters = below.size().div_ceil(CLUSTER);
        let pages = usize::try_from(clusters.div_ceil(8)).unwrap_or(usize::MAX).div_ceil(PAGE);
        let data = ((pages as u64 + 1) * PAGE as u64).next_multiple_of(CLUSTER);
        let map = Map { bits: vec![0; pages * PAGE], changed: BTreeSet::new() };
        let overlay = Self {
            below,
            file,
            path,
            data,
            map: RwLock::new(map),
            coming: Mutex::default(),
            flushed: Mutex::default(),
        };
        overlay.begin(known_by)?;
        Ok(overlay)
    }

    /// Reads header and map, or writes them into a file that is empty.
    fn begin(&self, known_by: &str) -> Result<()> {
        let header = header(self.below.size(), known_by);
        let found = fs::fstat(&self.file).map_err(|errno| self.failed(errno))?;
        let whole = self.data + self.below.size().next_multiple_of(CLUSTER);
        let size = u64::try_from(found.st_size).unwrap_or_default();
        if size == 0 {
            fs::ftruncate(&self.file, whole).map_err(|errno| self.failed(errno))?;
            self.put(0, &header)?;
            return fs::fsync(&self.file).map_err(|errno| self.failed(errno));
        }
        let wrong = |kind, what: &str| Err(Error::new(kind, format!("{}: {what}", self.path.display())));
        if size < PAGE as u64 {
            return wrong(ErrorKind::Corrupt, "is no overlay");
        }
        let mut there = vec![0; PAGE];
        self.get(0, &mut there)?;
        if there[..32] != MAGIC[..] || there[72..104] != *blake3::hash(&there[..72]).as_bytes() {
            return wrong(ErrorKind::Corrupt, "is no overlay");
        }
        if there != header || size != whole {
            return wrong(ErrorKind::Refused, "is the overlay of another disk");
        }
        let mut map = self.map.write().unwrap_or_else(PoisonError::into_inner);
        self.get(PAGE as u64, &mut map.bits)
    }

    fn failed(&self, errno: Errno) -> Error {
        write_error(errno, format!("writing {}", self.path.display()))
    }

    /// Bytes of the file.
    fn get(&self, offset: u64, buf: &mut [u8]) -> Result<()> {
        let range = ByteRange::span(offset, offset + buf.len() as u64);
        read_exact(&self.path, range, buf, |buf, at| {
            io::retry_on_intr(|| io::pread(&self.file, &mut *buf, at))
        })
    }

    fn put(&self, offset: u64, bytes: &[u8]) -> Result<()> {
        let (mut at, mut left) = (offset, bytes);
        while !left.is_empty() {
            match io::retry_on_intr(|| io::pwrite(&self.file, left, at)) {
                Ok(0) => return Err(self.failed(Errno::NOSPC)),
                Ok(written) => {
                    at += written as u64;
                    left = &left[written..];
                }
                Err(errno) => return Err(self.failed(errno)),
            }
        }
        Ok(())
    }

    fn has(&self, cluster: u64) -> bool {
        self.map.read().unwrap_or_else(PoisonError::into_inner).has(cluster)
    }

    /// The bytes of a cluster on the disk; the last one may be short.
    fn cluster(&self, number: u64) -> ByteRange {
        let start = number * CLUSTER;
        ByteRange::span(start, (start + CLUSTER).min(self.below.size()))
    }

    /// Changes a piece of one cluster: `None` to zeroes.
    fn change(&self, piece: ByteRange, bytes: Option<&[u8]>) -> Result<()> {
        let number = piece.start() / CLUSTER;
        if self.has(number) {
            return self.store(piece, bytes);
        }
        let _alone = self.coming.lock().unwrap_or_else(PoisonError::into_inner);
        if !self.has(number) {
            let cluster = self.cluster(number);
            // What is not changed comes along.
            for rest in cluster.minus(piece).into_iter().filter(|rest| !rest.is_empty()) {
                let mut buf = vec![0; rest.index(rest.start()).len()];
                self.below.read_at(rest.start(), &mut buf)?;
                self.store(rest, Some(&buf))?;
            }
            self.store(piece, bytes)?;
            self.map.write().unwrap_or_else(PoisonError::into_inner).add(number);
            return Ok(());
        }
        self.store(piece, bytes)
    }

    fn store(&self, piece: ByteRange, bytes: Option<&[u8]>) -> Result<()> {
        let at = self.data + piece.start();
        if let Some(bytes) = bytes {
            return self.put(at, bytes);
        }
        let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        match io::retry_on_intr(|| fs::fallocate(&self.file, flags, at, piece.len())) {
            Ok(()) => Ok(()),
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => self.put(at, &vec![0; piece.index(piece.start()).len()]),
            Err(errno) => Err(self.failed(errno)),
        }
    }

    /// Calls `each` with the pieces of `range` that lie in one cluster.
    fn by_cluster(&self, range: ByteRange, mut each: impl FnMut(ByteRange) -> Result<()>) -> Result<()> {
        let range = ByteRange::within(self.size(), range.start(), range.len())?;
        let mut left = range;
        while !left.is_empty() {
            let piece = self.cluster(left.start() / CLUSTER).intersect(left);
            each(piece)?;
            left = ByteRange::span(piece.end(), left.end());
        }
        Ok(())
    }

    /// Makes clusters durable, then the bits that tell of them.
    fn flush(&self) -> Result<()> {
        let pages: Vec<(usize, Vec<u8>)> = {
            let mut map = self.map.write().unwrap_or_else(PoisonError::into_inner);
            let changed = std::mem::take(&mut map.changed);
            changed
                .into_iter()
                .map(|page| (page, map.bits[page * PAGE..(page + 1) * PAGE].to_vec()))
                .collect()
        };
        fs::fdatasync(&self.file).map_err(|errno| self.failed(errno))?;
        if pages.is_empty() {
            return Ok(());
        }
        for (page, bytes) in pages {
            self.put((page as u64 + 1) * PAGE as u64, &bytes)?;
        }
        fs::fdatasync(&self.file).map_err(|errno| self.failed(errno))
    }
}

/// Of a disk of `size` bytes.
fn header(size: u64, known_by: &str) -> Vec<u8> {
    let mut header = MAGIC.to_vec();
    header.extend(size.to_le_bytes());
    header.extend(blake3::hash(known_by.as_bytes()).as_bytes());
    header.extend(blake3::hash(&header).as_bytes());
    header.resize(PAGE, 0);
    header
}

impl ReadAt for Overlay {
    fn size(&self) -> u64 {
        self.below.size()
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<()> {
        let range = ByteRange::within(self.size(), offset, buf.len() as u64)?;
        let mut left = range;
        while !left.is_empty() {
            // A run of clusters of one kind.
            let here = self.has(left.start() / CLUSTER);
            let mut end = self.cluster(left.start() / CLUSTER).end();
            while end < left.end() && self.has(end / CLUSTER) == here {
                end = self.cluster(end / CLUSTER).end();
            }
            let run = ByteRange::span(left.start(), end.min(left.end()));
            let bytes = &mut buf[run.index(offset)];
            if here {
                self.get(self.data + run.start(), bytes)?;
            } else {
                self.below.read_at(run.start(), bytes)?;
            }
            left = ByteRange::span(run.end(), left.end());
        }
        Ok(())
    }

    fn extent_at(&self, offset: u64) -> Result<Extent> {
        ByteRange::within(self.size(), offset, 1)?;
        let cluster = self.cluster(offset / CLUSTER);
        if self.has(offset / CLUSTER) {
            return Ok(Extent { range: ByteRange::span(offset, cluster.end()), kind: ExtentKind::Data });
        }
        let below = self.below.extent_at(offset)?;
        let mut end = cluster.end();
        while end < below.range.end() && !self.has(end / CLUSTER) {
            end = self.cluster(end / CLUSTER).end();
        }
        Ok(Extent { range: below.range.intersect(ByteRange::span(offset, end)), kind: below.kind })
    }

    fn concurrency(&self) -> usize {
        self.below.concurrency()
    }

    fn granule(&self) -> u64 {
        self.below.granule().max(CLUSTER)
    }
}

impl WriteAt for Overlay {
    fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<()> {
        let range = ByteRange::within(self.size(), offset, bytes.len() as u64)?;
        self.by_cluster(range, |piece| self.change(piece, bytes.get(piece.index(offset))))
    }

    fn write_zeroes(&self, range: ByteRange) -> Result<()> {
        self.by_cluster(range, |piece| self.change(piece, None))
    }

    fn sync(&self) -> Result<()> {
        let mut flushed = self.flushed.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(why) = &*flushed {
            return Err(Error::new(ErrorKind::Io, format!("an earlier flush failed: {why}")));
        }
        self.flush().inspect_err(|error| *flushed = Some(error.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::LocalFiles;
    use proptest::prelude::*;
    use std::sync::Arc;
    use testkit::{Memory, pattern};

    const SIZE: usize = 5 * 65_536 + 777;

    fn disk() -> Source {
        Arc::new(Memory::new(pattern(SIZE)))
    }

    fn open(dir: &tempfile::TempDir, below: Source, known_by: &str) -> Result<Overlay> {
        Overlay::open(below, known_by, &LocalFiles::default().folder(dir.path()).unwrap(), "o".as_ref())
    }

    fn all(overlay: &Overlay) -> Vec<u8> {
        let mut bytes = vec![0; SIZE];
        overlay.read_at(0, &mut bytes).unwrap();
        bytes
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        #[test]
        fn reads_what_was_written_over_what_was_there(
            writes in prop::collection::vec((0..SIZE, 1..150_000_usize, any::<bool>(), any::<bool>()), 1..10),
        ) {
            let dir = tempfile::tempdir().unwrap();
            let mut model = pattern(SIZE);
            let mut overlay = open(&dir, disk(), "x").unwrap();
            for (number, (start, len, zero, reopened)) in (1_u8..).zip(writes) {
                let end = (start + len).min(SIZE);
                if zero {
                    overlay.write_zeroes(ByteRange::span(start as u64, end as u64)).unwrap();
                    model[start..end].fill(0);
                } else {
                    overlay.write_at(start as u64, &vec![number; end - start]).unwrap();
                    model[start..end].fill(number);
                }
                prop_assert!(all(&overlay) == model);
                if reopened {
                    overlay.sync().unwrap();
                    drop(overlay);
                    overlay = open(&dir, disk(), "x").unwrap();
                    prop_assert!(all(&overlay) == model);
                }
            }
            let told: u64 = block::extents(&overlay, ByteRange::span(0, SIZE as u64)).map(|e| e.unwrap().range.len()).sum();
            prop_assert_eq!(told, SIZE as u64);
        }
    }

    #[test]
    fn only_of_its_own_disk_and_only_once() {
        let dir = tempfile::tempdir().unwrap();
        let kind = |result: Result<Overlay>| result.err().unwrap().kind();
        let overlay = open(&dir, disk(), "x").unwrap();
        assert_eq!(kind(open(&dir, disk(), "x")), ErrorKind::Refused, "in use");
        drop(overlay);
        assert_eq!(kind(open(&dir, disk(), "y")), ErrorKind::Refused);
        let other: Source = Arc::new(Memory::new(pattern(SIZE - 1)));
        assert_eq!(kind(open(&dir, other, "x")), ErrorKind::Refused);
        open(&dir, disk(), "x").unwrap();
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "files that are no overlays")]
    fn what_is_no_overlay_is_refused() {
        for bytes in [vec![1], vec![0; 5000], pattern(9000), [&MAGIC[..], &[7; 5000]].concat()] {
            let dir = tempfile::tempdir().unwrap();
            std::fs::write(dir.path().join("o"), &bytes).unwrap();
            assert_eq!(open(&dir, disk(), "x").err().unwrap().kind(), ErrorKind::Corrupt);
            assert_eq!(std::fs::read(dir.path().join("o")).unwrap(), bytes, "it is left alone");
        }
    }

    #[test]
    fn what_was_not_flushed_is_old_after_a_cut() {
        let dir = tempfile::tempdir().unwrap();
        let overlay = open(&dir, disk(), "x").unwrap();
        overlay.write_at(0, &[9; 100]).unwrap();
        overlay.sync().unwrap();
        overlay.write_at(CLUSTER, &[9; 100]).unwrap();
        drop(overlay);
        let mut want = pattern(SIZE);
        want[..100].fill(9);
        assert!(all(&open(&dir, disk(), "x").unwrap()) == want);
    }

    #[test]
    fn a_cluster_with_a_bad_sector_is_written_whole_or_not_at_all() {
        let bad = ByteRange::span(512, 1024);
        let below = Memory::new(pattern(SIZE)).with(|disk| disk.bad = vec![bad]);
        let dir = tempfile::tempdir().unwrap();
        let overlay = open(&dir, Arc::new(below), "x").unwrap();
        assert_eq!(overlay.write_at(0, &[1; 10]).unwrap_err().kind(), ErrorKind::Media);
        overlay.write_at(0, &vec![1; 65_536]).unwrap();
        let mut back = [0; 1024];
        overlay.read_at(0, &mut back).unwrap();
        assert_eq!(back, [1; 1024]);
    }
}
