//! Reads the index of a finished backup (FORMAT 5): the directory once, pages when they are needed.

use crate::ahead::Ahead;
use crate::cache::{Cache, Key};
use crate::page::{self, Entry, Frame, Kind, MAX_RECORDS, PAGE, Record};
use crate::shape::Shape;
use crate::{Hex, Manifest};
use block::{Buf, ByteRange, Error, ErrorKind, Extent, Result, Source};
use std::sync::Arc;

/// Most record pages of an index: what 2^24 frames a file and frequent checkpoints need, many times over.
const MAX_PAGES: u32 = 1 << 20;

/// The index of a backup. Any number of threads may read.
pub struct Index {
    source: Source,
    id: Hex<16>,
    name: String,
    /// Sorted by kind, file, plain offset.
    directory: Vec<Entry>,
    files: Vec<Shape>,
    cache: Cache,
    ahead: Ahead,
}

impl Index {
    /// Reads the directory and checks that its pages cover every stored file once. `source`: the file.
    /// Fails with [`ErrorKind::Corrupt`] unless it is the one that the manifest tells of.
    pub fn open(source: Source, manifest: &Manifest) -> Result<Self> {
        let name = manifest.index.name.clone();
        let wrong = |what: &str| Error::new(ErrorKind::Corrupt, format!("{name}: {what}"));
        let (Some(pages), Some(digest)) = (manifest.index.pages, manifest.index.digest) else {
            return Err(wrong("the backup is unfinished"));
        };
        let directory = u64::from(pages).div_ceil(MAX_RECORDS as u64);
        if pages > MAX_PAGES || source.size() != (u64::from(pages) + directory) * PAGE as u64 {
            return Err(wrong("its size is not the one in the manifest"));
        }
        let mut index = Self {
            source,
            id: manifest.backup_id,
            directory: vec![],
            files: manifest.files.iter().map(|file| Shape::new(file, manifest.grid)).collect(),
            name: manifest.index.name.clone(),
            cache: Cache::new(manifest.grid),
            ahead: Ahead::default(),
        };
        let mut proof = blake3::Hasher::new();
        let last = pages + u32::try_from(directory).unwrap_or(0);
        for number in pages..last {
            let bytes = index.page(number)?;
            proof.update(&bytes);
            index.directory.extend(page::parse::<Entry>(&bytes, index.id, number, None)?);
        }
        if proof.finalize() != digest.0 {
            return Err(wrong("its directory is not the one in the manifest"));
        }
        index.check_directory(pages).map_err(|what| wrong(&what))?;
        Ok(index)
    }

    /// What reading this backup keeps.
    pub(crate) fn cache(&self) -> &Cache {
        &self.cache
    }

    /// Those who read ahead.
    pub(crate) fn ahead(&self) -> &Ahead {
        &self.ahead
    }

    /// Every record page once, and the frame pages of each file end to end.
    fn check_directory(&self, pages: u32) -> std::result::Result<(), String> {
        let key = |entry: &Entry| (entry.kind, entry.file, entry.plain.start());
        if !self.directory.is_sorted_by_key(key) {
            return Err("its directory is not sorted".to_owned());
        }
        let mut numbers: Vec<u32> = self.directory.iter().map(|entry| entry.page).collect();
        numbers.sort_unstable();
        if !numbers.into_iter().eq(0..pages) {
            return Err("its directory does not list every page once".to_owned());
        }
        let known = |entry: &Entry| usize::try_from(entry.file).is_ok_and(|file| file < self.files.len());
        if !self.directory.iter().all(known) {
            return Err("its directory tells of a stored file that is not there".to_owned());
        }
        for (file, shape) in (0_u32..).zip(&self.files) {
            let mut at = 0;
            for entry in self.entries(Kind::Frames, file) {
                if entry.plain.start() != at {
                    return Err(format!("the pages of stored file {file} leave bytes out"));
                }
                at = entry.plain.end();
            }
            if at != shape.length {
                return Err(format!("the pages of stored file {file} do not cover it"));
            }
            let lost = self.entries(Kind::Extents, file);
            let disjoint = lost.is_sorted_by(|a, b| a.plain.end() <= b.plain.start());
            if !disjoint || lost.last().is_some_and(|last| last.plain.end() > shape.length) {
                return Err(format!("the extents of stored file {file} do not lie in it one by one"));
            }
        }
        Ok(())
    }

    /// The directory's entries of one kind and file, in order of plain offset.
    fn entries(&self, kind: Kind, file: u32) -> &[Entry] {
        let first = self.directory.partition_point(|entry| (entry.kind, entry.file) < (kind, file));
        let last = self.directory.partition_point(|entry| (entry.kind, entry.file) <= (kind, file));
        self.directory.get(first..last).unwrap_or(&[])
    }

    fn page(&self, number: u32) -> Result<Buf> {
        let mut page = Buf::with_capacity(PAGE);
        if let Some(bytes) = page.grow(PAGE) {
            self.source.read_at(u64::from(number) * PAGE as u64, bytes)?;
        }
        Ok(page)
    }

    /// The records of a page, proved by the directory and checked to follow each other.
    fn records<R: Record>(&self, entry: &Entry, ordered: impl Fn(&R, &R) -> bool) -> Result<Vec<R>> {
        let bytes = self.page(entry.page)?;
        if page::digest(&bytes) != Some(entry.digest) {
            return Err(self.wrong(entry, "it is not the one that the directory tells of"));
        }
        let records = page::parse::<R>(&bytes, self.id, entry.page, Some(entry.file))
            .map_err(|error| error.context(&self.name))?;
        let whole = records.first().map(|first| first.plain().start()) == Some(entry.plain.start())
            && records.last().map(|last| last.plain().end()) == Some(entry.plain.end())
            && records.len() == usize::from(entry.records);
        if !whole || !records.windows(2).all(|pair| ordered(&pair[0], &pair[1])) {
            return Err(self.wrong(entry, "its records do not follow each other"));
        }
        Ok(records)
    }

    fn frame_page(&self, entry: &Entry) -> Result<Arc<Vec<Frame>>> {
        let shape = self.shape(entry.file)?;
        self.cache.get(Key::Frames(entry.page), || {
            let frames = self.records(entry, Frame::is_before)?;
            if frames.iter().all(|frame| shape.allows(frame)) {
                return Ok(frames);
            }
            Err(self.wrong(entry, "a frame is impossible"))
        })
    }

    fn extent_page(&self, entry: &Entry) -> Result<Arc<Vec<Extent>>> {
        self.cache.get(Key::Extents(entry.page), || {
            self.records(entry, |a: &Extent, b: &Extent| a.range.end() <= b.range.start())
        })
    }

    fn wrong(&self, entry: &Entry, what: &str) -> Error {
        let words = format!("{}: index page {}: {what}", self.name, entry.page);
        Error::new(ErrorKind::Corrupt, words)
    }

    fn shape(&self, file: u32) -> Result<Shape> {
        let shape = usize::try_from(file).ok().and_then(|file| self.files.get(file));
        shape.copied().ok_or_else(|| Error::new(ErrorKind::Bug, "no such stored file"))
    }

    /// The frames of a file from the one that holds the plain byte at `offset` on, in order: end to end in
    /// the plain and in the stored bytes.
    pub fn frames_from(&self, file: u32, offset: u64) -> impl Iterator<Item = Result<Frame>> + '_ {
        let entries = self.entries(Kind::Frames, file);
        let first = entries.partition_point(|entry| entry.plain.end() <= offset);
        // Where the stored bytes of the next page begin, if that is known: the file's first one at 0.
        let mut stored = (first == 0).then_some(0);
        entries.get(first..).unwrap_or(&[]).iter().flat_map(move |entry| {
            let page = self.frame_page(entry).and_then(|frames| {
                let starts = frames.first().map(|frame| frame.stored.start());
                match stored.is_none() || stored == starts {
                    true => Ok(frames),
                    false => Err(self.wrong(entry, "its frames do not follow those of the page before")),
                }
            });
            let (frames, failed) = match page {
                Ok(frames) => (frames, None),
                Err(error) => (Arc::default(), Some(Err(error))),
            };
            stored = frames.last().map(|frame| frame.stored.end());
            let first = frames.partition_point(|frame| frame.plain.end() <= offset);
            (first..frames.len()).map(move |at| Ok(frames[at])).chain(failed)
        })
    }

    /// The frames of a file from the one that begins at stored byte `offset` on, in order.
    pub fn frames_from_stored(
        &self,
        file: u32,
        offset: u64,
    ) -> Result<impl Iterator<Item = Result<Frame>> + '_> {
        let entries = self.entries(Kind::Frames, file);
        let (mut low, mut high) = (0, entries.len());
        while high - low > 1 {
            let middle = usize::midpoint(low, high);
            let starts = self.frame_page(&entries[middle])?.first().map(|frame| frame.stored.start());
            match starts.is_some_and(|start| start <= offset) {
                true => low = middle,
                false => high = middle,
            }
        }
        let from = entries.get(low).map_or(0, |entry| entry.plain.start());
        Ok(self
            .frames_from(file, from)
            .skip_while(move |frame| frame.as_ref().is_ok_and(|frame| frame.stored.end() <= offset)))
    }

    /// The frames of a file from number `first` on, in order.
    pub(crate) fn frames_from_number(
        &self,
        file: u32,
        first: u64,
    ) -> impl Iterator<Item = Result<Frame>> + '_ {
        let entries = self.entries(Kind::Frames, file);
        let mut before = 0;
        let page = entries.iter().find(|entry| {
            before += u64::from(entry.records);
            before > first
        });
        let skip = page.map_or(0, |page| first - (before - u64::from(page.records)));
        let from = page.map_or(u64::MAX, |page| page.plain.start());
        self.frames_from(file, from).skip(usize::try_from(skip).unwrap_or(usize::MAX))
    }

    /// How many frames a file has.
    pub(crate) fn count(&self, file: u32) -> u64 {
        self.entries(Kind::Frames, file).iter().map(|entry| u64::from(entry.records)).sum()
    }

    /// The last frame of a file.
    pub(crate) fn last_frame(&self, file: u32) -> Result<Frame> {
        let last = self.entries(Kind::Frames, file).last();
        let frames = last.map(|entry| self.frame_page(entry)).transpose()?;
        let last = frames.and_then(|frames| frames.last().copied());
        last.ok_or_else(|| Error::new(ErrorKind::Corrupt, format!("{}: a file without frames", self.name)))
    }

    /// The first bytes of the plain bytes `range` of a file that are lost, cut to it.
    pub fn first_lost(&self, file: u32, range: ByteRange) -> Result<Option<Extent>> {
        let entries = self.entries(Kind::Extents, file);
        let first = entries.partition_point(|entry| entry.plain.end() <= range.start());
        for entry in entries.iter().skip(first).take_while(|entry| entry.plain.start() < range.end()) {
            let extents = self.extent_page(entry)?;
            let at = extents.partition_point(|extent| extent.range.end() <= range.start());
            if let Some(extent) = extents.get(at).filter(|extent| extent.range.overlaps(range)) {
                return Ok(Some(Extent { range: extent.range.intersect(range), ..*extent }));
            }
        }
        Ok(None)
    }

    /// Reads every record page. The first thing that is wrong with each is passed to `fault`.
    pub(crate) fn check_pages(&self, mut fault: impl FnMut(Error)) {
        for (file, _) in (0_u32..).zip(&self.files) {
            self.frames_from(file, 0).filter_map(Result::err).for_each(&mut fault);
            let extents = self.entries(Kind::Extents, file).iter().map(|entry| self.extent_page(entry));
            extents.filter_map(Result::err).for_each(&mut fault);
        }
    }
}
