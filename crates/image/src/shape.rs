//! What the manifest says of a stored file, and which frames that leaves possible.

use crate::frame::{self, MAX_ZERO, Sort};
use crate::page::Frame;
use crate::{Encoding, FileInfo};

/// A stored file as its frames must fit it. Lengths are bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    pub(crate) encoding: Encoding,
    /// Plain bytes.
    pub(crate) length: u64,
    /// Stored bytes, all parts together.
    pub(crate) stored: u64,
    pub(crate) grid: u64,
}

impl Shape {
    pub(crate) fn new(info: &FileInfo, grid: u64) -> Self {
        Self { encoding: info.encoding, length: info.length, stored: info.stored_size(), grid }
    }

    /// Is this a frame that FORMAT 3 allows here? So no record makes a reader take more memory than the
    /// frames that a writer makes.
    pub(crate) fn allows(&self, frame: &Frame) -> bool {
        self.allows_plain(frame) && self.allows_stored(frame) && frame.stored.end() <= self.stored
    }

    /// One cell of the grid; of zeroes also an aligned power of two of them.
    fn allows_plain(&self, frame: &Frame) -> bool {
        let (start, len) = (frame.plain.start(), frame.plain.len());
        let cell = self.grid.min(self.length.saturating_sub(start));
        let one_cell = start.is_multiple_of(self.grid) && len == cell;
        let run = (self.grid..=MAX_ZERO.max(self.grid)).contains(&len)
            && len.is_power_of_two()
            && start.is_multiple_of(len)
            && frame.plain.end() <= self.length;
        one_cell || (frame.sort == Sort::Zero && run)
    }

    fn allows_stored(&self, frame: &Frame) -> bool {
        let (plain, stored) = (frame.plain.len(), frame.stored.len());
        match (self.encoding, frame.sort) {
            (Encoding::Raw, Sort::Compressed) => false,
            (Encoding::Raw, Sort::Stored | Sort::Zero) => frame.stored == frame.plain,
            (Encoding::Zst, Sort::Compressed) => (1..=frame::stored_len(plain)).contains(&stored),
            (Encoding::Zst, Sort::Stored) => stored == frame::stored_len(plain),
            (Encoding::Zst, Sort::Zero) => stored == frame::zero_len(plain),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use block::ByteRange;

    const GRID: u64 = 128 << 10;

    fn frame(sort: Sort, plain: (u64, u64), stored: (u64, u64)) -> Frame {
        let range = |(start, len)| ByteRange::new(start, len).unwrap();
        Frame { plain: range(plain), stored: range(stored), sort, digest: Some([0; 32]), partial: false }
    }

    #[test]
    fn frames_of_a_zst() {
        let shape = Shape { encoding: Encoding::Zst, length: (1 << 31) + 5, stored: 1 << 30, grid: GRID };
        let stored = frame::stored_len(GRID);
        let zero = |len| frame::zero_len(len);
        for right in [
            frame(Sort::Compressed, (0, GRID), (7, 1)),
            frame(Sort::Compressed, (GRID, GRID), (7, stored)),
            frame(Sort::Stored, (3 * GRID, GRID), (0, stored)),
            frame(Sort::Stored, (1 << 31, 5), (0, frame::stored_len(5))),
            frame(Sort::Zero, (1 << 31, 5), (0, zero(5))),
            frame(Sort::Zero, (2 * GRID, 2 * GRID), (0, zero(2 * GRID))),
            frame(Sort::Zero, (1 << 30, 1 << 30), (0, zero(1 << 30))),
        ] {
            assert!(shape.allows(&right), "{right:?}");
        }
        for wrong in [
            frame(Sort::Compressed, (0, GRID), (7, 0)),
            frame(Sort::Compressed, (0, GRID), (7, stored + 1)),
            frame(Sort::Compressed, (0, GRID), (shape.stored, 1)),
            frame(Sort::Compressed, (0, 2 * GRID), (7, 1)),
            frame(Sort::Compressed, (0, 1 << 30), (7, 100)),
            frame(Sort::Compressed, (512, GRID), (7, 1)),
            frame(Sort::Compressed, (0, GRID - 1), (7, 1)),
            frame(Sort::Stored, (0, GRID), (0, stored - 1)),
            frame(Sort::Stored, (1 << 31, 6), (0, frame::stored_len(6))),
            frame(Sort::Zero, (GRID, 2 * GRID), (0, zero(2 * GRID))),
            frame(Sort::Zero, (0, 3 * GRID), (0, zero(3 * GRID))),
            frame(Sort::Zero, (0, 1 << 31), (0, zero(1 << 31))),
            frame(Sort::Zero, (0, GRID), (0, zero(GRID) + 1)),
            frame(Sort::Zero, (1 << 31, GRID), (0, zero(GRID))),
        ] {
            assert!(!shape.allows(&wrong), "{wrong:?}");
        }
    }

    #[test]
    fn frames_of_a_raw_file() {
        let length = 2 * GRID + 9;
        let shape = Shape { encoding: Encoding::Raw, length, stored: length, grid: GRID };
        assert!(shape.allows(&frame(Sort::Stored, (GRID, GRID), (GRID, GRID))));
        assert!(shape.allows(&frame(Sort::Zero, (0, 2 * GRID), (0, 2 * GRID))));
        assert!(shape.allows(&frame(Sort::Zero, (2 * GRID, 9), (2 * GRID, 9))));
        assert!(!shape.allows(&frame(Sort::Compressed, (0, GRID), (0, GRID))));
        assert!(!shape.allows(&frame(Sort::Stored, (GRID, GRID), (0, GRID))));
        assert!(!shape.allows(&frame(Sort::Stored, (GRID, GRID), (GRID, GRID - 1))));
    }
}
