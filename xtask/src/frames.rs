//! `cargo xtask frames`: what a frame size and a level cost, for choosing them.

use crate::Result;
use crate::bench::report::table;
use crate::disk::Disk;
use crate::place::Place;
use crate::stats::{Random, number};
use image::{Compressor, Decompressor, Sort, encode_stored, encode_zero, is_zero, value};
use rustix::time::{ClockId, clock_gettime};
use std::fs::File;
use std::os::unix::fs::FileExt;

/// Frame sizes in KiB.
const GRIDS: [usize; 5] = [64, 128, 256, 512, 1024];
/// Bytes that are encoded: fewer at levels that are slow.
const MANY: usize = 1 << 30;
const FEW: usize = 128 << 20;
/// The first level that is slow.
const SLOW: i32 = 5;
/// What is taken from the disk at a time.
const PIECE: usize = 1 << 20;
/// Runs at levels that are not slow.
const RUNS: usize = 3;
/// Random reads that are timed.
const READS: u32 = 2000;

/// Prints the table for choosing frame size and level.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Size of the disk in MiB
    #[arg(long, default_value_t = 4096, value_parser = clap::value_parser!(u64).range(64..=1 << 20))]
    size: u64,
    /// Levels of zstd's
    #[arg(long, value_name = "N", value_delimiter = ',', default_values_t = [1, 3, 9, 19],
        value_parser = clap::value_parser!(i32).range(1..=19))]
    levels: Vec<i32>,
    /// Where the disk lies [default: a tmpfs for root, else a temporary folder]
    #[arg(long)]
    dir: Option<std::path::PathBuf>,
}

/// A frame as it would lie in a file.
struct Stored {
    sort: Sort,
    bytes: Vec<u8>,
    value: [u8; 32],
}

/// Seconds of CPU that this thread has taken.
fn cpu() -> f64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

/// What the encoder does with a frame: zero test, digest, compression.
fn encode(
    plain: &[u8],
    offset: u64,
    length: u64,
    compressor: &mut Compressor,
    place: &mut Vec<u8>,
) -> Result<Stored> {
    let value = value(plain, offset, length);
    place.clear();
    let sort = if is_zero(plain) {
        encode_zero(plain.len() as u64, place);
        Sort::Zero
    } else if compressor.compress(plain, place)? {
        Sort::Compressed
    } else {
        encode_stored(plain, place);
        Sort::Stored
    };
    Ok(Stored { sort, bytes: place.to_vec(), value })
}

/// What the reader does with a frame.
fn decode(
    stored: &Stored,
    offset: u64,
    length: u64,
    decompressor: &mut Decompressor,
    plain: &mut [u8],
) -> Result<()> {
    decompressor.decode(stored.sort, &stored.bytes, plain)?;
    if value(plain, offset, length) == stored.value {
        Ok(())
    } else {
        Err("a frame does not come back".into())
    }
}

/// Millions of bytes for each second of CPU.
fn speed(bytes: usize, seconds: f64) -> String {
    format!("{:.0}", number(bytes as u64) / 1e6 / seconds)
}

/// What one frame size and level came to.
#[derive(Clone, Copy)]
struct Cost {
    /// Bytes of all frames.
    size: usize,
    /// Seconds of CPU for all frames.
    encoding: f64,
    decoding: f64,
    /// For one random read.
    reading: f64,
}

impl Cost {
    /// The less of each.
    fn or_less(self, other: Self) -> Self {
        Self {
            size: self.size.min(other.size),
            encoding: self.encoding.min(other.encoding),
            decoding: self.decoding.min(other.decoding),
            reading: self.reading.min(other.reading),
        }
    }
}

/// Encodes and decodes everything once.
fn measure(plain: &[u8], grid: usize, level: i32) -> Result<Cost> {
    let length = plain.len() as u64;
    let (mut compressor, mut decompressor) = (Compressor::new(level)?, Decompressor::default());
    let (mut place, mut back) = (vec![], vec![0; grid]);
    let offsets = (0..length).step_by(grid);
    let began = cpu();
    let frames: Vec<Stored> = plain
        .chunks(grid)
        .zip(offsets.clone())
        .map(|(frame, offset)| encode(frame, offset, length, &mut compressor, &mut place))
        .collect::<Result<_>>()?;
    let encoding = cpu() - began;
    let began = cpu();
    for ((frame, stored), offset) in plain.chunks(grid).zip(&frames).zip(offsets) {
        decode(stored, offset, length, &mut decompressor, back.get_mut(..frame.len()).unwrap_or(&mut []))?;
    }
    let decoding = cpu() - began;
    // A read of 4 KiB costs its whole frame. Only whole frames, so not the last one.
    let mut random = Random::new(0x5E1F_5A3E);
    let began = cpu();
    for _ in 0..READS {
        let number = random.below((frames.len() as u64).saturating_sub(1).max(1));
        if let Some(stored) = frames.get(usize::try_from(number)?) {
            decode(stored, number * grid as u64, length, &mut decompressor, &mut back)?;
        }
    }
    let reading = (cpu() - began) / f64::from(READS);
    let size = frames.iter().map(|stored| stored.bytes.len()).sum();
    Ok(Cost { size, encoding, decoding, reading })
}

/// A row of the table: the least of `runs`, as others only ever make them longer.
fn row(plain: &[u8], grid: usize, level: i32, stream: usize, runs: usize) -> Result<[String; 6]> {
    let mut cost = measure(plain, grid, level)?;
    for _ in 1..runs {
        cost = cost.or_less(measure(plain, grid, level)?);
    }
    Ok([
        level.to_string(),
        format!("{} KiB", grid >> 10),
        format!("{:.3}", number(cost.size as u64) / number(stream as u64)),
        speed(plain.len(), cost.encoding),
        speed(plain.len(), cost.decoding),
        format!("{:.0}", cost.reading * 1e6),
    ])
}

/// `size` bytes of the disk that are not zero, evenly from all of it.
fn sample(disk: &Disk, size: usize) -> Result<Vec<u8>> {
    let file = File::open(&disk.image)?;
    let ranges = disk.filled()?;
    let places: Vec<u64> = ranges.iter().flat_map(|range| range.clone().step_by(PIECE)).collect();
    let step = (places.len() * PIECE).div_ceil(size).max(1);
    let (mut bytes, mut piece) = (Vec::with_capacity(size), vec![0; PIECE]);
    // With a step of 2 every second one, and so on; then the others, as pieces that are zero are left out.
    for first in 0..step {
        for place in places.iter().skip(first).step_by(step) {
            let len = usize::try_from((disk.shape.size << 20).saturating_sub(*place))?.min(PIECE);
            let piece = &mut piece[..len];
            file.read_exact_at(piece, *place)?;
            if bytes.len() + len <= size && !is_zero(piece) {
                bytes.extend_from_slice(piece);
            }
        }
    }
    Ok(bytes)
}

/// Prints the table.
pub(crate) fn run(args: &Args) -> Result<()> {
    let place = Place::new(args.dir.as_deref(), (args.size << 20) * 5 / 4 + (64 << 20))?;
    let disk = Disk::make(&place, args.size)?;
    let many = sample(&disk, MANY)?;
    let few = sample(&disk, FEW)?;
    drop(disk);
    drop(place);
    let mut rows = vec![];
    for level in &args.levels {
        let (plain, runs) = if *level < SLOW { (&many, RUNS) } else { (&few, 1) };
        let stream = zstd::bulk::compress(plain, *level)?.len();
        for grid in GRIDS {
            println!("running: level {level}, {grid} KiB of {} MiB", plain.len() >> 20);
            rows.push(row(plain, grid << 10, *level, stream, runs)?);
        }
    }
    println!();
    let head = ["level", "frame", "size of one stream", "encode MB/s", "decode MB/s", "random 4 KiB us"];
    print!("{}", table(head, &rows));
    println!(
        "\nOne core, CPU time, digests included. Size: of all frames, relative to one zstd stream.\nRuns: the fastest of {RUNS} below level {SLOW}, else one."
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_sort_of_frame_comes_back() {
        let text: Vec<u8> = (0..20_000).flat_map(|n: u32| n.to_string().into_bytes()).collect();
        let mut plain = vec![0; 64 << 10];
        plain.extend_from_slice(&text);
        plain.truncate(96 << 10);
        let row = row(&plain, 64 << 10, 1, plain.len(), 2).unwrap();
        assert_eq!(row[..2], ["1", "64 KiB"]);
        assert!(row[2].parse::<f64>().unwrap() < 0.5, "{row:?}");
    }
}
