//! Identifiers as blkid writes them.

/// 16 bytes in order; `None` if they are all zero, as blkid has it.
pub(super) fn plain(bytes: [u8; 16]) -> Option<String> {
    if bytes == [0; 16] {
        return None;
    }
    let mut text = hex(&bytes);
    for at in [20, 16, 12, 8] {
        text.insert(at, '-');
    }
    Some(text)
}

/// Small hex digits.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The serial number of FAT, exFAT and HPFS: `2008-0624`.
pub(super) fn serial(number: u32) -> String {
    format!("{:04X}-{:04X}", number >> 16, number & 0xFFFF)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn written_as_blkid_does() {
        let bytes = std::array::from_fn(|i| u8::try_from(i).unwrap());
        assert_eq!(plain(bytes).unwrap(), "00010203-0405-0607-0809-0a0b0c0d0e0f");
        assert_eq!(plain([0; 16]), None);
        assert_eq!(serial(0x2008_0624), "2008-0624");
    }
}
