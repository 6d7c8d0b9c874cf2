//! Fields of on-disk structures: numbers in bytes that nobody vouches for.
//!
//! Each function reads at byte `at` and gives `None` where the bytes end first, so that a structure that
//! is cut short is an answer and no panic.

/// `N` bytes.
pub fn bytes_at<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk().copied()
}

/// Little-endian, 2 bytes.
pub fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes_at(bytes, at).map(u16::from_le_bytes)
}

/// Little-endian, 4 bytes.
pub fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes_at(bytes, at).map(u32::from_le_bytes)
}

/// Little-endian, 8 bytes.
pub fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    bytes_at(bytes, at).map(u64::from_le_bytes)
}

/// Big-endian, 2 bytes.
pub fn be16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes_at(bytes, at).map(u16::from_be_bytes)
}

/// Big-endian, 4 bytes.
pub fn be32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes_at(bytes, at).map(u32::from_be_bytes)
}

/// Big-endian, 8 bytes.
pub fn be64_at(bytes: &[u8], at: usize) -> Option<u64> {
    bytes_at(bytes, at).map(u64::from_be_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BYTES: [u8; 9] = [0, 1, 2, 3, 4, 5, 6, 7, 8];

    #[test]
    fn both_orders_at_any_place() {
        assert_eq!((u16_at(&BYTES, 1), be16_at(&BYTES, 1)), (Some(0x0201), Some(0x0102)));
        assert_eq!((u32_at(&BYTES, 5), be32_at(&BYTES, 5)), (Some(0x0807_0605), Some(0x0506_0708)));
        assert_eq!(u64_at(&BYTES, 1), Some(0x0807_0605_0403_0201));
        assert_eq!(be64_at(&BYTES, 1), Some(0x0102_0304_0506_0708));
    }

    #[test]
    fn what_is_cut_short_is_none() {
        assert_eq!((u16_at(&BYTES, 8), u32_at(&BYTES, 6), u64_at(&BYTES, 2)), (None, None, None));
        assert_eq!(
            (be16_at(&BYTES, 9), be32_at(&BYTES, 10), be64_at(&BYTES, usize::MAX)),
            (None, None, None)
        );
        assert_eq!(bytes_at::<0>(&BYTES, 9), Some([]));
        assert_eq!(bytes_at::<0>(&BYTES, 10), None);
    }
}
