//! Files that Windows compressed from outside ("CompactOS", `compact /exe`): their bytes are in a stream
//! beside, in chunks, and what the file itself has is a hole.

use super::{corrupt, lzx, xpress};
use crate::fs::recent::Recent;
use crate::fs::runs::read_pieces;
use block::field::u32_at;
use block::{ByteRange, Error, ErrorKind, ReadAt, Result, Source};
use std::sync::Arc;

/// The stream, in UTF-8.
pub(crate) const STREAM: &[u8] = b"WofCompressedData";

/// How a file is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Algorithm {
    /// XPRESS in chunks of so many bytes.
    Xpress(u64),
    /// LZX in chunks of 32 KiB.
    Lzx,
}

impl Algorithm {
    /// From the data of the reparse point.
    pub(crate) fn of(data: &[u8]) -> Result<Self> {
        let unsupported = |words: String| Err(Error::new(ErrorKind::Unsupported, words));
        match [0, 4, 8, 12].map(|at| u32_at(data, at)) {
            [Some(1), Some(2), Some(1), Some(0)] => Ok(Self::Xpress(4 << 10)),
            [Some(1), Some(2), Some(1), Some(1)] => Ok(Self::Lzx),
            [Some(1), Some(2), Some(1), Some(2)] => Ok(Self::Xpress(8 << 10)),
            [Some(1), Some(2), Some(1), Some(3)] => Ok(Self::Xpress(16 << 10)),
            [Some(1), Some(1), ..] => {
                unsupported("its bytes are in an image file of Windows (WIMBoot)".into())
            }
            [_, _, _, Some(other)] => unsupported(format!("it is compressed by Windows, method {other}")),
            _ => Err(corrupt("what says how Windows compressed it is cut short")),
        }
    }

    const fn chunk(self) -> u64 {
        match self {
            Self::Xpress(chunk) => chunk,
            Self::Lzx => 32 << 10,
        }
    }
}

/// The bytes of such a file.
pub(crate) struct Wof {
    packed: Source,
    algorithm: Algorithm,
    size: u64,
    /// Bytes of a number in the table in front, which says where each chunk but the first begins.
    number: u64,
    /// The chunk that was unpacked last.
    last: Recent<u64, Arc<[u8]>>,
}

impl Wof {
    /// `packed`: the stream; `size`: bytes of the file.
    pub(crate) fn new(packed: Source, algorithm: Algorithm, size: u64) -> Self {
        let number = if size > u64::from(u32::MAX) { 8 } else { 4 };
        Self { packed, algorithm, size, number, last: Recent::new(1) }
    }

    /// Where chunk `number` begins in the stream; of the one behind the last its end.
    fn begins(&self, number: u64, chunks: u64) -> Result<u64> {
        let table = chunks.saturating_sub(1).saturating_mul(self.number);
        if number >= chunks {
            return Ok(self.packed.size());
        }
        let Some(at) = number.checked_sub(1) else { return Ok(table) };
        if table > self.packed.size() {
            return Err(corrupt("what Windows compressed is cut short"));
        }
        let mut bytes = [0; 8];
        let field = if self.number == 8 { &mut bytes[..] } else { bytes.split_at_mut(4).0 };
        self.packed.read_at(at.saturating_mul(self.number), field)?;
        Ok(table.saturating_add(u64::from_le_bytes(bytes)))
    }

    /// What a chunk is of the file.
    fn whole(&self, number: u64) -> ByteRange {
        let size = self.algorithm.chunk();
        let start = number.saturating_mul(size);
        ByteRange::span(start, self.size.min(start.saturating_add(size)))
    }

    fn chunk(&self, number: u64) -> Result<Arc<[u8]>> {
        let chunks = self.size.div_ceil(self.algorithm.chunk());
        let whole = self.whole(number);
        let stored =
            ByteRange::span(self.begins(number, chunks)?, self.begins(number.saturating_add(1), chunks)?);
        if stored.is_empty() || stored.len() > whole.len() || stored.end() > self.packed.size() {
            return Err(corrupt("a chunk that Windows compressed has a wrong length").with_range(whole));
        }
        let mut packed = vec![0; stored.index(stored.start()).len()];
        self.packed.read_at(stored.start(), &mut packed)?;
        if stored.len() < whole.len() {
            let mut bytes = vec![0; whole.index(whole.start()).len()];
            let done = match self.algorithm {
                Algorithm::Xpress(_) => xpress::unpack(&packed, &mut bytes),
                Algorithm::Lzx => lzx::unpack(&packed, &mut bytes),
            };
            done.ok_or_else(|| corrupt("what Windows compressed is damaged").with_range(whole))?;
            packed = bytes;
        }
        Ok(packed.into())
    }
}

impl ReadAt for Wof {
    fn size(&self) -> u64 {
        self.size
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<()> {
        let piece = |at: u64| {
            let number = at.checked_div(self.algorithm.chunk()).unwrap_or(0);
            Ok((self.whole(number), number))
        };
        read_pieces(self.size, offset, buf, piece, |range, number, now| {
            let chunk = self.last.get(number, || self.chunk(number)).map_err(|error| match error.kind() {
                // Bytes of the stream are no bytes of the file: these are what cannot be had.
                ErrorKind::Media | ErrorKind::Absent => error.with_range(range),
                _ => error,
            })?;
            let known = chunk.get(range.index(self.whole(number).start()));
            now.copy_from_slice(known.ok_or_else(|| corrupt("what Windows compressed is damaged"))?);
            Ok(())
        })
    }

    fn concurrency(&self) -> usize {
        self.packed.concurrency()
    }

    fn granule(&self) -> u64 {
        self.algorithm.chunk()
    }
}
