//! Compressed extents of btrfs: zlib, LZO in its own frames, zstd.

use super::corrupt;
use block::Result;
use block::field::u32_at;
use std::io::Read;

/// Bytes that an extent may hold or expand to: Linux writes 128 KiB.
pub(super) const MOST: u64 = 1 << 20;

/// Expands to `size` bytes. What it is short of is zero: Linux compresses up to the end of the file only.
pub(super) fn expand(kind: u8, packed: &[u8], size: usize, sector: usize) -> Result<Vec<u8>> {
    let mut plain = match kind {
        0 => packed.to_vec(),
        1 => zlib(packed, size)?,
        2 => lzo(packed, size, sector).ok_or_else(|| corrupt("an extent compressed with LZO"))?,
        3 => zstd(packed, size)?,
        _ => return Err(block::Error::new(block::ErrorKind::Unsupported, format!("compression {kind}"))),
    };
    plain.resize(size, 0);
    Ok(plain)
}

fn zlib(packed: &[u8], size: usize) -> Result<Vec<u8>> {
    use miniz_oxide::inflate::{TINFLStatus, decompress_to_vec_zlib_with_limit};
    match decompress_to_vec_zlib_with_limit(packed, size) {
        Ok(plain) => Ok(plain),
        Err(more) if more.status == TINFLStatus::HasMoreOutput => Ok(more.output),
        Err(_) => Err(corrupt("an extent compressed with zlib")),
    }
}

fn zstd(packed: &[u8], size: usize) -> Result<Vec<u8>> {
    let mut plain = vec![];
    // Behind the frame are zeroes up to the end of the sector.
    let most = u64::try_from(size).unwrap_or(0);
    zstd::stream::read::Decoder::with_buffer(packed)
        .and_then(|decoder| decoder.single_frame().take(most).read_to_end(&mut plain))
        .map_err(|_| corrupt("an extent compressed with zstd"))?;
    Ok(plain)
}

/// The length of all, then pieces of a sector, each with its length; no length lies across two sectors.
fn lzo(packed: &[u8], size: usize, sector: usize) -> Option<Vec<u8>> {
    let packed = packed.get(..usize::try_from(u32_at(packed, 0)?).ok()?)?;
    let (mut at, mut plain) = (4usize, Vec::with_capacity(size));
    while at < packed.len() && plain.len() < size {
        let left = sector.checked_sub(at.checked_rem(sector)?)?;
        if left < 4 {
            at = at.checked_add(left)?;
        }
        let len = usize::try_from(u32_at(packed, at)?).ok()?;
        at = at.checked_add(4)?;
        let end = at.checked_add(len)?;
        let mut piece = vec![0; sector];
        let written = lzokay::decompress::decompress(packed.get(at..end)?, &mut piece).ok()?;
        plain.extend_from_slice(piece.get(..written)?);
        at = end;
    }
    plain.truncate(size);
    Some(plain)
}

#[cfg(test)]
#[allow(clippy::indexing_slicing, clippy::arithmetic_side_effects)]
mod tests {
    use super::*;

    #[test]
    fn short_ones_are_filled_and_broken_ones_refused() {
        assert_eq!(expand(0, b"abc", 5, 4096).unwrap(), b"abc\0\0");
        let packed = miniz_oxide::deflate::compress_to_vec_zlib(b"abcabcabc", 6);
        let with_rest = [&packed[..], &[0; 40]].concat();
        assert_eq!(expand(1, &with_rest, 12, 4096).unwrap(), b"abcabcabc\0\0\0");
        assert_eq!(expand(1, &with_rest, 4, 4096).unwrap(), b"abca");
        let packed = [&zstd::bulk::compress(b"abcabcabc", 3).unwrap()[..], &[0; 40]].concat();
        assert_eq!(expand(3, &packed, 12, 4096).unwrap(), b"abcabcabc\0\0\0");
        for kind in 1..=4 {
            assert!(expand(kind, b"\xFF\xFF\xFF", 12, 4096).is_err(), "{kind}");
        }
    }

    /// Two pieces, the second one's length in the next sector since three bytes are left in this one.
    #[test]
    fn lengths_of_lzo_lie_in_one_sector() {
        let mut noise = vec![0; 4000];
        blake3::Hasher::new().finalize_xof().fill(&mut noise);
        let one = lzokay::compress::compress(&noise).unwrap();
        let sector = one.len() + 8 + 3;
        let two = lzokay::compress::compress(b"the second").unwrap();
        let length = |len: usize| u32::try_from(len).unwrap().to_le_bytes();
        let total = sector + 4 + two.len();
        let packed =
            [&length(total)[..], &length(one.len()), &one, &[9; 3], &length(two.len()), &two].concat();
        let plain = lzo(&packed, 5000, sector).unwrap();
        assert_eq!(plain, [&noise[..], b"the second"].concat());
        assert!(lzo(&packed[..total - 1], 5000, sector).is_none());
    }
}
