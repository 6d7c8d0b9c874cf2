//! LZX as image files of Windows (WIM) and its compressed programs have it: chunks of 32 KiB, each by itself.

use super::bits::{Bits, Huffman};
use super::lznt1::repeat;
use block::field::bytes_at;

/// Bytes of a chunk, and the size of a block that has none said.
const CHUNK: usize = 32 << 10;
/// Classes of distances in such a window.
const SLOTS: usize = 30;
const LENGTH_CODES: usize = 249;
/// What calls were made relative to, whatever the size of the file.
const MAGIC_FILE_SIZE: i32 = 12_000_000;

/// What one block leaves to the next.
struct State {
    main: [u8; 256 + 8 * SLOTS],
    length: [u8; LENGTH_CODES],
    recent: [u32; 3],
}

/// Unpacks one chunk to the length of `out`. `None` if it is damaged.
pub(super) fn unpack(packed: &[u8], out: &mut [u8]) -> Option<()> {
    let mut state = State { main: [0; 256 + 8 * SLOTS], length: [0; LENGTH_CODES], recent: [1; 3] };
    let (mut bits, mut at) = (Bits::new(packed), 0_usize);
    while at < out.len() {
        let kind = bits.take(3);
        let size = if bits.take(1) == 1 { CHUNK } else { usize::try_from(bits.take(16)).ok()? };
        let end = at.checked_add(size).filter(|end| size != 0 && *end <= out.len())?;
        let block = out.get_mut(..end)?;
        match kind {
            1 => state.codes(None, &mut bits, block, at)?,
            2 => {
                let lengths: Vec<u8> = (0..8).filter_map(|_| u8::try_from(bits.take(3)).ok()).collect();
                state.codes(Some(Huffman::new(&lengths)?), &mut bits, block, at)?;
            }
            3 => {
                bits.align();
                for recent in &mut state.recent {
                    *recent = u32::from_le_bytes(bits.bytes()?);
                }
                block.get_mut(at..)?.copy_from_slice(bits.slice(size)?);
                if size % 2 == 1 {
                    bits.slice(1)?;
                }
            }
            _ => return None,
        }
        at = end;
    }
    absolute_calls(out);
    (!bits.overran()).then_some(())
}

impl State {
    /// A block of codes, which fills `out` from `at` on. `aligned`: the code of the lowest three bits of long
    /// distances.
    fn codes(
        &mut self,
        aligned: Option<Huffman>,
        bits: &mut Bits,
        out: &mut [u8],
        mut at: usize,
    ) -> Option<()> {
        let (bytes, matches) = self.main.split_at_mut(256);
        read_lengths(bits, bytes)?;
        read_lengths(bits, matches)?;
        read_lengths(bits, &mut self.length)?;
        let (main, length_code) = (Huffman::new(&self.main)?, Huffman::new(&self.length)?);
        while at < out.len() {
            let symbol = main.next(bits)?;
            if let Ok(byte) = u8::try_from(symbol) {
                *out.get_mut(at)? = byte;
                at = at.checked_add(1)?;
                continue;
            }
            let header = symbol.checked_sub(256)?;
            let length = match header & 7 {
                7 => length_code.next(bits)?.checked_add(7)?,
                short => short,
            };
            let length = usize::from(length).checked_add(2)?;
            let distance = self.distance(usize::from(header >> 3), aligned.as_ref(), bits)?;
            repeat(out, at, usize::try_from(distance).ok()?, length)?;
            at = at.checked_add(length)?;
        }
        Some(())
    }

    /// The distance of a slot: the first three are those of before.
    fn distance(&mut self, slot: usize, aligned: Option<&Huffman>, bits: &mut Bits) -> Option<u32> {
        if slot < 3 {
            self.recent.swap(0, slot);
            return self.recent.first().copied();
        }
        let slot = u32::try_from(slot).ok()?;
        let extra = (slot / 2).saturating_sub(1);
        let base = if slot < 4 { slot } else { (2 | slot & 1).checked_shl(extra)? };
        let more = match aligned {
            Some(code) if extra >= 3 => {
                let upper = bits.take(extra.checked_sub(3)?);
                upper.checked_mul(8)?.checked_add(code.next(bits)?.into())?
            }
            _ => bits.take(extra),
        };
        let distance = base.checked_add(more)?.checked_sub(2)?;
        self.recent = [distance, *self.recent.first()?, *self.recent.get(1)?];
        Some(distance)
    }
}

/// Lengths of codes, as differences to those of the block before, in a code of their own.
fn read_lengths(bits: &mut Bits, lengths: &mut [u8]) -> Option<()> {
    let own: Vec<u8> = (0..20).filter_map(|_| u8::try_from(bits.take(4)).ok()).collect();
    let code = Huffman::new(&own)?;
    let less = |length: u8, by: u16| {
        let by = u8::try_from(by).ok().filter(|by| *by <= 16)?;
        length.checked_add(17)?.checked_sub(by)?.checked_rem(17)
    };
    let mut at = 0_usize;
    while at < lengths.len() {
        let (count, value) = match code.next(bits)? {
            17 => (bits.take(4).checked_add(4)?, 0),
            18 => (bits.take(5).checked_add(20)?, 0),
            19 => {
                let count = bits.take(1).checked_add(4)?;
                (count, less(*lengths.get(at)?, code.next(bits)?)?)
            }
            by => (1, less(*lengths.get(at)?, by)?),
        };
        // A run may say more than there is.
        let end = at.checked_add(usize::try_from(count).ok()?)?.min(lengths.len());
        lengths.get_mut(at..end)?.fill(value);
        at = end;
    }
    Some(())
}

/// Calls in programs were made absolute, so that equal ones are equal bytes: puts the distances back. What
/// looks like a call in other files was changed too, and is put back too.
fn absolute_calls(out: &mut [u8]) {
    // The last ten bytes never were.
    let end = out.len().saturating_sub(10);
    let mut at = 0_usize;
    while at < end {
        let operand = at.saturating_add(1);
        if out.get(at) != Some(&0xE8) {
            at = operand;
            continue;
        }
        let place = i32::try_from(at).unwrap_or(i32::MAX);
        let target = bytes_at(out, operand).map_or(0, i32::from_le_bytes);
        let relative = match target {
            0..MAGIC_FILE_SIZE => Some(target.wrapping_sub(place)),
            _ if target < 0 && target >= place.wrapping_neg() => Some(target.wrapping_add(MAGIC_FILE_SIZE)),
            _ => None,
        };
        let bytes = out.get_mut(operand..).and_then(|rest| rest.first_chunk_mut::<4>());
        if let Some((bytes, relative)) = bytes.zip(relative) {
            *bytes = relative.to_le_bytes();
        }
        at = at.saturating_add(5);
    }
}

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects, clippy::indexing_slicing)]
mod tests {
    use super::*;

    /// A block without codes: its kind, a size of 16 bits, three distances, bytes.
    fn stored(bytes: &[u8]) -> Vec<u8> {
        let size = u16::try_from(bytes.len()).unwrap();
        let head = 3_u32 << 29 | u32::from(size) << 12;
        let words = [head >> 16, head & 0xFFFF].map(|word| u16::try_from(word).unwrap().to_le_bytes());
        let mut packed = words.concat();
        packed.extend([1, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0]);
        packed.extend(bytes);
        packed.resize(packed.len().next_multiple_of(2), 0);
        packed
    }

    #[test]
    fn stored_blocks() {
        let bytes = testkit::pattern(1001);
        let mut out = vec![0; 1001];
        unpack(&stored(&bytes), &mut out).unwrap();
        assert_eq!(out, bytes);
        let two = [stored(&bytes), stored(&bytes[..77])].concat();
        let mut out = vec![0; 1078];
        unpack(&two, &mut out).unwrap();
        assert_eq!(out, [&bytes[..], &bytes[..77]].concat());
        assert_eq!(unpack(&two, &mut [0; 1077]), None, "a block too large");
        assert_eq!(unpack(&two[..1080], &mut out), None, "cut short");
    }

    #[test]
    fn calls() {
        let mut out = [0; 40];
        (out[4], out[12], out[20], out[31]) = (0xE8, 0xE8, 0xE8, 0xE8);
        out[5..9].copy_from_slice(&100_i32.to_le_bytes());
        out[13..17].copy_from_slice(&(-3_i32).to_le_bytes());
        out[21..25].copy_from_slice(&(-30_i32).to_le_bytes());
        absolute_calls(&mut out);
        assert_eq!(out[5..9], 96_i32.to_le_bytes());
        assert_eq!(out[13..17], 11_999_997_i32.to_le_bytes());
        assert_eq!(out[21..25], (-30_i32).to_le_bytes());
        assert_eq!(out[31..36], [0xE8, 0, 0, 0, 0]);
    }
}
