//! Entries of FAT folders, those that were deleted too (Microsoft, "FAT: General Overview of On-Disk Format"
//! 1.03). Deleting one overwrites its first byte, and those of the parts of its long name.

use super::names::is_name;
use crate::fat::short_name;
use crate::fs::{Time, dos};
use block::field::{bytes_at, u16_at, u32_at};

/// Bytes of an entry.
pub(super) const ENTRY: usize = 32;
const GONE: u8 = 0xE5;
const LONG: u8 = 0x0F;
const LABEL: u8 = 0x08;
const FOLDER: u8 = 0x10;
/// Parts of a long name.
const PARTS: usize = 20;

/// A file or folder.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    /// Which of the entries of its folder it is.
    pub(super) slot: usize,
    pub(super) is_gone: bool,
    pub(super) is_folder: bool,
    pub(super) name: Vec<u8>,
    /// Two halves: Windows clears the upper one when it deletes.
    pub(super) high: u16,
    pub(super) low: u16,
    pub(super) size: u32,
    pub(super) created: Option<Time>,
    pub(super) modified: Option<Time>,
    pub(super) accessed: Option<Time>,
}

/// The entries of a folder, without `.`, `..` and the label. What lies behind its end is none of it.
pub(super) fn entries(bytes: &[u8]) -> Vec<Entry> {
    let slots = bytes.as_chunks::<ENTRY>().0;
    let end = slots.iter().position(|slot| slot.first() == Some(&0)).unwrap_or(slots.len());
    let slots = slots.get(..end).unwrap_or_default();
    let mut found = vec![];
    for (index, slot) in slots.iter().enumerate() {
        let [first, .., _] = *slot;
        let Some([attr]) = bytes_at(slot, 11) else { continue };
        let is_gone = first == GONE;
        if attr & 0x3F == LONG || attr & LABEL != 0 || first == b'.' || (is_gone && !is_sane(slot, attr)) {
            continue;
        }
        let before = slots.get(..index).unwrap_or_default();
        let name = long_name(before, slot, is_gone).unwrap_or_else(|| {
            let mut slot = *slot;
            if let Some(first) = slot.first_mut().filter(|_| is_gone) {
                *first = b'_';
            }
            short_name(&slot).into_bytes()
        });
        let field = |at| u16_at(slot, at).unwrap_or(0);
        let tenths = bytes_at(slot, 13).map_or(0, |[tenths]: [u8; 1]| tenths);
        found.push(Entry {
            slot: index,
            is_gone,
            is_folder: attr & FOLDER != 0,
            name,
            high: field(20),
            low: field(26),
            size: u32_at(slot, 28).unwrap_or(0),
            created: dos_time(field(16), field(14), tenths),
            modified: dos_time(field(24), field(22), 0),
            accessed: dos_time(field(18), 0, 0),
        });
    }
    found
}

/// Can this be what is left of an entry? Other bytes may begin like one.
fn is_sane(slot: &[u8; ENTRY], attr: u8) -> bool {
    let is_letter = |byte: &u8| !matches!(byte, 0..0x20 | b'"' | b'*' | b'+' | b',' | b'.' | b'/' | b':'..=b'?' | b'['..=b']' | b'|');
    let name = slot.get(1..11).unwrap_or_default();
    attr & 0xC0 == 0 && name.iter().all(is_letter)
}

/// The long name in front of an entry, if all of it is there and belongs to it.
fn long_name(before: &[[u8; ENTRY]], slot: &[u8; ENTRY], is_gone: bool) -> Option<Vec<u8>> {
    let mut units: Vec<u16> = vec![];
    let mut sum = None;
    let mut is_whole = false;
    for (number, part) in (1u8..).zip(before.iter().rev().take(PARTS)) {
        let [ord, .., _] = *part;
        let [attr, _, checksum] = bytes_at(part, 11)?;
        let is_next = if is_gone { ord == GONE } else { ord & 0x1F == number };
        if attr & 0x3F != LONG || !is_next || *sum.get_or_insert(checksum) != checksum {
            break;
        }
        let places = [1usize, 3, 5, 7, 9, 14, 16, 18, 20, 22, 24, 28, 30];
        let part = places.map(|at| u16_at(part, at).unwrap_or(0));
        let text = part.iter().copied().take_while(|unit| *unit != 0);
        units.extend(text);
        // The part with the end is the last one; without an end there are as many as the marks say.
        is_whole = !is_gone && ord & 0x40 != 0;
        if part.contains(&0) || is_whole {
            is_whole = true;
            break;
        }
    }
    // A name that fills its parts exactly has no end: it ends where the parts do.
    let name = dos::name(units);
    let short = bytes_at::<11>(slot, 0)?;
    let fits =
        if is_gone { first_of(short, sum?).is_some() } else { is_whole && checksum_of(&short) == sum? };
    (fits && is_name(&name)).then_some(name)
}

fn checksum_of(short: &[u8; 11]) -> u8 {
    short.iter().fold(0u8, |sum, byte| sum.rotate_right(1).wrapping_add(*byte))
}

/// The first byte that a short name must have had for this checksum, if it is one that a short name begins with.
fn first_of(mut short: [u8; 11], sum: u8) -> Option<u8> {
    let fits = |byte: &u8| {
        if let Some(first) = short.first_mut() {
            *first = *byte;
        }
        checksum_of(&short) == sum
    };
    let first = (0..=u8::MAX).find(fits)?;
    let is_first =
        matches!(first, 0x05 | b'0'..=b'9' | b'A'..=b'Z' | 0x80..) || b"!#$%&'()-@^_`{}~".contains(&first);
    is_first.then_some(first)
}

/// A date and a time of DOS, with hundredths behind its two seconds. `None` if there is none.
pub(super) fn dos_time(date: u16, time: u16, hundredths: u8) -> Option<Time> {
    let (year, month, day) = (i64::from(date >> 9), i64::from(date >> 5 & 0xF), i64::from(date & 0x1F));
    if !(1..=12).contains(&month) || day == 0 {
        return None;
    }
    // Days of the months in front, in a year that begins in March, so that a leap day is the last.
    let year = year.checked_add(1980)?.checked_sub(i64::from(month <= 2))?;
    let shifted = month.checked_add(9)?.checked_rem(12)?;
    let months = shifted.checked_mul(153)?.checked_add(2)? / 5;
    let leaps = (year / 4).checked_sub(year / 100)?.checked_add(year / 400)?;
    let days = year.checked_mul(365)?.checked_add(leaps)?.checked_add(months)?.checked_add(day)?;
    let days = days.checked_sub(719_469)?;
    let (hour, minute, pair) = (i64::from(time >> 11), i64::from(time >> 5 & 0x3F), i64::from(time & 0x1F));
    let of_day =
        hour.checked_mul(60)?.checked_add(minute)?.checked_mul(60)?.checked_add(pair.checked_mul(2)?)?;
    let more = i64::from(hundredths) / 100;
    let seconds = days.checked_mul(86_400)?.checked_add(of_day)?.checked_add(more)?;
    Some(Time { seconds, nanos: u32::from(hundredths % 100).checked_mul(10_000_000)? })
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
    fn times_of_dos() {
        let seconds = |date, time| dos_time(date, time, 0).map(|time| time.seconds);
        let date = |year: u16, month: u16, day: u16| (year - 1980) << 9 | month << 5 | day;
        assert_eq!(seconds(date(1980, 1, 1), 0), Some(315_532_800));
        assert_eq!(seconds(date(2000, 2, 29), 23 << 11 | 59 << 5 | 29), Some(951_868_798));
        assert_eq!(seconds(date(2000, 3, 1), 0), Some(951_868_800));
        assert_eq!(seconds(date(2026, 11, 27), 7 << 11), Some(1_795_762_800));
        assert_eq!((seconds(0, 0), seconds(date(1990, 13, 1), 0)), (None, None));
        assert_eq!(dos_time(date(1980, 1, 1), 0, 150).unwrap().nanos, 500_000_000);
    }

    /// `HELLO W~1.TXT` as "Hello World.txt", deleted.
    fn deleted() -> Vec<u8> {
        let short = *b"HELLOW~1TXT";
        let sum = checksum_of(&short);
        let name: Vec<u16> = "Hello World.txt".encode_utf16().chain([0]).collect();
        let part = |units: &[u16]| {
            let mut slot = [0xFF; ENTRY];
            slot[0] = GONE;
            (slot[11], slot[12], slot[13], slot[26], slot[27]) = (LONG, 0, sum, 0, 0);
            let places = [1usize, 3, 5, 7, 9, 14, 16, 18, 20, 22, 24, 28, 30];
            for (at, unit) in places.into_iter().zip(units) {
                slot[at..at + 2].copy_from_slice(&unit.to_le_bytes());
            }
            slot
        };
        let mut entry = [0; ENTRY];
        entry[..11].copy_from_slice(&short);
        (entry[0], entry[26], entry[28]) = (GONE, 9, 100);
        [part(&name[13..]), part(&name[..13]), entry].concat()
    }

    #[test]
    fn a_long_name_survives() {
        let found = entries(&deleted());
        let [file] = &found[..] else { panic!("{found:?}") };
        assert_eq!((&file.name[..], file.low, file.size), (&b"Hello World.txt"[..], 9, 100));
        assert!(file.is_gone && !file.is_folder);
    }

    #[test]
    fn what_is_left_of_another_name_is_not_its_own() {
        // Another checksum, a part that was given away, a folder that ends in front.
        for (at, value) in [(32 + 13, 0x11), (32 + 11, 0x20)] {
            let mut bytes = deleted();
            bytes[at] = value;
            let found = entries(&bytes);
            assert_eq!(found.last().unwrap().name, b"_ELLOW~1.TXT", "byte {at}");
        }
        let mut bytes = deleted();
        bytes[64 + 5] = b'/';
        assert!(entries(&bytes).is_empty());
        bytes[0] = 0;
        assert!(entries(&bytes).is_empty());
    }
}
