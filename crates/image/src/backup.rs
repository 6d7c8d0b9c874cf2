//! A backup that is read: its manifest, its index, its stored files, and the disk that they are.

use crate::frame::Sort;
use crate::index::Index;
use crate::page::Frame;
use crate::reader::{Scratch, check, plain};
use crate::{Encoding, FileInfo, Hex, MANIFEST, MAX_MANIFEST, Manifest, Store, Sums, seek_table, value};
use block::{ByteRange, Concat, Error, ErrorKind, Extent, ExtentKind, ReadAt, Result, Slice, Source};
use sha2::{Digest, Sha256};
use std::path::Path;
use std::sync::Arc;

/// A backup's folder, opened.
pub struct Backup {
    store: Store,
    manifest: Manifest,
    index: Arc<Index>,
}

/// Something that is wrong with a backup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// File of the folder; a stored file by its name without `.000`.
    pub file: String,
    /// Number of the stored file and its plain bytes that are not proved.
    pub plain: Option<(usize, ByteRange)>,
    /// What is wrong, in words.
    pub what: String,
}

/// Bytes of zero frames and seek tables that are read at a time: more than the longest zero frame of a
/// `.zst` has.
const UNREAD: u64 = 1 << 20;

/// Regions that were left out: all absent.
struct LeftOut(u64);

impl ReadAt for LeftOut {
    fn size(&self) -> u64 {
        self.0
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<()> {
        let want = ByteRange::within(self.0, offset, buf.len() as u64)?;
        if want.is_empty() { Ok(()) } else { Err(Error::at(ErrorKind::Absent, want)) }
    }

    fn extent_at(&self, offset: u64) -> Result<Extent> {
        ByteRange::within(self.0, offset, 1)?;
        Ok(Extent { range: ByteRange::span(offset, self.0), kind: ExtentKind::Absent })
    }

    fn concurrency(&self) -> usize {
        usize::MAX
    }
}

/// Of a file that a backup must have: where it is not, the backup is damaged.
fn must_be_there(error: Error) -> Error {
    if error.kind() == ErrorKind::NotFound { error.with_kind(ErrorKind::Corrupt) } else { error }
}

impl Backup {
    /// Opens a finished backup. Its manifest must be the one that SHA256SUMS tells of, its index
    /// directory the one that the manifest tells of.
    pub fn open(path: &Path) -> Result<Self> {
        Self::of(Store::open(path)?)
    }

    /// The same of a folder that is open already.
    pub fn of(store: Store) -> Result<Self> {
        store.must_be_finished()?;
        let json = store.read_small(MANIFEST, MAX_MANIFEST)?;
        let manifest = Manifest::parse(&json)?;
        let sums = Sums::parse(&store.read_small(Sums::NAME, Sums::MAX).map_err(must_be_there)?)?;
        if sums.get(MANIFEST) != Some(Hex(Sha256::digest(&json).into())) {
            let words = "manifest.json is not the one that SHA256SUMS tells of";
            return Err(Error::new(ErrorKind::Corrupt, words));
        }
        Self::in_making(store, manifest)
    }

    /// A backup whose manifest is finished but not yet written.
    pub fn in_making(store: Store, manifest: Manifest) -> Result<Self> {
        let index = store.open_read(&manifest.index.name, false).map_err(must_be_there)?;
        let index = Arc::new(Index::open(index, &manifest)?);
        Ok(Self { store, manifest, index })
    }

    /// Back to its folder.
    pub fn into_parts(self) -> (Store, Manifest) {
        (self.store, self.manifest)
    }

    /// What it says of itself.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Its folder.
    pub fn store(&self) -> &Store {
        &self.store
    }

    fn info(&self, number: usize) -> Result<(&FileInfo, u32)> {
        let bug = || Error::new(ErrorKind::Bug, "no such stored file");
        Ok((self.manifest.files.get(number).ok_or_else(bug)?, u32::try_from(number).map_err(|_| bug())?))
    }

    /// The stored bytes of a file, its parts joined. `direct`: past the page cache.
    pub fn stored(&self, number: usize, direct: bool) -> Result<Source> {
        let (info, _) = self.info(number)?;
        let mut parts = vec![];
        for part in &info.parts {
            let source = self.store.open_read(&part.name, direct).map_err(must_be_there)?;
            if source.size() != part.size {
                let words = format!("{} has {} bytes instead of {}", part.name, source.size(), part.size);
                return Err(Error::new(ErrorKind::Corrupt, words));
            }
            parts.push(source);
        }
        match <[Source; 1]>::try_from(parts) {
            Ok([only]) => Ok(only),
            Err(parts) => Ok(Arc::new(Concat::new(parts)?)),
        }
    }

    /// The plain bytes of a stored file, proved frame by frame.
    pub fn file(&self, number: usize) -> Result<Source> {
        plain(&self.manifest, &self.index, number, self.stored(number, false)?)
    }

    /// The disk that was saved.
    pub fn disk(&self) -> Result<Source> {
        let files = (0..self.manifest.files.len()).map(|n| self.file(n)).collect::<Result<Vec<_>>>()?;
        let mut regions: Vec<Source> = vec![];
        for region in &self.manifest.regions {
            regions.push(match region.plain() {
                None => Arc::new(LeftOut(region.length)),
                Some((number, plain)) => {
                    let file = files.get(number).ok_or_else(|| Error::new(ErrorKind::Bug, "no such file"))?;
                    Arc::new(Slice::new(Arc::clone(file), plain)?)
                }
            });
        }
        Ok(Arc::new(Concat::new(regions)?))
    }

    /// Where the frames of a stored file end: behind it is the seek table, if it has one.
    fn frames_end(&self, number: u32) -> Result<(u64, u64)> {
        let last = self.index.last_frame(number)?;
        Ok((last.stored.end(), self.index.count(number)))
    }

    /// The stored bytes of a file in pieces of about `size` bytes that end where frames end; then those
    /// of the seek table. `size` must be a multiple of the grid, and leave room for a frame's headers.
    pub fn pieces(&self, number: usize, size: u64) -> impl Iterator<Item = Result<ByteRange>> + Send + '_ {
        let file = u32::try_from(number).unwrap_or(u32::MAX);
        let info = self.manifest.files.get(number);
        let end = info.map_or(0, FileInfo::stored_size);
        let raw = info.is_some_and(|info| info.encoding == Encoding::Raw);
        let mut frames = self.index.frames_from(file, 0).peekable();
        let mut at = 0;
        std::iter::from_fn(move || {
            if at >= end {
                return None;
            }
            let start = at;
            if raw {
                at = end.min(start + size);
                return Some(Ok(ByteRange::span(start, at)));
            }
            while let Some(frame) = frames.peek() {
                match frame {
                    Ok(frame) if frame.stored.end() - start <= size || start == at => at = frame.stored.end(),
                    Ok(_) => break,
                    Err(_) => {
                        at = end;
                        return frames.next().map(|failed| failed.map(|frame| frame.stored));
                    }
                }
                frames.next();
            }
            if start == at {
                at = end.min(start + size); // behind the frames
            }
            Some(Ok(ByteRange::span(start, at)))
        })
    }

    /// Decodes and proves every frame in one of the [`Backup::pieces`], or compares the seek table.
    pub fn check(
        &self,
        number: usize,
        start: u64,
        bytes: &[u8],
        scratch: &mut Scratch,
    ) -> Result<Vec<Fault>> {
        let (info, file) = self.info(number)?;
        let piece = ByteRange::span(start, start + bytes.len() as u64);
        let mut faults = vec![];
        let fault = |plain: ByteRange, what: String| Fault {
            file: info.name.clone(),
            plain: Some((number, plain)),
            what,
        };
        let mut at = start;
        for frame in self.index.frames_from_stored(file, start)? {
            let frame = match frame {
                Ok(frame) => frame,
                Err(error) => {
                    faults.push(Fault {
                        file: self.manifest.index.name.clone(),
                        plain: None,
                        what: error.to_string(),
                    });
                    return Ok(faults);
                }
            };
            let here = frame.stored.intersect(piece);
            if here.is_empty() {
                break;
            }
            let proved = check(&frame, info.encoding, info.length, &bytes[here.index(start)], scratch);
            if let Err(error) = proved {
                faults.push(fault(frame.plain, error.to_string()));
            }
            at = here.end();
        }
        if at < piece.end() {
            let (frames_end, count) = self.frames_end(file)?;
            let table = ByteRange::span(at, piece.end()).moved(frames_end, 0);
            let want = seek_table::bytes(count, table, |first| self.index.frames_from_number(file, first))?;
            if want != bytes[ByteRange::span(at, piece.end()).index(start)] {
                let what = "the seek table is not that of its frames".to_owned();
                faults.push(Fault { file: info.name.clone(), plain: None, what });
            }
        }
        Ok(faults)
    }

    /// Does the index say that these are the plain bytes of a stored file from `offset` on? Nothing is read
    /// but the index. `false` also for what it cannot decide: pieces of data frames, files that it has not.
    pub fn holds(&self, number: usize, offset: u64, plain: &[u8]) -> Result<bool> {
        let Ok((info, file)) = self.info(number) else { return Ok(false) };
        let want = ByteRange::span(offset, offset.saturating_add(plain.len() as u64));
        let mut at = offset;
        for frame in self.index.frames_from(file, offset) {
            let frame = frame?;
            let here = frame.plain.intersect(want);
            if here.is_empty() {
                break;
            }
            let bytes = &plain[here.index(offset)];
            let same = match frame.digest {
                _ if frame.sort == Sort::Zero => crate::is_zero(bytes),
                Some(digest) if here == frame.plain => value(bytes, here.start(), info.length) == digest,
                _ => false,
            };
            if !same {
                return Ok(false);
            }
            at = here.end();
        }
        Ok(at == want.end())
    }

    /// Checks what reading a stored file by its extents never touches: its zero frames and seek table.
    pub fn check_unread(&self, number: usize) -> Result<Vec<Fault>> {
        let (info, file) = self.info(number)?;
        let stored = self.stored(number, false)?;
        let mut faults = vec![];
        let mut scratch = Scratch::default();
        let mut bytes = vec![];
        let zero = |frame: &Result<Frame>| frame.as_ref().map_or(true, |frame| frame.sort == Sort::Zero);
        let mut check = |range: ByteRange| -> Result<()> {
            range.pieces(UNREAD).try_for_each(|here| {
                bytes.resize(here.index(here.start()).end, 0);
                stored.read_at(here.start(), &mut bytes)?;
                faults.extend(self.check(number, here.start(), &bytes, &mut scratch)?);
                Ok(())
            })
        };
        for frame in self.index.frames_from(file, 0).filter(zero) {
            check(frame?.stored)?;
        }
        check(ByteRange::span(self.frames_end(file)?.0, info.stored_size()))?;
        Ok(faults)
    }

    /// Checks what no read of data frames touches: all pages of the index, and the sizes of the parts.
    pub fn check_structure(&self) -> Vec<Fault> {
        let mut faults = vec![];
        let index = &self.manifest.index.name;
        self.index.check_pages(|error| {
            faults.push(Fault { file: index.clone(), plain: None, what: error.to_string() });
        });
        for (number, info) in self.manifest.files.iter().enumerate() {
            let sized = self.stored(number, false);
            let ends = self.info(number).and_then(|(_, file)| self.frames_end(file));
            let what = match (sized, ends) {
                (Err(error), _) | (_, Err(error)) => error.to_string(),
                (Ok(stored), Ok((end, count))) => {
                    let table = if info.encoding == Encoding::Zst { seek_table::size(count) } else { 0 };
                    if stored.size() == end + table {
                        continue;
                    }
                    "its size is not that of its frames".to_owned()
                }
            };
            faults.push(Fault { file: info.name.clone(), plain: None, what });
        }
        faults
    }
}
