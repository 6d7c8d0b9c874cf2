//! Bits and Huffman codes as XPRESS and LZX have them: words of 16 bits, the upper bit first.

use block::field::{bytes_at, u16_at};

/// A stream of bits that bytes stand between.
pub(super) struct Bits<'a> {
    bytes: &'a [u8],
    at: usize,
    /// The next bit is the uppermost.
    held: u32,
    count: u32,
}

impl<'a> Bits<'a> {
    pub(super) const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0, held: 0, count: 0 }
    }

    /// Holds at least `count` bits, 16 at most. Behind the end they are zero, see [`Self::overran`]. No word
    /// more than that is taken, because bytes that are read go on where the last word ended.
    fn need(&mut self, count: u32) {
        if self.count < count {
            let word = u32::from(u16_at(self.bytes, self.at).unwrap_or(0));
            self.held |= word.checked_shl(16_u32.saturating_sub(self.count)).unwrap_or(0);
            self.count = self.count.saturating_add(16);
            self.at = self.at.saturating_add(2);
        }
    }

    fn drop(&mut self, count: u32) {
        self.held = self.held.checked_shl(count).unwrap_or(0);
        self.count = self.count.saturating_sub(count);
    }

    /// The next `count` bits as a number; 16 at most.
    pub(super) fn take(&mut self, count: u32) -> u32 {
        self.need(count);
        let value = self.held.checked_shr(32_u32.saturating_sub(count)).unwrap_or(0);
        self.drop(count);
        value
    }

    /// Holds 16 bits, so that bytes can be read from where XPRESS has them.
    pub(super) fn fill(&mut self) {
        self.need(16);
    }

    /// The next bytes between the words.
    pub(super) fn bytes<const N: usize>(&mut self) -> Option<[u8; N]> {
        let bytes = bytes_at(self.bytes, self.at)?;
        self.at = self.at.checked_add(N)?;
        Some(bytes)
    }

    /// The next `len` bytes between the words.
    pub(super) fn slice(&mut self, len: usize) -> Option<&'a [u8]> {
        let slice = self.bytes.get(self.at..)?.get(..len)?;
        self.at = self.at.checked_add(len)?;
        Some(slice)
    }

    /// Goes on with bytes: drops what is left of the word, or all of the next one where none is left.
    pub(super) fn align(&mut self) {
        match self.count {
            0 => self.at = self.at.saturating_add(2),
            1..=16 => {}
            _ => self.at = self.at.saturating_sub(2),
        }
        (self.held, self.count) = (0, 0);
    }

    /// Were bits given out that are not there?
    pub(super) fn overran(&self) -> bool {
        let unused = if self.count >= 16 { 2 } else { 0 };
        self.at.saturating_sub(unused) > self.bytes.len()
    }
}

/// Bits that are looked up at once; longer codes are rare.
const FAST: u32 = 10;
/// Bits of the longest code.
const LONGEST: usize = 16;

/// A canonical Huffman code.
pub(super) struct Huffman {
    /// By the next bits: symbol and length, 0 where the code is longer.
    fast: Vec<u16>,
    /// Of each length: the first code, how many, and the place of its first symbol.
    lengths: [(u32, u32, usize); LONGEST + 1],
    /// In order of their codes.
    symbols: Vec<u16>,
}

impl Huffman {
    /// From the length of each symbol's code in bits, 0 for none. `None` unless it is a code: every row of bits
    /// is one symbol. One without symbols is fine as long as nobody asks.
    pub(super) fn new(code_lengths: &[u8]) -> Option<Self> {
        let mut counts = [0_u32; LONGEST + 1];
        for length in code_lengths.iter().filter(|length| **length != 0) {
            let count = counts.get_mut(usize::from(*length))?;
            *count = count.checked_add(1)?;
        }
        let mut code = Self {
            fast: vec![0; 1 << FAST],
            lengths: [(0, 0, 0); LONGEST + 1],
            symbols: Vec::with_capacity(code_lengths.len()),
        };
        let mut first = 0_u32;
        for (length, (entry, count)) in code.lengths.iter_mut().zip(counts).enumerate().skip(1) {
            first = first.checked_mul(2)?;
            *entry = (first, count, code.symbols.len());
            let bits = u32::try_from(length).ok()?;
            for (symbol, _) in code_lengths.iter().enumerate().filter(|(_, own)| usize::from(**own) == length)
            {
                let symbol = u16::try_from(symbol).ok()?;
                if let Some(spare) = FAST.checked_sub(bits) {
                    let (start, many) = (first.checked_shl(spare)?, 1_u32.checked_shl(spare)?);
                    let end = usize::try_from(start.checked_add(many)?).ok()?;
                    let entry = symbol.checked_mul(16)? | u16::try_from(bits).ok()?;
                    code.fast.get_mut(usize::try_from(start).ok()?..end)?.fill(entry);
                }
                code.symbols.push(symbol);
                first = first.checked_add(1)?;
            }
            if first > 1_u32.checked_shl(bits)? {
                return None;
            }
        }
        (code.symbols.is_empty() || first == 1 << LONGEST).then_some(code)
    }

    /// The next symbol.
    pub(super) fn next(&self, bits: &mut Bits) -> Option<u16> {
        bits.need(16);
        let fast = *self.fast.get(usize::try_from(bits.held >> (32 - FAST)).ok()?)?;
        if fast != 0 {
            bits.drop(u32::from(fast & 15));
            return Some(fast >> 4);
        }
        for (length, (first, count, place)) in (0_u32..).zip(self.lengths).skip(1) {
            let code = bits.held.checked_shr(32_u32.checked_sub(length)?)?;
            if let Some(number) = code.checked_sub(first).filter(|number| *number < count) {
                bits.drop(length);
                return self.symbols.get(place.checked_add(usize::try_from(number).ok()?)?).copied();
            }
        }
        None
    }
}

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects, clippy::indexing_slicing)]
mod tests {
    use super::*;

    #[test]
    fn words_and_bytes_between() {
        let mut bits = Bits::new(&[0b0100_0000, 0b1010_0000, 7, 0xFF, 0xFF, 9]);
        assert_eq!((bits.take(1), bits.take(2), bits.take(7)), (1, 1, 1));
        assert_eq!(bits.bytes(), Some([7]));
        assert_eq!(bits.take(6), 0);
        assert_eq!(bits.take(16), 0xFFFF);
        assert!(!bits.overran() && bits.slice(2).is_none());
        assert_eq!(bits.slice(1), Some(&[9][..]));
        assert_eq!(bits.take(3), 0);
        assert!(bits.overran());
    }

    #[test]
    fn a_code_of_short_and_long_words() {
        // 0, 10, 110, and so on; two of 16 bits at the end.
        let lengths: Vec<u8> = (1..=16).chain([16]).collect();
        let code = Huffman::new(&lengths).unwrap();
        let mut bits = Bits::new(&[0xFE, 0xFF, 0xFF, 0xFF, 0xFF, 0x7F]);
        assert_eq!(code.next(&mut bits), Some(15));
        assert_eq!(code.next(&mut bits), Some(16));
        assert_eq!(code.next(&mut bits), Some(0));
        assert_eq!(code.next(&mut bits), Some(15));
        assert!(bits.overran());
    }

    #[test]
    fn what_is_no_code_is_none() {
        assert!(Huffman::new(&[1, 1, 1]).is_none(), "too many");
        assert!(Huffman::new(&[2, 2, 2]).is_none(), "too few");
        assert!(Huffman::new(&[17, 1]).is_none(), "too long");
        let none = Huffman::new(&[0; 8]).unwrap();
        assert_eq!(none.next(&mut Bits::new(&[1, 2, 3, 4])), None);
    }
}
