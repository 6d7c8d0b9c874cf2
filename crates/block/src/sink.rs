//! Where bytes go: encoded by several workers, committed by one thread in order.

use crate::{Buf, Extent, Result};

/// What one read moves: consecutive bytes of one stored file, cut on the grid of that file.
#[derive(Debug, Default)]
pub struct Buffer {
    /// Number of the stored file in the plan.
    pub file: usize,
    /// Of its first byte in that file.
    pub offset: u64,
    /// Its bytes' places on the disk and their kinds, in the order of the file. Never empty ones.
    pub extents: Vec<Extent>,
    /// All its bytes, zeroes where they are not Data. Empty: one run of Zero or Absent (or Bad),
    /// however long.
    pub data: Buf,
}

impl Buffer {
    /// Bytes of the stored file it stands for.
    pub fn len(&self) -> u64 {
        self.extents.iter().map(|extent| extent.range.len()).sum()
    }

    /// Stands for nothing.
    pub fn is_empty(&self) -> bool {
        self.extents.is_empty()
    }

    /// One run without bytes.
    pub fn is_run(&self) -> bool {
        self.data.is_empty()
    }

    /// Each extent with its offset in the stored file and its bytes (none of a run).
    pub fn pieces(&self) -> impl Iterator<Item = (u64, Extent, &[u8])> {
        self.extents.iter().scan(0, |at, extent| {
            let (here, next) = (*at, *at + extent.range.len());
            *at = next;
            let bytes = crate::ByteRange::span(here, next).index(0);
            Some((self.offset + here, *extent, self.data.get(bytes).unwrap_or(&[])))
        })
    }
}

/// The parallel half of a sink (hash, compress, compare): one per worker, no order assumed.
pub trait Encode: Send {
    /// What the serial half gets.
    type Out: Send;

    /// Turns one buffer into what is committed.
    fn encode(&mut self, buffer: &Buffer) -> Result<Self::Out>;
}

/// The serial half, called in plan order. Dropped without [`Sink::finish`] means aborted.
pub trait Sink {
    /// The parallel half.
    type Encoder: Encode;
    /// What is known at the end.
    type Summary;

    /// One more worker's parallel half.
    fn encoder(&self) -> Self::Encoder;

    /// Takes the next buffer in plan order.
    fn commit(&mut self, buffer: &Buffer, out: <Self::Encoder as Encode>::Out) -> Result<()>;

    /// All is committed: flush.
    fn finish(self) -> Result<Self::Summary>;
}
