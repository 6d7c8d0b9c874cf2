//! An index with right digests and records that somebody made to harm.

use crate::build::{BLOCK, GRID, Page, Record, extent, frame, index, manifest};
use block::{ErrorKind, ReadAt, Result};
use image::{Index, Manifest, encode_stored, encode_zero, value};
use proptest::prelude::*;
use std::sync::Arc;
use testkit::Memory;

/// A file of which only a length is claimed: reads as zeroes and counts what is asked of it.
struct Huge(u64);

impl ReadAt for Huge {
    fn size(&self) -> u64 {
        self.0
    }

    fn read_at(&self, _: u64, buf: &mut [u8]) -> Result<()> {
        assert!(buf.len() <= 64 << 20, "a read of {} bytes", buf.len());
        buf.fill(0);
        Ok(())
    }
}

/// Opens the index of one `.zst` of these lengths, and reads some of it.
fn read(pages: &[Page], length: u64, stored: u64) -> Result<()> {
    let made = index(pages);
    let parsed = Manifest::parse(manifest(&[("t", "zst", length, stored)], &made).as_bytes())?;
    let index = Arc::new(Index::open(Arc::new(Memory::new(made.bytes)), &parsed)?);
    let plain = image::plain(&parsed, &index, 0, Arc::new(Huge(stored)))?;
    plain.extent_at(0)?;
    plain.read_at(0, &mut [0; 100])?;
    plain.read_at(length - 1, &mut [0])
}

fn corrupt(pages: &[Page], length: u64, stored: u64) {
    let error = read(pages, length, stored).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
}

fn frames(records: Vec<Record>) -> Page {
    Page { kind: 1, file: 0, records }
}

#[test]
fn frames_that_claim_more_than_a_frame_can_be() {
    for (sort, plain, stored) in [
        (1, (0, 1 << 30), (0, 100)),
        (2, (0, 1 << 30), (0, (1 << 30) + 24_590)),
        (1, (0, GRID), (0, 0xFFFF_FFFF)),
        (3, (0, GRID), (0, 0xFFFF_FFFF)),
        (3, (0, 0xFFFF_FFFF), (0, 131_086)),
        (1, (1 << 60, GRID), (0, 100)),
        (1, (u64::MAX - 5, GRID), (0, 100)),
        (1, (0, GRID), (u64::MAX - 5, 100)),
        (9, (0, GRID), (0, 100)),
    ] {
        corrupt(&[frames(vec![frame(plain, stored, sort, 1, [0; 32])])], plain.1, stored.1);
    }
}

#[test]
fn pages_that_do_not_follow_each_other() {
    let zero = |at: u64, from: u64| frame((at * GRID, GRID), (from, 18), 3, 0, [0; 32]);
    let pages = |from: [u64; 3]| {
        let pages = (0..).zip(from).map(|(at, from)| frames(vec![zero(at, from)]));
        pages.collect::<Vec<Page>>()
    };
    let made = index(&pages([0, 18, 36]));
    let all = |pages: &[Page]| {
        let made = index(pages);
        let parsed = Manifest::parse(manifest(&[("t", "zst", 3 * GRID, 1000)], &made).as_bytes())?;
        let index = Index::open(Arc::new(Memory::new(made.bytes)), &parsed)?;
        index.frames_from(0, 0).collect::<Result<Vec<_>>>()
    };
    assert_eq!(all(&pages([0, 18, 36])).unwrap().len(), 3);
    for from in [[18, 36, 54], [0, 36, 18], [0, 18, 0], [0, 18, 40], [0, 900, 1 << 50]] {
        assert_eq!(all(&pages(from)).unwrap_err().kind(), ErrorKind::Corrupt, "{from:?}");
    }
    let parsed = Manifest::parse(manifest(&[("t", "zst", 3 * GRID, 1000)], &made).as_bytes()).unwrap();
    for size in [0, 1, 65_535, made.bytes.len() - 1, made.bytes.len() + 65_536] {
        let mut bytes = made.bytes.clone();
        bytes.resize(size, 0);
        assert!(Index::open(Arc::new(Memory::new(bytes)), &parsed).is_err(), "{size} bytes");
    }
}

#[test]
fn entries_of_what_is_not_there() {
    let right = frames(vec![frame((0, GRID), (0, 18), 3, 0, [0; 32])]);
    let lost = |file, extents: &[(u64, u64)]| Page {
        kind: 2,
        file,
        records: extents.iter().map(|(start, len)| extent(*start, *len, 2)).collect(),
    };
    let bad = read(&[right.clone(), lost(0, &[(0, 1)])], GRID, 100);
    assert_eq!(bad.unwrap_err().kind(), ErrorKind::Media, "right so far");
    for wrong in [
        Page { file: 1, ..right.clone() },
        Page { file: u32::MAX, ..right.clone() },
        Page { kind: 3, ..right.clone() },
        Page { kind: 77, ..right.clone() },
        lost(9, &[(0, 1)]),
        lost(0, &[(0, GRID + 1)]),
        lost(0, &[(5, u64::MAX)]),
    ] {
        corrupt(&[right.clone(), wrong], GRID, 100);
    }
    corrupt(&[right.clone(), lost(0, &[(0, 9)]), lost(0, &[(8, 9)])], GRID, 100);
}

#[test]
fn more_pages_than_any_index_has() {
    for pages in ["1099511627776", "4294967295", "4294967296", "1048577", "-1"] {
        let made = index(&[]);
        let json = manifest(&[("t", "zst", GRID, 100)], &made);
        let json = json.replace(r#""pages":0"#, &format!(r#""pages":{pages}"#));
        let Ok(parsed) = Manifest::parse(json.as_bytes()) else { continue };
        let wanted = parsed.index.pages.map_or(0, u64::from);
        let huge = Arc::new(Huge((wanted + wanted.div_ceil(1022)) * 65_536));
        assert_eq!(Index::open(huge, &parsed).err().unwrap().kind(), ErrorKind::Corrupt);
    }
}

/// Part of a 1 GiB zero frame beside other frames does not take 1 GiB.
#[test]
fn long_zero_frames_are_never_in_memory() {
    let zeroes = 1_u64 << 30;
    let cell = usize::try_from(GRID).unwrap();
    let (mut bytes, data) = (vec![], vec![5; cell]);
    encode_zero(zeroes, &mut bytes);
    let first = bytes.len() as u64;
    encode_stored(&data, &mut bytes);
    let length = zeroes + GRID;
    let made = index(&[frames(vec![
        frame((0, zeroes), (0, first), 3, 0, [0; 32]),
        frame((zeroes, GRID), (first, bytes.len() as u64 - first), 2, 1, value(&data, zeroes, length)),
    ])]);
    let json = manifest(&[("t", "zst", length, bytes.len() as u64)], &made);
    let parsed = Manifest::parse(json.as_bytes()).unwrap();
    let index = Arc::new(Index::open(Arc::new(Memory::new(made.bytes)), &parsed).unwrap());
    let plain = image::plain(&parsed, &index, 0, Arc::new(Memory::new(bytes))).unwrap();
    let mut have = vec![9; 200_000];
    let before = peak_memory();
    plain.read_at(length - 200_000, &mut have).unwrap();
    assert!(have[..200_000 - cell].iter().all(|byte| *byte == 0));
    assert!(have[200_000 - cell..] == data);
    let more = peak_memory() - before;
    assert!(more < 64 << 10, "{more} KiB more");
}

/// The most memory that this process had, in KiB (proc(5), VmHWM).
fn peak_memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

proptest! {
    /// Any records: an error, or bytes that are proved, which only zeroes can be here.
    #[test]
    fn any_records(
        records in prop::collection::vec((0_u64..5, 0_u64..5, 0..5_usize, 0..5_usize, 0..4_u8, 0..4_u8), 1..6),
        cuts in prop::collection::vec(any::<bool>(), 6),
        length in 0_u64..6,
        raw: bool,
    ) {
        let (mut pages, mut end) = (vec![frames(vec![])], (0, 0));
        for ((start, from, len, kept, sort, flags), cut) in records.into_iter().zip(cuts) {
            let len = [GRID, 2 * GRID, 1024, 1, 0][len];
            let kept = [14 + 3 * len.div_ceil(BLOCK) + len, 14 + 4 * len.div_ceil(BLOCK), len, 7, 0][kept];
            let start = if start == 4 { 3 * GRID } else { end.0 };
            let from = if from == 4 { 100 } else { end.1 };
            end = (start + len, from + kept);
            let record = frame((start, len), (from, kept), sort, flags, [0; 32]);
            match (pages.last_mut(), cut) {
                (Some(page), false) => page.records.push(record),
                _ => pages.push(frames(vec![record])),
            }
        }
        pages.retain(|page| !page.records.is_empty());
        let length = if length == 5 { end.0 + 1 } else { end.0 };
        let stored = if raw { length } else { end.1 + 33 };
        let made = index(&pages);
        let encoding = if raw { "raw" } else { "zst" };
        let json = manifest(&[("t", encoding, length, stored)], &made);
        if let Ok(parsed) = Manifest::parse(json.as_bytes())
            && let Ok(index) = Index::open(Arc::new(Memory::new(made.bytes)), &parsed)
        {
            let plain = image::plain(&parsed, &Arc::new(index), 0, Arc::new(Huge(stored))).unwrap();
            for start in [0, length / 2, length - 1] {
                let mut have = vec![9; usize::try_from((length - start).min(300_000)).unwrap()];
                if plain.read_at(start, &mut have).is_ok() {
                    prop_assert!(have.iter().all(|byte| *byte == 0));
                }
            }
        }
    }
}
