//! Names: UTF-16 with letters and their accents apart, a slash where Unix has a colon.

use super::super::bytes::utf16;
use fstool::fs::hfs_plus::unicode::normalize_units;
use std::collections::HashMap;
use std::sync::LazyLock;

/// Parts of at most this many units are put together.
const LONGEST: usize = 4;

/// What the parts of a letter are together, from the tables that say what a letter is apart.
static TOGETHER: LazyLock<HashMap<Vec<u16>, u16>> = LazyLock::new(|| {
    let mut together = HashMap::new();
    for unit in 0xC0..=u16::MAX {
        // Syllables of Hangul are computed.
        let Some(letter) = char::from_u32(unit.into()).filter(|_| !(HANGUL..HANGUL_END).contains(&unit))
        else {
            continue;
        };
        let apart = normalize_units(letter.encode_utf8(&mut [0; 4]));
        if (2..=LONGEST).contains(&apart.len()) {
            together.entry(apart).or_insert(unit);
        }
    }
    together
});

const HANGUL: u16 = 0xAC00;
const HANGUL_END: u16 = 0xD7A4;

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

fn composed(units: &[u16]) -> Vec<u16> {
    if units.iter().all(|unit| *unit < 0x300) {
        return units.to_vec();
    }
    let (mut out, mut rest) = (vec![], units);
    while let [first, later @ ..] = rest {
        let part = (2..=LONGEST.min(rest.len())).rev().find_map(|len| {
            let letter = TOGETHER.get(rest.get(..len)?)?;
            Some((*letter, rest.get(len..)?))
        });
        let (unit, behind) = part.or_else(|| hangul(rest)).unwrap_or((*first, later));
        out.push(unit);
        rest = behind;
    }
    out
}

/// A syllable of Hangul of its two or three parts (Unicode, section 3.12).
fn hangul(units: &[u16]) -> Option<(u16, &[u16])> {
    let [lead, vowel, rest @ ..] = units else { return None };
    let lead = lead.checked_sub(0x1100).filter(|lead| *lead < 19)?;
    let vowel = vowel.checked_sub(0x1161).filter(|vowel| *vowel < 21)?;
    let syllable = lead.checked_mul(21)?.checked_add(vowel)?.checked_mul(28)?.checked_add(HANGUL)?;
    let tail = rest.split_first().and_then(|(tail, behind)| {
        let tail = tail.checked_sub(0x11A7).filter(|tail| (1..28).contains(tail))?;
        Some((syllable.checked_add(tail)?, behind))
    });
    Some(tail.unwrap_or((syllable, rest)))
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
