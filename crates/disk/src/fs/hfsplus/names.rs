//! Names: UTF-16 with letters and their accents apart, a slash where Unix has a colon.

use super::super::bytes::utf16;
use unicode_normalization::char::compose;

/// A name as Linux shows it: letters with their accents put together (NFC for what has a letter of its own), `:` for
/// the slash that a name may hold there, U+2400 for NUL.
pub(super) fn shown(units: &[u16]) -> Vec<u8> {
    let unix = units.iter().map(|unit| match unit {
        0x2F => 0x3A,
        0 => 0x2400,
        unit => *unit,
    });
    utf16(composed(&unix.collect::<Vec<_>>()))
}

/// The same of a name that somebody typed with its accents apart.
pub(super) fn typed(name: &[u8]) -> Vec<u8> {
    match std::str::from_utf8(name) {
        Ok(name) if !name.is_ascii() => utf16(composed(&name.encode_utf16().collect::<Vec<_>>())),
        _ => name.to_vec(),
    }
}

/// Puts together what has a letter of its own, pair by pair, as Linux does: letters that Unicode would replace by others
/// stay what they are.
fn composed(units: &[u16]) -> Vec<u16> {
    let mut out: Vec<u16> = vec![];
    for unit in units {
        let pair = out.last().and_then(|last| Some((letter(*last)?, letter(*unit)?)));
        let together = pair.and_then(|(last, next)| compose(last, next));
        match together.and_then(|together| u16::try_from(u32::from(together)).ok()) {
            Some(together) => {
                out.pop();
                out.push(together);
            }
            None => out.push(*unit),
        }
    }
    out
}

fn letter(unit: u16) -> Option<char> {
    char::from_u32(unit.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accents_are_put_together() {
        let apart = |text: &str| shown(&text.encode_utf16().collect::<Vec<_>>());
        assert_eq!(apart("gru\u{308}n"), "gr\u{fc}n".as_bytes());
        assert_eq!(apart("a\u{323}\u{302}"), "\u{1ead}".as_bytes());
        assert_eq!(apart("\u{1112}\u{1161}\u{11ab}\u{1100}\u{1173}x"), "\u{d55c}\u{adf8}x".as_bytes());
        assert_eq!(apart("x\u{302}"), "x\u{302}".as_bytes());
        assert_eq!(apart("1/2\0"), "1:2\u{2400}".as_bytes());
        assert_eq!(typed("gru\u{308}n".as_bytes()), "gr\u{fc}n".as_bytes());
    }
}
