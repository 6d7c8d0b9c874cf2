//! Random reads, and reads in order, over NBD: our server beside qemu's, and our library alone. Same offsets,
//! everything in the page cache.

use super::Bench;
use super::nbd::{Client, Server};
use super::report::{Line, Outcome};
use super::rows::{Input, What, aiming};
use crate::Result;
use crate::stats::{Unit, number, offsets};
use block::Source;
use image::Backup;
use std::ops::Range;
use std::os::unix::net::UnixStream;
use std::time::Instant;

/// Rows of random reads.
pub(crate) const READS: &[Reads] = &[
    Reads { name: "read-4k", len: 4096, count: 20_000, at_most: 1.0, aim: 0.5 },
    Reads { name: "read-64k", len: 64 << 10, count: 5000, at_most: 0.8, aim: 0.5 },
];
/// The row of reads in order.
pub(crate) const IN_ORDER: &str = "read-in-order";
/// Bytes of a read in order, and of all of them.
const STEP: u64 = 64 << 10;
const TOTAL: u64 = 256 << 20;

/// One row of random reads.
pub(crate) struct Reads {
    pub(crate) name: &'static str,
    len: u64,
    count: usize,
    at_most: f64,
    aim: f64,
}

/// Microseconds of each of so many reads, on average.
fn mean(began: Instant, reads: usize) -> f64 {
    began.elapsed().as_secs_f64() * 1e6 / number(reads as u64)
}

fn ours(disk: &Source, offsets: &[u64], len: u64) -> Result<f64> {
    let mut buf = vec![0; usize::try_from(len)?];
    let began = Instant::now();
    for offset in offsets {
        disk.read_at(*offset, &mut buf)?;
    }
    Ok(mean(began, offsets.len()))
}

/// The same by two threads, each its half, of the same source.
fn ours_by_two(disk: &Source, offsets: &[u64], len: u64) -> Result<f64> {
    let (first, second) = offsets.split_at(offsets.len() / 2);
    let began = Instant::now();
    std::thread::scope(|scope| {
        let other = scope.spawn(|| ours(disk, second, len));
        ours(disk, first, len)?;
        other.join().map_err(|_| "a reader panicked")?
    })?;
    Ok(mean(began, offsets.len()))
}

fn served(client: &mut Client<UnixStream>, offsets: &[u64], len: u64) -> Result<f64> {
    let mut buf = vec![0; usize::try_from(len)?];
    let began = Instant::now();
    for offset in offsets {
        client.read_at(*offset, &mut buf)?;
    }
    Ok(mean(began, offsets.len()))
}

fn open(bench: &Bench) -> Result<Source> {
    Ok(Backup::open(&bench.kept("backup"))?.disk()?)
}

fn qemu(bench: &Bench) -> Result<(Server, Client<UnixStream>)> {
    Server::qemu(&bench.shell, &bench.kept("q.qcow2"), &bench.out().join("nbd"))
}

fn selfsame(bench: &Bench) -> Result<(Server, Client<UnixStream>)> {
    Server::ours(&bench.program, &bench.kept("backup"), &bench.out().join("nbd"))
}

/// By two clients of one server, each its half.
fn served_to_two(server: &Server, client: &mut Client<UnixStream>, offsets: &[u64], len: u64) -> Result<f64> {
    let (first, second) = offsets.split_at(offsets.len() / 2);
    let mut other = server.connect()?;
    let began = Instant::now();
    std::thread::scope(|scope| {
        let half = scope.spawn(|| served(&mut other, second, len));
        served(client, first, len)?;
        half.join().map_err(|_| "a reader panicked")?
    })?;
    Ok(mean(began, offsets.len()))
}

/// Both must give the same bytes, else there is nothing to compare.
fn alike(disk: &Source, client: &mut Client<UnixStream>, offsets: &[u64]) -> Result<()> {
    if disk.size() != client.size {
        return Err(format!("our backup has {} bytes, qcow2 {}", disk.size(), client.size).into());
    }
    let (mut ours, mut theirs) = (vec![0; 4096], vec![1; 4096]);
    for offset in offsets.iter().take(100) {
        disk.read_at(*offset, &mut ours)?;
        client.read_at(*offset, &mut theirs)?;
        if ours != theirs {
            return Err(format!("our backup and qcow2 differ at {offset}").into());
        }
    }
    Ok(())
}

/// Programs that the rows need.
pub(crate) const NEEDS: [&str; 2] = ["qemu-img", "qemu-nbd"];

/// Measures one row of random reads.
pub(crate) fn random(bench: &mut Bench, row: &Reads) -> Result<Outcome> {
    bench.prepare(&[Input::Backup, Input::Qcow])?;
    let size = bench.disk.shape.size << 20;
    let places = offsets(&bench.disk.filled()?, row.len, size, row.count, 0x5E1F_5A3E);
    let hole = bench.disk.shape.empty.0 << 20;
    let holes = hole..hole + (bench.disk.shape.empty.1 << 20);
    let empty = offsets(std::slice::from_ref(&holes), row.len, size, row.count, 1);
    let [mut mine, mut by_two, mut peer, mut called, mut called_by_two] = [const { vec![] }; 5];
    let (mut hole, mut their_hole) = (vec![], vec![]);
    for run in 0..=bench.runs {
        bench.fresh(run > 0)?;
        let one = ours(&open(bench)?, &places, row.len)?;
        let two = ours_by_two(&open(bench)?, &places, row.len)?;
        bench.fresh(run > 0)?;
        let (server, mut client) = selfsame(bench)?;
        let single = served(&mut client, &places, row.len)?;
        let unfilled = served(&mut client, &empty, row.len)?;
        drop((client, server));
        let (server, mut client) = selfsame(bench)?;
        let double = served_to_two(&server, &mut client, &places, row.len)?;
        drop((client, server));
        bench.fresh(run > 0)?;
        let (_server, mut client) = qemu(bench)?;
        let theirs = served(&mut client, &places, row.len)?;
        let their_unfilled = served(&mut client, &empty, row.len)?;
        if run == 0 {
            alike(&open(bench)?, &mut client, &places)?;
            continue;
        }
        mine.push(single);
        by_two.push(double);
        peer.push(theirs);
        called.push(one);
        called_by_two.push(two);
        hole.push(unfilled);
        their_hole.push(their_unfilled);
    }
    let limit = aiming(What::Wall, row.at_most, row.aim);
    let rate = |micros: &[f64]| micros.iter().map(|micros| 1e6 / micros).collect::<Vec<_>>();
    Ok(Outcome {
        name: row.name,
        peer: "qemu-nbd of qcow2",
        lines: vec![
            Line::ours("to 1 client", Unit::Reads, rate(&mine)),
            Line::ours("to 2 clients", Unit::Reads, rate(&by_two)),
            Line::ours("library, 1 thread", Unit::Reads, rate(&called)),
            Line::ours("library, 2 threads", Unit::Reads, rate(&called_by_two)),
            Line::both("mean time in a hole", Unit::Micros, hole, their_hole),
            Line::both("mean time", Unit::Micros, mine, peer).limited(Some(&limit)),
        ],
        note: "over NBD, one read at a time; the time in a hole is about what a socket costs",
    })
}

/// The offsets of reads in order through what is not empty.
fn in_order(ranges: &[Range<u64>], size: u64) -> Vec<u64> {
    let steps = |range: &Range<u64>| (range.start.div_ceil(STEP)..range.end / STEP).map(|step| step * STEP);
    let all = ranges.iter().flat_map(steps).filter(|offset| offset + STEP <= size);
    all.take(usize::try_from(TOTAL / STEP).unwrap_or(0)).collect()
}

/// Measures reads in order.
pub(crate) fn sequential(bench: &mut Bench) -> Result<Outcome> {
    bench.prepare(&[Input::Backup, Input::Qcow])?;
    let places = in_order(&bench.disk.filled()?, bench.disk.shape.size << 20);
    let (mut mine, mut peer) = (vec![], vec![]);
    for run in 0..=bench.runs {
        bench.fresh(run > 0)?;
        let (server, mut client) = selfsame(bench)?;
        let single = served(&mut client, &places, STEP)?;
        drop((client, server));
        bench.fresh(run > 0)?;
        let (_server, mut client) = qemu(bench)?;
        let theirs = served(&mut client, &places, STEP)?;
        if run > 0 {
            mine.push(single);
            peer.push(theirs);
        }
    }
    let rate = |micros: &[f64]| micros.iter().map(|micros| number(STEP) / micros).collect::<Vec<_>>();
    let rates = (rate(&mine), rate(&peer));
    Ok(Outcome {
        name: IN_ORDER,
        peer: "qemu-nbd of qcow2",
        lines: vec![
            Line::both("mean time", Unit::Micros, mine, peer),
            Line::both("speed", Unit::Rate, rates.0, rates.1),
        ],
        note: "over NBD, steps of 64 KiB, one at a time",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_in_order_stay_within_what_is_filled() {
        let ranges = [1000..3 * STEP, 10 * STEP..12 * STEP + 5];
        assert_eq!(in_order(&ranges, 20 * STEP), [STEP, 2 * STEP, 10 * STEP, 11 * STEP]);
        assert_eq!(in_order(&ranges, 2 * STEP), [STEP]);
        assert_eq!(in_order(std::slice::from_ref(&(0..1 << 40)), 1 << 40).len() as u64, TOTAL / STEP);
    }
}
