//! Checksums that superblocks carry.

/// CRC-32C (Castagnoli), reflected, without the final complement.
pub(crate) fn crc32c(seed: u32, bytes: &[u8]) -> u32 {
    reflected(0x82F6_3B78, seed, bytes)
}

/// CRC-32 (IEEE), reflected, seeded and without the final complement: LVM2, NILFS2, F2FS.
pub(super) fn crc32(seed: u32, bytes: &[u8]) -> u32 {
    reflected(0xEDB8_8320, seed, bytes)
}

fn reflected(polynomial: u32, seed: u32, bytes: &[u8]) -> u32 {
    bytes.iter().fold(seed, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| (crc >> 1) ^ (polynomial & 0u32.wrapping_sub(crc & 1)))
    })
}

/// CRC-64 (ECMA-182), not reflected, complemented: bcache and bcachefs.
pub(super) fn crc64(bytes: &[u8]) -> u64 {
    let crc = bytes.iter().fold(u64::MAX, |crc, byte| {
        (0..8).fold(crc ^ (u64::from(*byte) << 56), |crc, _| {
            (crc << 1) ^ (0x42F0_E1EB_A9EA_3693 & 0u64.wrapping_sub(crc >> 63))
        })
    });
    !crc
}

/// Fletcher-64 as APFS uses it, over little-endian words.
pub(super) fn fletcher64(bytes: &[u8]) -> u64 {
    const MODULUS: u64 = 0xFFFF_FFFF;
    let (low, high) = bytes.as_chunks::<4>().0.iter().fold((0u64, 0u64), |(low, high), word| {
        let low = low.wrapping_add(u64::from(u32::from_le_bytes(*word))) % MODULUS;
        (low, high.wrapping_add(low) % MODULUS)
    });
    let check_low = MODULUS.wrapping_sub(low.wrapping_add(high) % MODULUS);
    let check_high = MODULUS.wrapping_sub(low.wrapping_add(check_low) % MODULUS);
    (check_high << 32) | check_low
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn check_values_of_the_catalogues() {
        assert_eq!(!crc32c(!0, b"123456789"), 0xE306_9283);
        assert_eq!(!crc32(!0, b"123456789"), 0xCBF4_3926);
        assert_eq!(crc64(b"123456789"), 0x62EC_59E3_F1A4_F00A);
    }
}
