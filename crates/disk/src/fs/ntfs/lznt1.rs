//! LZNT1, the compression of NTFS itself (MS-XCA 2.5): chunks of 4 KiB, in each of them bytes and references
//! to bytes before, the division of whose 16 bits between distance and length depends on the place.

use block::field::u16_at;

/// Bytes of a chunk when it is unpacked.
const CHUNK: usize = 4096;
const IS_COMPRESSED: u16 = 0x8000;

/// Unpacks to the length of `out`; what `packed` does not have is zero, as Windows has it. `None` if it is
/// damaged.
pub(super) fn unpack(packed: &[u8], out: &mut [u8]) -> Option<()> {
    out.fill(0);
    let mut rest = packed;
    for chunk in out.chunks_mut(CHUNK) {
        let Some(header) = u16_at(rest, 0).filter(|header| *header != 0) else { break };
        let (_, after) = rest.split_at_checked(2)?;
        let (body, after) = after.split_at_checked(usize::from(header & 0xFFF).checked_add(1)?)?;
        rest = after;
        if (header >> 12) & 7 != 3 {
            return None;
        }
        if header & IS_COMPRESSED == 0 {
            let len = body.len().min(chunk.len());
            chunk.get_mut(..len)?.copy_from_slice(body.get(..len)?);
        } else {
            unpack_chunk(body, chunk)?;
        }
    }
    Some(())
}

/// `out` is shorter than a chunk where the file ends.
fn unpack_chunk(mut body: &[u8], out: &mut [u8]) -> Option<()> {
    let mut at = 0_usize;
    while let Some((flags, after)) = body.split_first() {
        body = after;
        for bit in 0..8_u32 {
            if at >= out.len() || body.is_empty() {
                break;
            }
            if flags.checked_shr(bit)? & 1 == 0 {
                let (byte, after) = body.split_first()?;
                body = after;
                *out.get_mut(at)? = *byte;
                at = at.checked_add(1)?;
                continue;
            }
            let token = u16_at(body, 0)?;
            body = body.get(2..)?;
            // Twelve bits of length at the front; one less each time that the distance needs one more.
            let reach = at.checked_sub(1)?;
            let distance_bits = usize::BITS.checked_sub(reach.leading_zeros())?.max(4);
            let length_bits = 16_u32.checked_sub(distance_bits)?;
            let distance = usize::from(token.checked_shr(length_bits)?).checked_add(1)?;
            let length = usize::from(token & 0xFFFF_u16.checked_shr(distance_bits)?).checked_add(3)?;
            if at.checked_add(length)? > CHUNK {
                return None;
            }
            let length = length.min(out.len().checked_sub(at)?);
            repeat(out, at, distance, length)?;
            at = at.checked_add(length)?;
        }
    }
    Some(())
}

/// Copies `length` bytes to `at` from `distance` before, which may overlap them: then they repeat. `None` if
/// there is nothing so far before, or no room.
pub(super) fn repeat(out: &mut [u8], at: usize, distance: usize, length: usize) -> Option<()> {
    let from = at.checked_sub(distance).filter(|from| *from < at)?;
    let end = at.checked_add(length).filter(|end| *end <= out.len())?;
    let mut done = at;
    while done < end {
        // Each time twice as much is there.
        let take = done.checked_sub(from)?.min(end.checked_sub(done)?);
        out.copy_within(from..from.checked_add(take)?, done);
        done = done.checked_add(take)?;
    }
    Some(())
}

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects, clippy::indexing_slicing)]
mod tests {
    use super::*;

    /// The example of MS-XCA 3.3.
    const PACKED: &[u8] = &[
        0x38, 0xB0, 0x88, 0x46, 0x23, 0x20, 0x00, 0x20, 0x47, 0x20, 0x41, 0x00, 0x10, 0xA2, 0x47, 0x01, 0xA0,
        0x45, 0x20, 0x44, 0x00, 0x08, 0x45, 0x01, 0x50, 0x79, 0x00, 0xC0, 0x45, 0x20, 0x05, 0x24, 0x13, 0x88,
        0x05, 0xB4, 0x02, 0x4A, 0x44, 0xEF, 0x03, 0x58, 0x02, 0x8C, 0x09, 0x16, 0x01, 0x48, 0x45, 0x00, 0xBE,
        0x00, 0x9E, 0x00, 0x04, 0x01, 0x18, 0x90, 0x00,
    ];
    const PLAIN: &[u8] =
        b"F# F# G A A G F# E D D E F# F# E E F# F# G A A G F# E D D E F# E D D E E F# D E F# G F# D E F# G F# E D E A F# F# G A A G F# E D D E F# E D D\0";

    #[test]
    fn the_example_of_the_specification() {
        let mut out = vec![1; PLAIN.len() + 8];
        unpack(PACKED, &mut out).unwrap();
        assert_eq!(out[..PLAIN.len()], *PLAIN);
        assert_eq!(out[PLAIN.len()..], [0; 8]);
        let mut short = [0; 5];
        unpack(PACKED, &mut short).unwrap();
        assert_eq!(short, PLAIN[..5]);
    }

    #[test]
    fn a_stored_chunk_and_a_long_repetition() {
        let mut packed = vec![0xFF, 0x3F];
        packed.extend(testkit::pattern(4096));
        // One byte and a reference to it for the rest of the chunk.
        packed.extend([0x03, 0xB0, 0x02, b'x', 0xFC, 0x0F]);
        let mut out = vec![0; 8192];
        unpack(&packed, &mut out).unwrap();
        assert_eq!(out[..4096], testkit::pattern(4096));
        assert!(out[4096..].iter().all(|byte| *byte == b'x'));
    }

    #[test]
    fn damage_is_none_or_other_bytes() {
        assert_eq!(unpack(&[0x05, 0xB0, 1], &mut [0; 64]), None, "cut short");
        assert_eq!(unpack(&[0x02, 0xB0, 1, 0, 0], &mut [0; 64]), None, "a reference to before the start");
        assert_eq!(unpack(&[0x03, 0xB0, 2, b'x', 0xFF, 0x0F], &mut [0; 4096]), None, "too long");
        assert_eq!(unpack(&[0x00, 0xC0, 0], &mut [0; 64]), None, "another signature");
        let mut out = vec![0; 4096];
        for at in 0..PACKED.len() {
            for bit in 0..8 {
                let mut packed = PACKED.to_vec();
                packed[at] ^= 1 << bit;
                let _ = unpack(&packed, &mut out);
                let _ = unpack(&packed[..at], &mut out);
            }
        }
    }

    #[test]
    fn repetitions() {
        let mut out = *b"abc.........";
        repeat(&mut out, 3, 3, 7).unwrap();
        assert_eq!(&out, b"abcabcabca..");
        assert_eq!(repeat(&mut out, 3, 4, 1), None);
        assert_eq!(repeat(&mut out, 3, 0, 1), None);
        assert_eq!(repeat(&mut out, 3, 1, 10), None);
    }
}
