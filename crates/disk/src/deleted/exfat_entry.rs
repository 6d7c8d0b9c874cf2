//! Sets of entries of exFAT (Microsoft, "exFAT file system specification" 1.00). Deleting a file clears the top bit
//! of each of its entries, and nothing else: the checksum of the set still tells whether all of it is there.

use super::fat_entry::dos_time;
use super::names::is_name;
use crate::fs::{Time, dos};
use block::field::{bytes_at, u16_at, u32_at, u64_at};

/// Bytes of an entry.
pub(super) const ENTRY: usize = 32;
const IN_USE: u8 = 0x80;
const FILE: u8 = 0x05;
const STREAM: u8 = 0x40;
const NAME: u8 = 0x41;
const FOLDER: u16 = 0x10;

/// A file or folder.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    /// Which of the entries of its folder is the first of its set.
    pub(super) slot: usize,
    pub(super) is_gone: bool,
    pub(super) is_folder: bool,
    pub(super) name: Vec<u8>,
    pub(super) cluster: u32,
    /// Its clusters lie behind each other, and the table says nothing of them.
    pub(super) is_one_piece: bool,
    pub(super) size: u64,
    /// Bytes that were ever written to.
    pub(super) written: u64,
    pub(super) created: Option<Time>,
    pub(super) modified: Option<Time>,
    pub(super) accessed: Option<Time>,
}

/// The sets of a folder that are whole, there or deleted.
pub(super) fn entries(bytes: &[u8]) -> Vec<Entry> {
    let slots = bytes.as_chunks::<ENTRY>().0;
    let end = slots.iter().position(|slot| slot.first() == Some(&0)).unwrap_or(slots.len());
    let slots = slots.get(..end).unwrap_or_default();
    let (mut found, mut at) = (vec![], 0usize);
    while let Some(slot) = slots.get(at) {
        let [kind, count, ..] = *slot;
        let set = (kind & !IN_USE == FILE)
            .then(|| at.checked_add(usize::from(count)).and_then(|end| slots.get(at..=end)));
        match set.flatten().and_then(|set| entry(at, set)) {
            Some(entry) => {
                found.push(entry);
                at = at.saturating_add(usize::from(count)).saturating_add(1);
            }
            None => at = at.saturating_add(1),
        }
    }
    found
}

/// A set, if its checksum is right.
fn entry(slot: usize, set: &[[u8; ENTRY]]) -> Option<Entry> {
    let [file, stream, names @ ..] = set else { return None };
    let is_gone = file.first()? & IN_USE == 0;
    let is = |entry: &[u8; ENTRY], kind: u8| entry.first().is_some_and(|first| first & !IN_USE == kind);
    if !is(stream, STREAM)
        || !names.iter().all(|entry| entry.first().is_some_and(|first| (first & IN_USE == 0) == is_gone))
    {
        return None;
    }
    if checksum(set) != u16_at(file, 2)? {
        return None;
    }
    let [units] = bytes_at::<1>(stream, 3)?;
    let text = names.iter().filter(|entry| is(entry, NAME)).flat_map(|entry| {
        let units = entry.get(2..).unwrap_or_default().as_chunks::<2>().0;
        units.iter().map(|unit| u16::from_le_bytes(*unit))
    });
    let name = dos::name(text.take(units.into()));
    let [flags] = bytes_at::<1>(stream, 1)?;
    let byte = |at| bytes_at(file, at).map(|[byte]: [u8; 1]| byte);
    let time = |at, hundredths, zone| {
        let both = u32_at(file, at)?;
        let (date, time) = (u16::try_from(both >> 16).ok()?, u16::try_from(both & 0xFFFF).ok()?);
        let time = dos_time(date, time, hundredths)?;
        // Quarters of an hour ahead of UTC, in seven bits with a sign, where the top bit says that it is known.
        let zone: u8 = zone;
        let quarters = if zone & 0x80 == 0 { 0 } else { i64::from(i8::from_le_bytes([zone << 1]) / 2) };
        Some(Time { seconds: time.seconds.checked_sub(quarters.checked_mul(900)?)?, ..time })
    };
    is_name(&name).then_some(Entry {
        slot,
        is_gone,
        is_folder: u16_at(file, 4)? & FOLDER != 0,
        name,
        cluster: u32_at(stream, 20)?,
        is_one_piece: flags & 2 != 0,
        size: u64_at(stream, 24)?,
        written: u64_at(stream, 8)?,
        created: time(8, byte(20)?, byte(22)?),
        modified: time(12, byte(21)?, byte(23)?),
        accessed: time(16, 0, byte(24)?),
    })
}

/// The checksum of a set as it was when it was in use.
fn checksum(set: &[[u8; ENTRY]]) -> u16 {
    let mut sum = 0u16;
    for (index, entry) in set.iter().enumerate() {
        for (at, byte) in entry.iter().enumerate() {
            let byte = if at == 0 { byte | IN_USE } else { *byte };
            if index != 0 || !matches!(at, 2 | 3) {
                sum = sum.rotate_right(1).wrapping_add(byte.into());
            }
        }
    }
    sum
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

    fn set(is_gone: bool) -> Vec<[u8; ENTRY]> {
        let bit = if is_gone { 0 } else { IN_USE };
        let (mut file, mut stream, mut name) = ([0; ENTRY], [0; ENTRY], [0; ENTRY]);
        (file[0], file[1], stream[0], name[0]) = (FILE | bit, 2, STREAM | bit, NAME | bit);
        // 2026-11-27 08:00 an hour ahead of UTC.
        file[8..12].copy_from_slice(&(((46 << 9 | 11 << 5 | 27u32) << 16) | 8 << 11).to_le_bytes());
        file[22] = 0x84;
        (stream[1], stream[3], stream[20], stream[24]) = (3, 2, 9, 77);
        name[2..6].copy_from_slice(&[b'h', 0, b'i', 0]);
        let mut set = vec![file, stream, name];
        let sum = checksum(&set).to_le_bytes();
        set[0][2..4].copy_from_slice(&sum);
        set
    }

    #[test]
    fn a_deleted_set_is_read() {
        for is_gone in [true, false] {
            let found = entries(set(is_gone).as_flattened());
            let [file] = &found[..] else { panic!("{found:?}") };
            assert_eq!((&file.name[..], file.cluster, file.size), (&b"hi"[..], 9, 77));
            assert_eq!((file.is_gone, file.is_one_piece, file.is_folder), (is_gone, true, false));
            assert_eq!(file.created.unwrap().seconds, 1_795_762_800);
        }
    }

    #[test]
    fn a_set_that_is_not_whole_is_none() {
        let good = set(true);
        for (entry, at) in [(0, 0), (0, 1), (0, 2), (1, 0), (1, 20), (2, 0), (2, 2)] {
            let mut bad = good.clone();
            bad[entry][at] ^= 0x81;
            assert!(entries(bad.as_flattened()).is_empty(), "byte {at} of entry {entry}");
        }
        assert!(entries(good[..2].as_flattened()).is_empty());
    }
}
