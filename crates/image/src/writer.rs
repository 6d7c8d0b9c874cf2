//! The serial half of writing: merges zero frames, appends, keeps the index, makes durable.

use crate::background_sum::FinishedSums;
use crate::encoder::{Cell, Encoded, FrameEncoder, Pool, Shapes};
use crate::frame::{self, Sort};
use crate::index_writer::IndexWriter;
use crate::level::{Level, Pace, Watch};
use crate::page::{Frame, MAX_RECORDS};
use crate::parts::Parts;
use crate::tree::{Node, Tree};
use crate::{Encoding, FileInfo, Hex, IndexInfo, Store, Totals, seek_table};
use block::{Buffer, ByteRange, Error, ErrorKind, Extent, ExtentKind, ExtentMap, Result, Sink};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, PoisonError};

/// What is to be written.
pub struct Spec {
    /// The backup's.
    pub backup_id: Hex<16>,
    /// Name of the index.
    pub index: String,
    /// Where frames begin, in bytes.
    pub grid: u64,
    /// The stored files, as planned: name, encoding, length.
    pub files: Vec<FileInfo>,
    /// How hard zstd works.
    pub level: Level,
    /// Most bytes of a part.
    pub split: Option<u64>,
    /// Hash zeroes too that are known without reading.
    pub hash_known_zeroes: bool,
    /// Counts stored bytes, for those who watch.
    pub stored: Arc<AtomicU64>,
    /// SHA-256 of the parts while they are written: for those who do not read back.
    pub sum_while_writing: bool,
}

/// What was written.
pub struct Written {
    /// The folder, still `.part`.
    pub store: Store,
    /// The stored files, with parts and digests.
    pub files: Vec<FileInfo>,
    /// The index.
    pub index: IndexInfo,
    /// Bytes that came, by kind. What was left out is not among them.
    pub totals: Totals,
    /// Bad and absent bytes, by disk offset.
    pub lost: ExtentMap,
    /// SHA-256 of each part, if asked for.
    pub sums: Vec<(String, Hex<32>)>,
}

/// A run of wholly bad cells longer than this is kept as zero frames (FORMAT 3.1).
const MAX_STORED_BAD: u64 = 64 << 20;
/// Stored bytes between two checkpoints.
const CHECKPOINT: u64 = 1 << 30;
/// Records that may wait for a checkpoint: about 2 MiB.
const MAX_WAITING: usize = 16 * MAX_RECORDS;
/// Buffers for stored bytes that are kept for the next.
const POOLED: usize = 16;

/// A stored file that is being written.
struct Open {
    number: u32,
    encoding: Encoding,
    length: u64,
    parts: Parts,
    tree: Tree,
    frames: u64,
    /// Plain offset of the next frame to be written.
    at: u64,
    /// Zero frames that may still grow: aligned, sizes falling; lost bytes in each.
    zeroes: Vec<(Node, u64)>,
    /// Wholly bad cells that wait for the end of their run.
    bad: ByteRange,
}

/// Writes the stored files and the index of a backup. A [`Sink`].
pub struct Writer {
    store: Store,
    shapes: Arc<Shapes>,
    pool: Pool,
    level: Level,
    pace: Arc<Pace>,
    split: Option<u64>,
    summed: bool,
    files: Vec<FileInfo>,
    open: BTreeMap<usize, Open>,
    index: IndexWriter,
    since_checkpoint: u64,
    totals: Totals,
    lost: ExtentMap,
    sums: FinishedSums,
    stored: Arc<AtomicU64>,
    scratch: Vec<u8>,
}

impl Writer {
    /// Begins in an unfinished folder.
    pub fn create(store: Store, spec: Spec) -> Result<Self> {
        let index = store.append(&spec.index, crate::page::PAGE)?;
        let files = spec.files.iter().map(|file| (file.encoding, file.length)).collect();
        let hash_known_zeroes = spec.hash_known_zeroes;
        Ok(Self {
            shapes: Arc::new(Shapes { grid: spec.grid, hash_known_zeroes, files }),
            pool: Pool::default(),
            level: spec.level,
            pace: Arc::default(),
            split: spec.split,
            summed: spec.sum_while_writing,
            files: spec.files,
            open: BTreeMap::new(),
            index: IndexWriter::new(spec.backup_id, spec.index, index),
            since_checkpoint: 0,
            totals: Totals::default(),
            lost: ExtentMap::default(),
            sums: FinishedSums::default(),
            stored: spec.stored,
            scratch: vec![],
            store,
        })
    }

    fn begin(&self, number: usize) -> Result<Open> {
        let bug = || Error::new(ErrorKind::Bug, "a buffer of no stored file, or of a finished one");
        let info = self.files.get(number).filter(|info| info.parts.is_empty()).ok_or_else(bug)?;
        Ok(Open {
            number: u32::try_from(number).map_err(|_| bug())?,
            encoding: info.encoding,
            length: info.length,
            parts: Parts::new(info.name.clone(), self.split, self.summed),
            tree: Tree::new(info.length),
            frames: 0,
            at: 0,
            zeroes: vec![],
            bad: ByteRange::default(),
        })
    }

    /// Takes one cell of a file, whose plain bytes are `plain` (none of a run).
    fn cell(&mut self, open: &mut Open, cell: &Cell, bytes: &[u8], plain: &[u8]) -> Result<()> {
        let end = cell.node.offset + cell.node.len;
        if cell.all_bad && cell.node.len == self.shapes.grid {
            self.flush_zeroes(open)?;
            let start = if open.bad.is_empty() { cell.node.offset } else { open.bad.start() };
            open.bad = ByteRange::span(start, end);
            return Ok(());
        }
        self.flush_bad(open)?;
        if cell.sort == Sort::Zero {
            return self.zero(open, cell.node, cell.lost);
        }
        self.flush_zeroes(open)?;
        let stored = match open.encoding {
            Encoding::Raw => plain,
            Encoding::Zst => bytes.get(cell.stored.clone()).unwrap_or(&[]),
        };
        self.append(open, cell.node, cell.sort, stored, cell.lost)
    }

    /// Adds a zero frame to those that may still grow.
    fn zero(&mut self, open: &mut Open, mut node: Node, mut lost: u64) -> Result<()> {
        let longest = self.shapes.longest();
        let grows = |left: &Node, right: &Node| left.is_left_of(right) && 2 * left.len <= longest;
        while let Some((left, left_lost)) = open.zeroes.pop_if(|(left, _)| grows(left, &node)) {
            node = Node::parent(&left, &node, open.length);
            lost += left_lost;
        }
        open.zeroes.push((node, lost));
        if open.zeroes.first().is_some_and(|(node, _)| node.len == longest) {
            let (node, lost) = open.zeroes.remove(0);
            self.append_zero(open, node, lost)?;
        }
        Ok(())
    }

    fn flush_zeroes(&mut self, open: &mut Open) -> Result<()> {
        for (node, lost) in std::mem::take(&mut open.zeroes) {
            self.append_zero(open, node, lost)?;
        }
        Ok(())
    }

    /// The run of wholly bad cells has ended: stored cells, or one long nothing.
    fn flush_bad(&mut self, open: &mut Open) -> Result<()> {
        let run = std::mem::take(&mut open.bad);
        if run.len() > MAX_STORED_BAD {
            for cell in run.pieces(self.shapes.grid) {
                self.zero(open, Node { offset: cell.start(), len: cell.len(), value: None }, cell.len())?;
            }
            return self.flush_zeroes(open);
        }
        let plain = vec![0; run.index(run.start()).end.min(usize::try_from(self.shapes.grid).unwrap_or(0))];
        for cell in run.pieces(self.shapes.grid) {
            let value = Some(crate::value(&plain, cell.start(), open.length));
            let node = Node { offset: cell.start(), len: cell.len(), value };
            let mut stored = std::mem::take(&mut self.scratch);
            stored.clear();
            match open.encoding {
                Encoding::Raw => stored.extend_from_slice(&plain),
                Encoding::Zst => frame::encode_stored(&plain, &mut stored),
            }
            self.append(open, node, Sort::Stored, &stored, node.len)?;
            self.scratch = stored;
        }
        Ok(())
    }

    fn append_zero(&mut self, open: &mut Open, node: Node, lost: u64) -> Result<()> {
        if open.encoding == Encoding::Raw {
            let start = open.parts.len();
            open.parts.hole(&self.store, node.len, self.shapes.grid)?;
            return self.record(open, node, Sort::Zero, start, lost);
        }
        let mut stored = std::mem::take(&mut self.scratch);
        stored.clear();
        frame::encode_zero(node.len, &mut stored);
        self.append(open, node, Sort::Zero, &stored, lost)?;
        self.scratch = stored;
        Ok(())
    }

    fn append(&mut self, open: &mut Open, node: Node, sort: Sort, stored: &[u8], lost: u64) -> Result<()> {
        open.parts.append(&self.store, stored)?;
        let start = open.parts.len() - stored.len() as u64;
        self.record(open, node, sort, start, lost)
    }

    /// A frame was appended from stored byte `start` on.
    fn record(&mut self, open: &mut Open, node: Node, sort: Sort, start: u64, lost: u64) -> Result<()> {
        let stored = ByteRange::span(start, open.parts.len());
        if node.offset != open.at {
            return Err(Error::new(ErrorKind::Bug, "the frames of a file do not follow each other"));
        }
        let plain = ByteRange::span(node.offset, node.offset + node.len);
        self.index.frame(open.number, Frame { plain, stored, sort, digest: node.value, partial: lost > 0 });
        open.tree.push(node);
        open.at = plain.end();
        open.frames += 1;
        self.since_checkpoint += stored.len();
        self.stored.fetch_add(stored.len(), Relaxed);
        match sort {
            Sort::Zero => self.totals.zero += node.len - lost,
            _ => self.totals.data += node.len - lost,
        }
        Ok(())
    }

    /// What could not be read or was left out, in the file and on the disk.
    fn extents(&mut self, number: u32, buffer: &Buffer) {
        for (at, extent, _) in buffer.pieces().filter(|(_, extent, _)| extent.kind.is_lost()) {
            self.lost.insert(extent);
            let range = ByteRange::span(at, at + extent.range.len());
            self.index.extent(number, Extent { range, ..extent });
            match extent.kind {
                ExtentKind::Bad => self.totals.bad += range.len(),
                _ => self.totals.absent += range.len(),
            }
        }
    }

    /// First the bytes, then the pages that tell of them.
    fn checkpoint(&mut self) -> Result<()> {
        self.open.values_mut().try_for_each(|open| open.parts.sync())?;
        self.index.checkpoint()?;
        self.since_checkpoint = 0;
        Ok(())
    }

    fn finish_file(&mut self, number: usize, mut open: Open) -> Result<()> {
        self.flush_bad(&mut open)?;
        self.flush_zeroes(&mut open)?;
        open.parts.sync()?;
        self.checkpoint()?;
        if open.encoding == Encoding::Zst {
            let index = self.store.open_read(self.index.name(), false)?;
            let frames = self.index.frames_of(open.number, &*index);
            let (store, parts) = (&self.store, &mut open.parts);
            let size = seek_table::size(open.frames);
            if parts.room().is_some_and(|room| room < size) {
                parts.close()?;
            }
            seek_table::write(open.frames, frames, |bytes| parts.append_anywhere(store, bytes))?;
        }
        let finished = open.parts.finish(&self.store)?;
        self.sums.append(finished.sums)?;
        if let Some(info) = self.files.get_mut(number) {
            info.parts = finished.parts;
            info.blake3 = open.tree.finish().map(Hex);
        }
        Ok(())
    }
}

impl Sink for Writer {
    type Encoder = FrameEncoder;
    type Summary = Written;

    fn encoder(&self) -> FrameEncoder {
        let (shapes, pool) = (Arc::clone(&self.shapes), Arc::clone(&self.pool));
        let pace = (self.level == Level::Auto).then(|| (Arc::clone(&self.pace), Watch::default()));
        FrameEncoder { shapes, pool, compressor: None, level: self.level.first(), pace }
    }

    fn commit(&mut self, buffer: &Buffer, out: Encoded) -> Result<()> {
        let mut open = match self.open.remove(&buffer.file) {
            Some(open) => open,
            None => self.begin(buffer.file)?,
        };
        self.extents(open.number, buffer);
        for cell in &out.cells {
            let place = ByteRange::span(cell.node.offset, cell.node.offset + cell.node.len);
            let plain = buffer.data.get(place.index(buffer.offset)).unwrap_or(&[]);
            self.cell(&mut open, cell, &out.bytes, plain)?;
        }
        let mut pool = self.pool.lock().unwrap_or_else(PoisonError::into_inner);
        if pool.len() < POOLED && out.bytes.capacity() > 0 {
            pool.push(out.bytes);
        }
        drop(pool);
        if buffer.offset + buffer.len() == open.length {
            self.finish_file(buffer.file, open)?;
        } else {
            self.open.insert(buffer.file, open);
        }
        if self.since_checkpoint >= CHECKPOINT || self.index.waiting() >= MAX_WAITING {
            self.checkpoint()?;
        }
        Ok(())
    }

    fn finish(self) -> Result<Written> {
        if !self.open.is_empty() || self.files.iter().any(|file| file.parts.is_empty()) {
            return Err(Error::new(ErrorKind::Bug, "a stored file is not complete"));
        }
        let Self { store, files, index, totals, lost, sums, .. } = self;
        Ok(Written { store, files, index: index.finish()?, totals, lost, sums: sums.finish()? })
    }
}
