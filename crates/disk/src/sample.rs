//! Whether a range is empty or looks random, from its ends and samples, or from all of it.

use block::{ByteRange, ErrorKind, Extent, ExtentKind, ReadAt, Result, extents};

/// Bytes of one sample.
const SAMPLE: u64 = 4096;
/// Samples in all, the two ends included, of however many extents.
const SAMPLES: u64 = 32;
/// What one read moves where everything is read.
const PIECE: u64 = 1 << 20;
/// Extents with data that are told apart where samples are enough.
const EXTENTS: usize = 4096;

/// What the bytes are like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fill {
    /// Only zeroes.
    Zero,
    /// Every byte value about equally often: encrypted, compressed or wiped.
    Random,
    /// Anything else.
    Data,
}

/// What was found in a range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Filled {
    /// What the bytes are like, so far as they were looked at.
    pub fill: Fill,
    /// No byte that was looked at is other than zero.
    pub zero: bool,
    /// The bytes look random.
    pub random: bool,
    /// All bytes were looked at or are known: `zero` is the truth, not a guess. A single byte that is not
    /// zero settles it too.
    pub exhaustive: bool,
    /// Bytes that could not be read (bad or absent) among those wanted.
    pub unreadable: u64,
}

/// Judges `range` of `source` by its ends and samples, or with `deep` by all of it up to the first byte
/// that is not zero. What is known to be zero is not read. Fails where reading fails for another reason
/// than the medium, or with [`ErrorKind::OutOfRange`].
pub fn fill(source: &dyn ReadAt, range: ByteRange, deep: bool) -> Result<Filled> {
    ByteRange::within(source.size(), range.start(), range.len())?;
    let mut look = Look { histogram: [0; 256], unreadable: 0 };
    let mut parts: Vec<ByteRange> = vec![];
    for extent in extents(source, range) {
        let Extent { range: part, kind } = extent?;
        // More than this many extents are sampled as if there was data all the way.
        if !deep && parts.len() >= EXTENTS {
            parts.push(ByteRange::span(part.start(), range.end()));
            break;
        }
        match kind {
            ExtentKind::Zero => {}
            ExtentKind::Absent | ExtentKind::Bad => {
                look.unreadable = look.unreadable.saturating_add(part.len());
            }
            ExtentKind::Data if deep => {
                for piece in 0..part.len().div_ceil(PIECE) {
                    look.read(source, part, PIECE, piece)?;
                    if !look.is_zero() {
                        return Ok(look.judge(true));
                    }
                }
            }
            ExtentKind::Data => parts.push(part),
        }
    }
    let pieces = parts.iter().map(|part| part.len().div_ceil(SAMPLE)).sum::<u64>();
    let wanted = pieces.min(SAMPLES);
    // As many samples over all parts together, however many they are.
    let (mut rest, mut before) = (parts.iter(), 0u64);
    let mut part = rest.next();
    for index in 0..wanted {
        let piece = spread(index, wanted, pieces);
        while let Some(here) = part {
            let count = here.len().div_ceil(SAMPLE);
            match piece.saturating_sub(before) {
                within if within < count => {
                    look.read(source, *here, SAMPLE, within)?;
                    break;
                }
                _ => before = before.saturating_add(count),
            }
            part = rest.next();
        }
    }
    Ok(look.judge(wanted == pieces))
}

/// Piece `index` of `wanted` ones spread evenly over `pieces`, the first and the last included.
fn spread(index: u64, wanted: u64, pieces: u64) -> u64 {
    let last = pieces.saturating_sub(1);
    u128::from(index)
        .saturating_mul(last.into())
        .checked_div(wanted.saturating_sub(1).into())
        .and_then(|piece| u64::try_from(piece).ok())
        .unwrap_or(0)
}

/// What was seen so far.
struct Look {
    histogram: [u64; 256],
    unreadable: u64,
}

impl Look {
    fn read(&mut self, source: &dyn ReadAt, part: ByteRange, step: u64, piece: u64) -> Result<()> {
        let start = part.start().saturating_add(piece.saturating_mul(step));
        let piece = ByteRange::span(start, start.saturating_add(step)).intersect(part);
        let mut bytes = vec![0; usize::try_from(piece.len()).unwrap_or(0)];
        match source.read_at(piece.start(), &mut bytes) {
            Ok(()) => {}
            Err(error) if matches!(error.kind(), ErrorKind::Media | ErrorKind::Absent) => {
                let bad = error.range().unwrap_or(piece).intersect(piece);
                self.unreadable =
                    self.unreadable.saturating_add(ByteRange::span(bad.start(), piece.end()).len());
                bytes.truncate(ByteRange::span(piece.start(), bad.start()).index(piece.start()).end);
            }
            Err(error) => return Err(error),
        }
        for byte in bytes {
            if let Some(count) = self.histogram.get_mut(usize::from(byte)) {
                *count = count.saturating_add(1);
            }
        }
        Ok(())
    }

    fn total(&self) -> u64 {
        self.histogram.iter().sum()
    }

    fn is_zero(&self) -> bool {
        self.histogram.iter().skip(1).all(|count| *count == 0)
    }

    fn judge(&self, looked_at_all: bool) -> Filled {
        let zero = self.is_zero();
        let random = self.is_random();
        let fill = if zero {
            Fill::Zero
        } else if random {
            Fill::Random
        } else {
            Fill::Data
        };
        let exhaustive = !zero || (looked_at_all && self.unreadable == 0);
        Filled { fill, zero, random, exhaustive, unreadable: self.unreadable }
    }

    /// Chi-square of the byte values against an even spread: 255 degrees of freedom, so random bytes give
    /// 255 on average and over 400 next to never; text, code and even most compressed data far more.
    fn is_random(&self) -> bool {
        let total = u128::from(self.total());
        if total < 4096 {
            return false;
        }
        let squares: u128 = self.histogram.iter().map(|count| u128::from(*count).saturating_pow(2)).sum();
        let chi_square =
            squares.saturating_mul(256).checked_div(total).unwrap_or(u128::MAX).saturating_sub(total);
        chi_square < 400
    }
}

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects)]
mod tests {
    use super::*;
    use testkit::{Memory, pattern};

    fn all(disk: &Memory, deep: bool) -> Filled {
        fill(disk, ByteRange::span(0, disk.size()), deep).unwrap()
    }

    #[test]
    fn zero_random_and_data() {
        let zero = all(&Memory::new(vec![0; 1 << 20]), false);
        assert_eq!((zero.fill, zero.exhaustive), (Fill::Zero, false));
        assert!(all(&Memory::new(vec![0; 1 << 20]), true).exhaustive);
        assert_eq!(all(&Memory::new(pattern(1 << 20)), false).fill, Fill::Random);
        assert_eq!(all(&Memory::new(b"some text. ".repeat(9999)), false).fill, Fill::Data);
    }

    /// Data in `count` extents with holes between; of 8 KiB and 56 KiB.
    fn fragmented(count: u64) -> Memory {
        let holes = (0..count).map(|n| ByteRange::span(n * 65536 + 8192, (n + 1) * 65536)).collect();
        Memory::new(vec![0; usize::try_from(count * 65536).unwrap()]).with(|disk| disk.holes = holes)
    }

    #[test]
    fn many_extents_cost_no_more_than_one() {
        let disk = fragmented(500);
        let found = all(&disk, false);
        assert!(found.zero && !found.exhaustive);
        let reads = disk.reads.lock().unwrap().clone();
        assert_eq!(reads.len(), 32);
        assert_eq!(reads.first().unwrap().start(), 0);
        assert_eq!(reads.last().unwrap().end(), 499 * 65536 + 8192);
        // Few enough pieces are all looked at.
        let disk = fragmented(10);
        assert!(all(&disk, false).exhaustive);
        assert_eq!(disk.reads.lock().unwrap().len(), 20);
        assert!(all(&fragmented(500), true).exhaustive);
    }

    #[test]
    fn a_byte_between_samples_is_found_only_deep_and_the_last_one_always() {
        let mut bytes = vec![0; 1 << 20];
        *bytes.get_mut(6000).unwrap() = 1;
        let disk = Memory::new(bytes);
        assert!(all(&disk, false).zero);
        assert!(!all(&disk, true).zero);
        let mut bytes = vec![0; 1 << 20];
        *bytes.last_mut().unwrap() = 1;
        assert!(!all(&Memory::new(bytes), false).zero);
    }

    #[test]
    fn known_zeroes_cost_nothing_and_bad_sectors_are_told() {
        let holes = vec![ByteRange::span(0, 1 << 20)];
        let disk = Memory::new(vec![0; 1 << 20]).with(|disk| disk.holes = holes);
        let found = all(&disk, false);
        assert!(found.zero && found.exhaustive && disk.reads.lock().unwrap().is_empty());
        let bad = vec![ByteRange::span(512, 1024)];
        let disk = Memory::new(vec![0; 8192]).with(|disk| disk.bad = bad);
        let found = all(&disk, true);
        assert!(found.zero && !found.exhaustive && found.unreadable > 0);
    }
}
