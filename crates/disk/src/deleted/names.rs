//! Names in UTF-16, as bytes.

/// UTF-8; surrogates without their other half as three bytes of their own (WTF-8), so that nothing is lost.
pub(super) fn wtf8(units: impl IntoIterator<Item = u16>) -> Vec<u8> {
    let mut name = vec![];
    for c in char::decode_utf16(units) {
        match c {
            Ok(c) => name.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
            Err(alone) => {
                let [high, low] = alone.unpaired_surrogate().to_be_bytes();
                let second = 0x80 | (high & 0x0F) << 2 | low >> 6;
                name.extend_from_slice(&[0xE0 | high >> 4, second, 0x80 | low & 0x3F]);
            }
        }
    }
    name
}

/// One component that is a name: what is none does not come from a filesystem.
pub(super) fn is_name(name: &[u8]) -> bool {
    !matches!(name, b"" | b"." | b"..") && !name.iter().any(|byte| matches!(byte, 0 | b'/'))
}

/// A folder in a folder.
pub(super) fn join(folder: &[u8], name: &[u8]) -> Vec<u8> {
    let between: &[u8] = if folder.is_empty() { b"" } else { b"/" };
    [folder, between, name].concat()
}

#[cfg(test)]
#[allow(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    clippy::cast_possible_truncation
)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_lost() {
        assert_eq!(wtf8("a\u{fc}\u{1f600}".encode_utf16()), "a\u{fc}\u{1f600}".as_bytes());
        assert_eq!(wtf8([0xD83D, 0x41]), [0xED, 0xA0, 0xBD, 0x41]);
        assert_eq!((join(b"", b"a"), join(b"a", b"b")), (b"a".to_vec(), b"a/b".to_vec()));
        assert!(is_name(b"...") && !is_name(b"a/b") && !is_name(b""));
    }
}
