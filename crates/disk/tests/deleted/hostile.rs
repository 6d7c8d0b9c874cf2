//! Damaged volumes: whatever is in them, looking ends, and in time.

use super::made::{self, Kind};
use block::{ByteRange, Extent, ReadAt, Result, Source};
use disk::deleted::find;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Damaged ones of each kind.
const CASES: usize = 150;
/// Damaged bytes of each one at most.
const BYTES: u64 = 12;
/// What none of them may take.
const LIMIT: Duration = Duration::from_secs(10);

/// With other bytes in some places.
struct Damaged {
    inner: Source,
    bytes: Vec<(u64, u8)>,
}

impl ReadAt for Damaged {
    fn size(&self) -> u64 {
        self.inner.size()
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<()> {
        self.inner.read_at(offset, buf)?;
        let range = ByteRange::span(offset, offset + buf.len() as u64);
        for (at, byte) in self.bytes.iter().filter(|(at, _)| range.contains(*at)) {
            buf[(at - offset) as usize] = *byte;
        }
        Ok(())
    }

    fn extent_at(&self, offset: u64) -> Result<Extent> {
        self.inner.extent_at(offset)
    }
}

/// A repeatable sequence (Marsaglia's xorshift64).
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }
}

/// Sectors that hold structures: neither nothing nor noise.
fn structures(source: &Source) -> Vec<u64> {
    let (mut found, mut piece) = (vec![], vec![0; 1 << 20]);
    for at in (0..source.size()).step_by(1 << 20) {
        let len = piece.len().min((source.size() - at) as usize);
        source.read_at(at, &mut piece[..len]).unwrap();
        for (start, sector) in (at..).step_by(512).zip(piece[..len].chunks(512)) {
            let zeroes = sector.iter().filter(|byte| **byte == 0).count();
            if (32..512).contains(&zeroes) {
                found.push(start);
            }
        }
    }
    found
}

fn storm(kind: &Kind) {
    let made = made::victims(kind);
    let source = super::source(&made);
    let sectors = structures(&source);
    let mut random = Random(0x9E37_79B9_7F4A_7C15);
    let (mut slowest, mut refused, mut files) = (Duration::ZERO, 0, 0);
    for case in 0..CASES {
        let mut bytes = vec![];
        for _ in 0..=random.below(BYTES) {
            // A third each in the superblock, in what is described behind it, and anywhere.
            let most = [2, 64, sectors.len()][random.below(3) as usize];
            let at = sectors[random.below(most as u64) as usize] + random.below(512);
            let byte = match random.below(4) {
                0 => 0,
                1 => 0xFF,
                2 => 0x7F,
                _ => random.below(256) as u8,
            };
            bytes.push((at, byte));
        }
        let damaged: Source = Arc::new(Damaged { inner: Source::clone(&source), bytes: bytes.clone() });
        let began = Instant::now();
        match find(&damaged) {
            Ok(found) => {
                files += found.files.len();
                for file in found.files.iter().take(200) {
                    let Ok(content) = file.open(&damaged) else { continue };
                    assert_eq!(content.size(), file.size);
                    let mut buf = vec![0; file.size.min(1 << 20) as usize];
                    let _read = content.read_at(0, &mut buf);
                    let _read =
                        content.read_at(file.size.saturating_sub(1), &mut buf[..file.size.min(1) as usize]);
                }
            }
            Err(_) => refused += 1,
        }
        slowest = slowest.max(began.elapsed());
        assert!(slowest < LIMIT, "{} case {case}: {bytes:?}", kind.name);
    }
    println!("DAMAGED {}: {CASES} cases, {refused} refused, {files} files, slowest {slowest:?}", kind.name);
}

#[test]
fn damage_ends_in_an_answer() {
    super::each("damage_ends_in_an_answer", storm);
}
