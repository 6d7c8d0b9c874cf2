//! Bitmaps of what is in use: one bit a unit, the lowest bit of a byte first.

use super::claims::Tally;
use super::reads::Reads;
use block::{ByteRange, Result, Source};

/// Bytes of a bitmap that are read at once.
const PIECE: u64 = 4096;

/// A bitmap in its file.
pub(super) struct Bitmap {
    pub(super) file: Source,
    /// Units there are.
    pub(super) units: u64,
}

impl Bitmap {
    /// Adds what units from `first` on are in use. Units that there are not, and those of which the bit cannot
    /// be read, are not the file's own either.
    pub(super) fn tally(&self, reads: &Reads, first: u64, count: u64, tally: &mut Tally) -> Result<()> {
        let end = first.saturating_add(count);
        if end > self.units {
            tally.add(true);
        }
        let (mut at, end) = (first, end.min(self.units));
        while at < end && !tally.is_decided() {
            let piece = at / 8 / PIECE;
            let start = piece.saturating_mul(PIECE);
            let len = PIECE.min(self.file.size().saturating_sub(start));
            let stop = end.min(start.saturating_add(PIECE).saturating_mul(8));
            let bytes = if len == 0 { None } else { reads.get_of(&*self.file, start, len)? };
            match bytes {
                Some(bytes) => scan(&bytes, start.saturating_mul(8), at, stop, tally),
                None => tally.add(true),
            }
            at = stop;
        }
        Ok(())
    }

    /// Is one of the units in front of `end` free that `is_claimed` does not know? It is asked in order. What cannot
    /// be read may be.
    pub(super) fn has_gap(
        &self,
        reads: &Reads,
        end: u64,
        mut is_claimed: impl FnMut(u64) -> bool,
    ) -> Result<bool> {
        for piece in ByteRange::span(0, end.min(self.units).div_ceil(8)).pieces(PIECE) {
            let bytes = if piece.end() <= self.file.size() {
                reads.get_of(&*self.file, piece.start(), piece.len())?
            } else {
                None
            };
            let Some(bytes) = bytes else { return Ok(true) };
            for (number, byte) in (piece.start()..).zip(bytes) {
                for bit in 0..8u8 {
                    let unit = number.saturating_mul(8).saturating_add(bit.into());
                    if (byte >> bit) & 1 == 0 && unit < end && !is_claimed(unit) {
                        return Ok(true);
                    }
                }
            }
        }
        Ok(false)
    }
}

/// Adds the bits `from..to` of bytes whose first bit is number `base`.
pub(super) fn scan(bytes: &[u8], base: u64, from: u64, to: u64, tally: &mut Tally) {
    let mut at = from;
    while at < to && !tally.is_decided() {
        let bit = at.saturating_sub(base);
        let byte = usize::try_from(bit / 8).ok().and_then(|index| bytes.get(index));
        let Some(byte) = byte else {
            tally.add(true);
            return;
        };
        let inside = bit % 8;
        if inside == 0 && to.saturating_sub(at) >= 8 && matches!(byte, 0 | 0xFF) {
            tally.add(*byte == 0xFF);
            at = at.saturating_add(8);
        } else {
            tally.add((byte >> inside) & 1 == 1);
            at = at.saturating_add(1);
        }
    }
}

#[cfg(test)]
#[allow(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    clippy::cast_possible_truncation
)]
mod tests {
    use super::*;

    #[test]
    fn bits_are_counted_from_the_lowest() {
        let seen = |from, to| {
            let mut tally = Tally::default();
            scan(&[0b0000_0110, 0xFF, 0x00], 80, from, to, &mut tally);
            (tally.any_gone(), tally.is_decided())
        };
        assert_eq!(seen(81, 83), (true, false));
        assert_eq!(seen(80, 83), (true, true));
        assert_eq!(seen(83, 88), (false, false));
        assert_eq!(seen(88, 96), (true, false));
        assert_eq!(seen(96, 104), (false, false));
        assert_eq!(seen(96, 105), (true, true), "beyond the end");
    }
}
