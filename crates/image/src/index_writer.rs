//! Writes the index while a backup is made (FORMAT 5): what a page tells of is durable before it.

use crate::page::{self, Entry, Frame, Kind, MAX_RECORDS, PAGE, Record};
use crate::{Appender, Hex, IndexInfo};
use block::{Error, ErrorKind, Extent, ReadAt, Result};
use std::collections::BTreeMap;

/// Records of one kind that are not written yet, by stored file.
type Waiting<R> = BTreeMap<u32, Vec<R>>;

/// Holds records back until [`IndexWriter::checkpoint`].
pub(crate) struct IndexWriter {
    id: Hex<16>,
    name: String,
    out: Appender,
    frames: Waiting<Frame>,
    extents: Waiting<Extent>,
    waiting: usize,
    directory: Vec<Entry>,
}

impl IndexWriter {
    pub(crate) fn new(id: Hex<16>, name: String, out: Appender) -> Self {
        let (frames, extents) = (Waiting::new(), Waiting::new());
        Self { id, name, out, frames, extents, waiting: 0, directory: vec![] }
    }

    /// The next frame of a file.
    pub(crate) fn frame(&mut self, file: u32, frame: Frame) {
        self.frames.entry(file).or_default().push(frame);
        self.waiting += 1;
    }

    /// The next lost bytes of a file, at their plain offset.
    pub(crate) fn extent(&mut self, file: u32, extent: Extent) {
        let list = self.extents.entry(file).or_default();
        let before = list.len();
        extent.append(list);
        self.waiting += list.len() - before;
    }

    /// Its file.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The frames of a file in order, read back from `index` (the file that is written): of those that
    /// a checkpoint has written.
    pub(crate) fn frames_of<'a>(
        &'a self,
        file: u32,
        index: &'a dyn ReadAt,
    ) -> impl Iterator<Item = Result<Frame>> + 'a {
        let mine = move |entry: &&Entry| entry.kind == Kind::Frames && entry.file == file;
        self.directory.iter().filter(mine).flat_map(move |entry| {
            let mut bytes = vec![0; PAGE];
            let read = index.read_at(u64::from(entry.page) * PAGE as u64, &mut bytes);
            let frames = read.and_then(|()| page::parse::<Frame>(&bytes, self.id, entry.page, Some(file)));
            let (frames, failed) = match frames {
                Ok(frames) => (frames, None),
                Err(error) => (vec![], Some(Err(error))),
            };
            frames.into_iter().map(Ok).chain(failed)
        })
    }

    /// Records that wait for a checkpoint: memory that the caller bounds.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting
    }

    /// Writes all that waits and makes it durable. The bytes that it tells of must be durable already.
    pub(crate) fn checkpoint(&mut self) -> Result<()> {
        let (frames, extents) = (std::mem::take(&mut self.frames), std::mem::take(&mut self.extents));
        self.write(frames)?;
        self.write(extents)?;
        self.waiting = 0;
        self.out.sync()
    }

    fn write<R: Record>(&mut self, waiting: Waiting<R>) -> Result<()> {
        for (file, records) in waiting {
            for records in records.chunks(MAX_RECORDS) {
                let number = self.pages()?;
                let bytes = page::build(self.id, number, Some(file), records);
                let (Some(first), Some(last)) = (records.first(), records.last()) else { continue };
                self.directory.push(Entry {
                    kind: R::KIND,
                    file,
                    plain: block::ByteRange::span(first.plain().start(), last.plain().end()),
                    page: number,
                    records: u16::try_from(records.len()).unwrap_or(u16::MAX),
                    digest: page::digest(&bytes).unwrap_or_default(),
                });
                self.out.append(&bytes)?;
            }
        }
        Ok(())
    }

    /// Pages written so far.
    fn pages(&self) -> Result<u32> {
        let too_many = |_| Error::new(ErrorKind::Bug, "too many index pages");
        u32::try_from(self.out.len() / PAGE as u64).map_err(too_many)
    }

    /// The directory, and what the manifest says of the index.
    pub(crate) fn finish(mut self) -> Result<IndexInfo> {
        self.checkpoint()?;
        let pages = self.pages()?;
        self.directory.sort_by_key(|entry| (entry.kind, entry.file, entry.plain.start()));
        let mut digest = blake3::Hasher::new();
        for entries in self.directory.chunks(MAX_RECORDS) {
            let bytes = page::build(self.id, self.pages()?, None, entries);
            digest.update(&bytes);
            self.out.append(&bytes)?;
        }
        self.out.finish()?;
        let digest = Hex(*digest.finalize().as_bytes());
        Ok(IndexInfo { name: self.name, pages: Some(pages), digest: Some(digest) })
    }
}
