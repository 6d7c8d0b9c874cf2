//! One case: a filesystem with a few places of its metadata changed, and all that reading does with it.

use block::{ByteRange, Error, ErrorKind, Extent, ExtentKind, ReadAt, Result, Source, extents};
use disk::fs::{FileKind, FileSystem};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

/// What changes are made in.
const SECTOR: u64 = 512;
/// Entries after which a walk ends: a damaged filesystem may show any number.
const ENTRIES: u64 = 20_000;
/// Bytes of content after which reading ends.
const CONTENT: u64 = 100 << 20;

/// An image file with some of its sectors changed, that notes which are read.
pub(super) struct Mutated {
    image: File,
    size: u64,
    changed: BTreeMap<u64, Vec<u8>>,
    read: Mutex<Option<BTreeSet<u64>>>,
}

impl Mutated {
    /// Without a change; notes what is read.
    pub(super) fn traced(path: &Path) -> std::io::Result<Self> {
        let image = File::open(path)?;
        let size = image.metadata()?.len();
        Ok(Self { image, size, changed: BTreeMap::new(), read: Mutex::new(Some(BTreeSet::new())) })
    }

    /// With one to twelve changes, in sectors among `metadata`, all decided by `seed`.
    pub(super) fn new(path: &Path, metadata: &[u64], seed: u64) -> std::io::Result<Self> {
        let mut this = Self { read: Mutex::new(None), ..Self::traced(path)? };
        let mut random = Random(seed);
        for _ in 0..=random.below(12) {
            let Some(&sector) =
                usize::try_from(random.below(metadata.len() as u64)).ok().and_then(|n| metadata.get(n))
            else {
                break;
            };
            let mut bytes = match this.changed.remove(&sector) {
                Some(bytes) => bytes,
                None => {
                    let mut bytes = vec![0; 512];
                    let len = usize::try_from((this.size - sector * SECTOR).min(SECTOR)).unwrap_or(0);
                    this.image.read_exact_at(&mut bytes[..len], sector * SECTOR)?;
                    bytes
                }
            };
            random.change(&mut bytes);
            this.changed.insert(sector, bytes);
        }
        Ok(this)
    }

    /// Sectors that were read and are not empty.
    pub(super) fn metadata(&self) -> std::io::Result<Vec<u64>> {
        let read = self.read.lock().unwrap_or_else(PoisonError::into_inner).clone().unwrap_or_default();
        let mut found = vec![];
        let mut bytes = [0; 512];
        for sector in read {
            let len = usize::try_from((self.size - sector * SECTOR).min(SECTOR)).unwrap_or(0);
            self.image.read_exact_at(&mut bytes[..len], sector * SECTOR)?;
            if bytes[..len].iter().any(|byte| *byte != 0) {
                found.push(sector);
            }
        }
        Ok(found)
    }

    /// The changes, to be made in a copy of the file.
    pub(super) fn changes(&self) -> impl Iterator<Item = (u64, &[u8])> {
        self.changed.iter().map(|(sector, bytes)| {
            let len = usize::try_from((self.size - sector * SECTOR).min(SECTOR)).unwrap_or(0);
            (sector * SECTOR, &bytes[..len])
        })
    }
}

impl ReadAt for Mutated {
    fn size(&self) -> u64 {
        self.size
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<()> {
        let range = ByteRange::within(self.size, offset, buf.len() as u64)?;
        self.image.read_exact_at(buf, offset).map_err(|error| Error::io(error, "image"))?;
        let sectors = range.start() / SECTOR..range.end().div_ceil(SECTOR);
        for (sector, bytes) in self.changed.range(sectors.clone()) {
            let place = ByteRange::span(sector * SECTOR, (sector + 1) * SECTOR).intersect(range);
            buf[place.index(offset)].copy_from_slice(&bytes[place.index(sector * SECTOR)]);
        }
        if let Some(read) = &mut *self.read.lock().unwrap_or_else(PoisonError::into_inner) {
            read.extend(sectors);
        }
        Ok(())
    }
}

/// SplitMix64: the same on every machine.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end.max(1)
    }

    /// A bit, a byte, or a field of 2, 4 or 8 bytes with a value that is likely to hurt.
    fn change(&mut self, sector: &mut [u8]) {
        let value = match self.below(6) {
            0 => self.next(),
            1 => 0,
            2 => u64::MAX,
            3 => 1 << self.below(64),
            4 => self.below(300),
            _ => u64::MAX >> self.below(60),
        };
        let len = [1, 1, 2, 4, 8][usize::try_from(self.below(5)).unwrap_or(0)];
        let at = usize::try_from(self.below(SECTOR)).unwrap_or(0) & !(len - 1);
        match self.below(3) {
            0 => sector[at] ^= 1 << self.below(8),
            _ => sector[at..at + len].copy_from_slice(&value.to_le_bytes()[..len]),
        }
    }
}

/// What came of a case.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Outcome {
    /// The reader refused.
    pub(super) refused: bool,
    /// Files and directories that were shown.
    pub(super) entries: u64,
    /// Calls that failed, each with an error.
    pub(super) errors: u64,
}

/// All that reading does. `content`: also of every file.
pub(super) fn run(source: Source, content: bool) -> Outcome {
    let mut outcome = Outcome::default();
    match disk::fs::open(&source) {
        Ok(fs) => walk(&*fs, content, &mut outcome),
        Err(_) => outcome.refused = true,
    }
    deleted(&source, content, &mut outcome);
    match disk::probe::identify(&*source) {
        Ok(Some(found)) => {
            outcome.errors += u64::from(disk::used::used(&*source, &found).is_err());
            outcome.errors += u64::from(disk::used::journal(&*source, &found).is_err());
        }
        Ok(None) => {}
        Err(_) => outcome.errors += 1,
    }
    outcome
}

/// Deleted files, and what is in them.
fn deleted(source: &Source, content: bool, outcome: &mut Outcome) {
    let Ok(found) = disk::deleted::find(source) else { return };
    let mut budget = CONTENT;
    for file in found.files.iter().filter(|_| content) {
        let opened = file.open(source);
        outcome.errors += u64::from(opened.and_then(|opened| read(&*opened, &mut budget)).is_err());
    }
}

fn walk(fs: &dyn FileSystem, content: bool, outcome: &mut Outcome) {
    let mut seen = BTreeSet::from([fs.root()]);
    let mut left = vec![fs.root()];
    let mut budget = CONTENT;
    while let Some(dir) = left.pop() {
        let mut entries = vec![];
        let listed = fs.read_dir(dir, &mut |entry| {
            entries.push(entry);
            Ok((entries.len() as u64) < ENTRIES)
        });
        outcome.errors += u64::from(listed.is_err());
        for entry in entries {
            outcome.entries += 1;
            if outcome.entries > ENTRIES {
                return;
            }
            let Ok(meta) = fs.metadata(entry.node) else {
                outcome.errors += 1;
                continue;
            };
            let extras = [fs.xattrs(entry.node).is_err(), fs.streams(entry.node).is_err()];
            outcome.errors += extras.into_iter().map(u64::from).sum::<u64>();
            match meta.kind {
                FileKind::Directory if seen.insert(entry.node) => left.push(entry.node),
                FileKind::Symlink => outcome.errors += u64::from(fs.read_link(entry.node).is_err()),
                FileKind::File if content => {
                    let file = fs.open(entry.node, None);
                    outcome.errors += u64::from(file.and_then(|file| read(&*file, &mut budget)).is_err());
                }
                _ => {}
            }
        }
    }
}

/// The content of a file, as far as there is budget.
fn read(file: &dyn ReadAt, budget: &mut u64) -> Result<()> {
    let mut buf = vec![0; 1 << 16];
    let mut steps = 0;
    for extent in extents(file, ByteRange::span(0, file.size())) {
        let Extent { range, kind } = extent?;
        steps += 1;
        if steps > ENTRIES {
            return Err(Error::new(ErrorKind::Corrupt, "too many extents"));
        }
        if kind != ExtentKind::Data {
            continue;
        }
        for piece in range.pieces(buf.len() as u64) {
            if *budget < piece.len() {
                return Ok(());
            }
            *budget -= piece.len();
            let len = usize::try_from(piece.len()).unwrap_or(0);
            file.read_at(piece.start(), &mut buf[..len])?;
        }
    }
    Ok(())
}

/// Where the readers of this image look: sectors of metadata, for changes.
pub(super) fn trace(image: &Path) -> crate::Result<Vec<u64>> {
    let traced = Arc::new(Mutated::traced(image)?);
    let outcome = run(Arc::clone(&traced) as Source, false);
    if outcome.refused || outcome.entries < 100 || outcome.errors > 0 {
        return Err(format!("{}: cannot be read as it was made: {outcome:?}", image.display()).into());
    }
    Ok(traced.metadata()?)
}
