//! XPRESS with Huffman codes (MS-XCA 2.2), as Windows compresses its own programs ("CompactOS").

use super::bits::{Bits, Huffman};
use super::lznt1::repeat;

/// Bytes of the table in front: lengths of 512 codes of four bits.
const TABLE: usize = 256;

/// Unpacks one chunk of 64 KiB at most to the length of `out`. `None` if it is damaged.
pub(super) fn unpack(packed: &[u8], out: &mut [u8]) -> Option<()> {
    let (table, body) = packed.split_at_checked(TABLE)?;
    let lengths: Vec<u8> = table.iter().flat_map(|byte| [byte & 15, byte >> 4]).collect();
    let code = Huffman::new(&lengths)?;
    let (mut bits, mut at) = (Bits::new(body), 0_usize);
    while at < out.len() {
        let symbol = code.next(&mut bits)?;
        if let Ok(byte) = u8::try_from(symbol) {
            *out.get_mut(at)? = byte;
            at = at.checked_add(1)?;
            continue;
        }
        // Bytes of a long length stand behind the word that the distance is in.
        bits.fill();
        let distance_bits = u32::from(symbol >> 4 & 15);
        let distance = 1_u32.checked_shl(distance_bits)? | bits.take(distance_bits);
        let length = match symbol & 15 {
            15 => match bits.bytes::<1>()? {
                [0xFF] => usize::from(u16::from_le_bytes(bits.bytes()?)),
                [more] => usize::from(more).checked_add(15)?,
            },
            short => usize::from(short),
        };
        let length = length.checked_add(3)?;
        repeat(out, at, usize::try_from(distance).ok()?, length)?;
        at = at.checked_add(length)?;
    }
    (!bits.overran()).then_some(())
}

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects, clippy::indexing_slicing)]
mod tests {
    use super::*;

    /// The first example of MS-XCA 3.2: the alphabet, of which each letter has a code of 4 or 5 bits.
    fn alphabet() -> Vec<u8> {
        let mut packed = vec![0; TABLE];
        packed[0x30..0x3E].copy_from_slice(&[
            0x50, 0x55, 0x55, 0x55, 0x55, 0x55, 0x55, 0x55, 0x55, 0x55, 0x55, 0x45, 0x44, 0x04,
        ]);
        packed[0x80] = 0x04;
        packed.extend([
            0xD8, 0x52, 0x3E, 0xD7, 0x94, 0x11, 0x5B, 0xE9, 0x19, 0x5F, 0xF9, 0xD6, 0x7C, 0xDF, 0x8D, 0x04,
            0x00, 0x00, 0x00, 0x00,
        ]);
        packed
    }

    /// The second: three letters and a reference that repeats them 99 times.
    fn repeated() -> Vec<u8> {
        let mut packed = vec![0; TABLE];
        packed[0x30..0x32].copy_from_slice(&[0x30, 0x23]);
        (packed[0x80], packed[0x8F]) = (0x02, 0x20);
        packed.extend([0xA8, 0xDC, 0x00, 0x00, 0xFF, 0x26, 0x01]);
        packed
    }

    #[test]
    fn the_examples_of_the_specification() {
        let mut out = [0; 26];
        unpack(&alphabet(), &mut out).unwrap();
        assert_eq!(&out, b"abcdefghijklmnopqrstuvwxyz");
        let mut out = [0; 300];
        unpack(&repeated(), &mut out).unwrap();
        assert_eq!(out.to_vec(), b"abc".repeat(100));
    }

    #[test]
    fn damage_is_none_or_other_bytes() {
        assert_eq!(unpack(&alphabet()[..200], &mut [0; 26]), None);
        assert_eq!(unpack(&alphabet()[..264], &mut [0; 26]), None, "cut short");
        assert_eq!(unpack(&repeated(), &mut [0; 299]), None, "too long");
        for packed in [alphabet(), repeated()] {
            for (at, bit) in (0..packed.len()).flat_map(|at| (0..8).map(move |bit| (at, bit))) {
                let mut packed = packed.clone();
                packed[at] ^= 1 << bit;
                let _ = unpack(&packed, &mut [0; 300]);
            }
        }
    }
}
