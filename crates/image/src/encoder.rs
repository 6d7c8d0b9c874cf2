//! The parallel half of writing: cuts a buffer into frames, hashes and compresses them (FORMAT 3, 4).

use crate::Encoding;
use crate::frame::{self, Compressor, MAX_ZERO, Sort};
use crate::level::{Pace, Watch};
use crate::tree::{Node, value};
use blake3::hazmat::HasherExt;
use block::{Buffer, ByteRange, Encode, Error, ErrorKind, ExtentKind, Result};
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

/// What encoders know of the files.
#[derive(Debug)]
pub(crate) struct Shapes {
    pub(crate) grid: u64,
    pub(crate) hash_known_zeroes: bool,
    /// Encoding and plain length of each stored file.
    pub(crate) files: Vec<(Encoding, u64)>,
}

impl Shapes {
    /// The longest frame, in bytes.
    pub(crate) fn longest(&self) -> u64 {
        self.grid.max(MAX_ZERO)
    }

    /// The longest zero frame that begins at `start` and ends by `end`; `length`: of the file.
    fn zero_frame(&self, start: u64, end: u64, length: u64) -> u64 {
        let mut len = self.grid;
        if end - start < len {
            return end - start;
        }
        while len < self.longest() && start.is_multiple_of(2 * len) && end - start >= 2 * len {
            len *= 2;
        }
        debug_assert!(start + len <= length);
        len
    }
}

/// Buffers for stored bytes, used again.
pub(crate) type Pool = Arc<Mutex<Vec<Vec<u8>>>>;

/// One frame, or a run of zero frames that has no bytes.
#[derive(Debug)]
pub(crate) struct Cell {
    pub(crate) node: Node,
    pub(crate) sort: Sort,
    /// Its stored bytes among those of the buffer. A raw file's lie in the buffer itself.
    pub(crate) stored: Range<usize>,
    /// How many of its bytes are bad or absent.
    pub(crate) lost: u64,
    /// All of it could not be read.
    pub(crate) all_bad: bool,
}

/// The frames of one buffer.
#[derive(Debug)]
pub struct Encoded {
    pub(crate) cells: Vec<Cell>,
    pub(crate) bytes: Vec<u8>,
}

/// Encodes buffers; one for each worker.
pub struct FrameEncoder {
    pub(crate) shapes: Arc<Shapes>,
    pub(crate) pool: Pool,
    /// Made at the first buffer, so that a failure has somebody to tell.
    pub(crate) compressor: Option<Compressor>,
    pub(crate) level: i32,
    /// If the level is chosen while the job runs.
    pub(crate) pace: Option<(Arc<Pace>, Watch)>,
}

impl FrameEncoder {
    /// A run of zeroes without bytes: the frames it is cut into.
    fn run(&self, buffer: &Buffer, length: u64) -> Vec<Cell> {
        let all_absent = buffer.extents.iter().all(|extent| extent.kind == ExtentKind::Absent);
        let hashed = self.shapes.hash_known_zeroes && !all_absent;
        let (mut at, end) = (buffer.offset, buffer.offset + buffer.len());
        let mut cells = vec![];
        while at < end {
            let len = self.shapes.zero_frame(at, end, length);
            let digest = hashed.then(|| zero_value(at, len, length));
            let node = Node { offset: at, len, value: digest };
            let lost = if all_absent { len } else { 0 };
            cells.push(Cell { node, sort: Sort::Zero, stored: 0..0, lost, all_bad: false });
            at += len;
        }
        cells
    }

    fn cell(
        &mut self,
        plain: &[u8],
        offset: u64,
        file: (Encoding, u64),
        lost: Lost,
        out: &mut Vec<u8>,
    ) -> Result<Cell> {
        let (encoding, length) = file;
        let node = Node { offset, len: plain.len() as u64, value: Some(value(plain, offset, length)) };
        let start = out.len();
        let sort = if lost.bad == 0 && frame::is_zero(plain) {
            Sort::Zero
        } else if encoding == Encoding::Raw {
            Sort::Stored
        } else if lost.bad == 0 && self.compress(plain, out)? {
            Sort::Compressed
        } else {
            frame::encode_stored(plain, out);
            Sort::Stored
        };
        let all_bad = lost.bad == node.len;
        Ok(Cell { node, sort, stored: start..out.len(), lost: lost.bad + lost.absent, all_bad })
    }

    /// Appends the compressed form, if it is smaller than the plain bytes.
    fn compress(&mut self, plain: &[u8], out: &mut Vec<u8>) -> Result<bool> {
        let compressor = match &mut self.compressor {
            Some(compressor) => compressor,
            none => none.insert(Compressor::new(self.level)?),
        };
        match &mut self.pace {
            None => compressor.compress(plain, out),
            Some((_, watch)) => watch.pack(plain.len(), || compressor.compress(plain, out)),
        }
    }

    /// A buffer of `bytes` bytes is done: the level for the next.
    fn keep_pace(&mut self, bytes: usize) -> Result<()> {
        if let (Some((pace, watch)), Some(compressor)) = (&mut self.pace, &mut self.compressor) {
            self.level = pace.next(watch.done(bytes));
            compressor.set_level(self.level)?;
        }
        Ok(())
    }
}

/// Bytes of a cell that nobody has.
#[derive(Clone, Copy, Default)]
struct Lost {
    bad: u64,
    absent: u64,
}

fn lost_in(buffer: &Buffer, cell: ByteRange) -> Lost {
    let mut lost = Lost::default();
    for (at, extent, _) in buffer.pieces().filter(|(_, extent, _)| extent.kind.is_lost()) {
        let here = ByteRange::span(at, at + extent.range.len()).intersect(cell).len();
        match extent.kind {
            ExtentKind::Bad => lost.bad += here,
            _ => lost.absent += here,
        }
    }
    lost
}

/// The value of `len` zeroes, piece by piece.
fn zero_value(offset: u64, len: u64, length: u64) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    hasher.set_input_offset(offset);
    for piece in frame::zeroes(len) {
        hasher.update(piece);
    }
    if len == length { *hasher.finalize().as_bytes() } else { hasher.finalize_non_root() }
}

impl Encode for FrameEncoder {
    type Out = Encoded;

    fn encode(&mut self, buffer: &Buffer) -> Result<Encoded> {
        let shapes = Arc::clone(&self.shapes);
        let Some(file) = shapes.files.get(buffer.file).copied() else {
            return Err(Error::new(ErrorKind::Bug, "a buffer of no stored file"));
        };
        let end = buffer.offset + buffer.len();
        let whole = buffer.offset.is_multiple_of(shapes.grid)
            && (end.is_multiple_of(shapes.grid) || end == file.1)
            && end <= file.1;
        if !whole {
            return Err(Error::new(ErrorKind::Bug, "a buffer is not cut on the grid of its file"));
        }
        if buffer.is_run() {
            return Ok(Encoded { cells: self.run(buffer, file.1), bytes: vec![] });
        }
        let any_lost = buffer.extents.iter().any(|extent| extent.kind.is_lost());
        let mut bytes = self.pool.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_default();
        bytes.clear();
        let mut cells = Vec::with_capacity(64);
        let mut at = buffer.offset;
        let grid = usize::try_from(shapes.grid).unwrap_or(usize::MAX);
        for plain in buffer.data.chunks(grid) {
            let range = ByteRange::span(at, at + plain.len() as u64);
            let lost = if any_lost { lost_in(buffer, range) } else { Lost::default() };
            cells.push(self.cell(plain, at, file, lost, &mut bytes)?);
            at = range.end();
        }
        self.keep_pace(buffer.data.len())?;
        Ok(Encoded { cells, bytes })
    }
}
