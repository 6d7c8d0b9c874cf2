//! Bytes made to hurt: any image gives an answer, soon, and after few reads.

use super::Image;
use super::mutated::Random;
use block::{ByteRange, ReadAt, Result};
use disk::probe::identify;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// What one identification may read: its budget and the front that it reads at once.
const MOST_BYTES: u64 = (2 << 20) + (128 << 10);
const MOST_TIME: Duration = Duration::from_secs(5);
/// Rounds for each image.
const ROUNDS: u64 = 100;

/// An image of which some fields read otherwise, perhaps cut short. Counts what is read.
struct Hostile<'a> {
    base: &'a dyn ReadAt,
    size: u64,
    fields: Vec<(u64, Vec<u8>)>,
    read: AtomicU64,
}

impl ReadAt for Hostile<'_> {
    fn size(&self) -> u64 {
        self.size
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<()> {
        let wanted = ByteRange::within(self.size, offset, buf.len() as u64)?;
        self.read.fetch_add(wanted.len(), Ordering::Relaxed);
        self.base.read_at(offset, buf)?;
        for (at, bytes) in &self.fields {
            let field = ByteRange::span(*at, at + bytes.len() as u64).intersect(wanted);
            if !field.is_empty() {
                buf[field.index(offset)].copy_from_slice(&bytes[field.index(*at)]);
            }
        }
        Ok(())
    }
}

/// Identifies it; no panic, no more reads, no more time than allowed.
fn survive(hostile: &Hostile, name: &str) {
    let began = Instant::now();
    let content = identify(hostile).unwrap();
    if let Some(content) = &content {
        let _ = (content.sentence(), content.file_word());
        assert!(content.free.is_none_or(|free| content.size.is_none_or(|size| free <= size)), "{content:?}");
    }
    let read = hostile.read.load(Ordering::Relaxed);
    assert!(read <= MOST_BYTES, "{name}: {read} bytes were read for {content:?}");
    assert!(began.elapsed() < MOST_TIME, "{name}: {:?} for {content:?}", began.elapsed());
}

/// Values that fields of structures go wrong with.
fn value(random: &mut Random) -> Vec<u8> {
    let len = 1 << random.below(4);
    match random.below(6) {
        0 => vec![0; len],
        1 => vec![0xFF; len],
        2 => [vec![0xFF; len - 1], vec![0x7F]].concat(),
        3 => [vec![0; len - 1], vec![0x80]].concat(),
        4 => [vec![1], vec![0; len - 1]].concat(),
        _ => (0..len).map(|_| random.next() as u8).collect(),
    }
}

/// An image with many wrong fields at once where it has structures; sometimes cut short.
pub(crate) fn storm(name: &str, image: &Image, sectors: &[u64], random: &mut Random) {
    for _ in 0..ROUNDS {
        let changes = 1 + random.below(24);
        let place = |random: &mut Random| {
            sectors[random.below(sectors.len() as u64) as usize] * 512 + random.below(512)
        };
        let fields = (0..changes).map(|_| (place(random), value(random))).collect();
        let size = if random.below(4) == 0 { random.below(image.1 + 1) } else { image.1 };
        survive(&Hostile { base: image, size, fields, read: AtomicU64::new(0) }, name);
    }
}

/// Nothing but random bytes, and the starts of superblocks among them.
#[test]
fn random_bytes() {
    let mut random = Random(20_261_124);
    for round in 0..300 {
        let size = 1 << random.below(21);
        let bytes: Vec<u8> = (0..size / 8).flat_map(|_| random.next().to_le_bytes()).collect();
        let disk = testkit::Memory::new(bytes);
        let size = disk.size();
        let fields =
            MAGICS.iter().filter(|_| round % 3 != 0).map(|(at, magic)| (*at, magic.to_vec())).collect();
        survive(&Hostile { base: &disk, size, fields, read: AtomicU64::new(0) }, "random bytes");
    }
}

/// Magics that lead furthest: lists, trees and chains follow them.
const MAGICS: [(u64, &[u8]); 9] = [
    (3, b"NTFS    \0\x02\x08\0\0\0\0\0\0\0"),
    (512, b"LABELONE\x01\0\0\0\0\0\0\0"),
    (1024, b"H+"),
    (4096 + 24, b"\xC6\x85\x73\xF6\x4E\x1A\x45\xCA\x82\x65\xF5\x7F\x48\xBA\x6D\x81"),
    (32 << 10, b"JFS1"),
    (32769, b"CD001"),
    (34817, b"NSR02"),
    ((64 << 10) + 0x40, b"_BHRfS_M"),
    (0x8000, b"SKUL\xBA\xBE\0\x02"),
];
