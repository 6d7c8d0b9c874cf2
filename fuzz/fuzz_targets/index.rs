//! The index and the reader on it: any records, with right digests, over any stored bytes.
//!
//! The input: options (1 byte), plain lengths of two stored files (3 bytes each), their stored length (3
//! bytes), then pages: kind and file (1 byte), number of records (1 byte), and for each record a byte that
//! says what of it is made right, its sort, its flags, and four numbers of 3 bytes. What is left is the
//! stored bytes of both files.
#![no_main]

use block::ReadAt;
use image::Manifest;
use libfuzzer_sys::fuzz_target;
use selfsame_fuzz::build::{BLOCK, GRID, Page, Record, extent, frame, index, manifest};
use selfsame_fuzz::take;
use std::sync::Arc;
use testkit::Memory;

fn number(input: &mut &[u8]) -> Option<u64> {
    let [a, b, c] = take(input)?;
    Some(u32::from_le_bytes([a, b, c, 0]).into())
}

fn record(input: &mut &[u8], kind: u16, before: (u64, u64)) -> Option<Record> {
    let [right, sort, flags] = take(input)?;
    let (start, from) = (number(input)?, number(input)?);
    let (len, kept) = (number(input)?, number(input)?);
    let follows = right & 1 == 0;
    let (start, from) = if follows { before } else { (start, from) };
    if kind == 2 {
        return Some(extent(start.wrapping_add(from & 0xFFFF), len, sort));
    }
    let len = if right & 2 == 0 { GRID << (len % 15) } else { len };
    let kept = match (right >> 2) % 4 {
        0 => len,
        1 => 14 + 3 * len.div_ceil(BLOCK) + len,
        2 => 14 + 4 * len.div_ceil(BLOCK),
        _ => kept,
    };
    Some(frame((start, len), (from, kept), sort, flags, [0; 32]))
}

fn end_of(record: &Record) -> (u64, u64) {
    let at = |at: usize| u64::from_le_bytes(record[at..at + 8].try_into().expect("8 bytes"));
    let len = |at: usize| u64::from(u32::from_le_bytes(record[at..at + 4].try_into().expect("4 bytes")));
    (at(0).wrapping_add(len(16)), at(8).wrapping_add(len(20)))
}

fuzz_target!(|input: &[u8]| {
    let mut input = input;
    let Some([options]) = take(&mut input) else { return };
    let mut lengths = [0; 3];
    for length in &mut lengths {
        let Some(number) = number(&mut input) else { return };
        *length = number;
    }
    let mut pages = vec![];
    let mut ends = [(0, 0); 4];
    while let Some([kind, count]) = take(&mut input) {
        if kind == 0xFF || pages.len() == 8 {
            break;
        }
        let (file, kind) = (usize::from(kind % 4), 1 + u16::from(kind >> 2) % 3);
        let mut records = vec![];
        for _ in 0..count.max(1) {
            let Some(record) = record(&mut input, kind, ends[file]) else { break };
            if kind == 1 {
                ends[file] = end_of(&record);
            }
            records.push(record);
        }
        if !records.is_empty() {
            pages.push(Page { kind, file: file as u32, records });
        }
    }
    // Usually the files are as long as their frames.
    let files: Vec<(u64, u64)> = match options & 1 {
        0 => vec![ends[0], ends[1]],
        _ => vec![(lengths[0], lengths[2]), (lengths[1], lengths[2])],
    };
    let encoding = if options & 2 == 0 { "zst" } else { "raw" };
    let made = index(&pages);
    let list = [("a", encoding, files[0].0, files[0].1), ("b", encoding, files[1].0, files[1].1)];
    let Ok(parsed) = Manifest::parse(manifest(&list, &made).as_bytes()) else { return };
    let Ok(index) = image::Index::open(Arc::new(Memory::new(made.bytes)), &parsed) else { return };
    let index = Arc::new(index);
    for (number, (length, stored)) in files.into_iter().enumerate() {
        let mut bytes = input.to_vec();
        bytes.resize(stored.min(1 << 20) as usize, 0);
        let Ok(plain) = image::plain(&parsed, &index, number, Arc::new(Memory::new(bytes))) else { return };
        read(&*plain, length);
    }
});

/// Here and there; no bytes are right but zeroes.
fn read(plain: &dyn ReadAt, length: u64) {
    for start in [0, length / 3, GRID - 1, length.saturating_sub(9)] {
        let mut have = vec![0xAA; 200_000.min(length.saturating_sub(start)) as usize];
        if plain.read_at(start, &mut have).is_ok() {
            assert!(have.iter().all(|byte| *byte == 0), "unproved bytes at {start}");
        }
    }
    let mut at = 0;
    for _ in 0..1000 {
        let Ok(extent) = plain.extent_at(at) else { break };
        assert!(extent.range.start() == at && !extent.range.is_empty() && extent.range.end() <= length);
        at = extent.range.end();
    }
}
