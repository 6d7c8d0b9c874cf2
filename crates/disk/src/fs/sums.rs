//! The checksum of metadata that XFS and btrfs share: CRC-32C, at the speed that reading needs.

use crc::{Algorithm, CRC_32_ISCSI, Crc, Table};

static CRC32C: Crc<u32, Table<16>> = Crc::<u32, Table<16>>::new(&CRC_32_ISCSI);

/// Of all pieces, one behind the other.
pub(super) fn crc32c(pieces: &[&[u8]]) -> u32 {
    let mut digest = CRC32C.digest();
    pieces.iter().for_each(|piece| digest.update(piece));
    digest.finalize()
}

/// Neither begun nor ended with its bits inverted, as hashes of names are: begun with `seed`.
pub(super) fn crc32c_from(seed: u32, bytes: &[u8]) -> u32 {
    static PLAIN: Crc<u32, Table<1>> =
        Crc::<u32, Table<1>>::new(&Algorithm { init: 0, xorout: 0, ..CRC_32_ISCSI });
    let mut digest = PLAIN.digest_with_initial(seed.reverse_bits());
    digest.update(bytes);
    digest.finalize()
}

/// Of a structure that has its own checksum at byte `at`, taken as zero. `None` if it ends before.
pub(super) fn crc32c_without(bytes: &[u8], at: usize) -> Option<u32> {
    let (front, rest) = bytes.split_at_checked(at)?;
    Some(crc32c(&[front, &[0; 4], rest.get(4..)?]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_beginning_without_inversions() {
        assert_eq!(crc32c_from(!0, b"123456789"), !0xE306_9283);
        // What Linux stores of "default" in the tree of roots.
        assert_eq!(crc32c_from(!1, b"default"), 0x8DBF_C2D2);
    }

    #[test]
    fn the_check_value_of_the_catalogue_in_pieces_and_with_a_hole() {
        assert_eq!(crc32c(&[b"12345", b"", b"6789"]), 0xE306_9283);
        assert_eq!(crc32c_without(b"ab....cd", 2), Some(crc32c(&[b"ab\0\0\0\0cd"])));
        assert_eq!((crc32c_without(b"ab...", 2), crc32c_without(b"", 1)), (None, None));
    }
}
