//! One frame of 64 KiB: made, read, and only looked at.

#![allow(clippy::unwrap_used)]

use divan::counter::BytesCount;
use divan::{Bencher, black_box};
use image::{Compressor, Decompressor, Sort, encode_stored, encode_zero, is_zero, value};

const FRAME: usize = 64 << 10;
/// Of the file that the frame is in, so that its value is not a root hash.
const LENGTH: u64 = 1 << 30;
/// Where in it.
const OFFSET: u64 = 5 * FRAME as u64;

/// What a frame holds.
#[derive(Clone, Copy, Debug)]
enum Content {
    Text,
    Noise,
    Zeroes,
}

const ALL: [Content; 3] = [Content::Text, Content::Noise, Content::Zeroes];

fn plain(content: Content) -> Vec<u8> {
    match content {
        Content::Text => {
            let lines =
                (0_u32..).flat_map(|n| format!("line {n}: {}\n", n.wrapping_mul(2_654_435_761)).into_bytes());
            lines.take(FRAME).collect()
        }
        Content::Noise => testkit::pattern(FRAME),
        Content::Zeroes => vec![0; FRAME],
    }
}

/// As the encoder does it: digest, zero test, compression.
fn encode(plain: &[u8], compressor: &mut Compressor, out: &mut Vec<u8>) -> (Sort, [u8; 32]) {
    let digest = value(plain, OFFSET, LENGTH);
    out.clear();
    if is_zero(plain) {
        encode_zero(plain.len() as u64, out);
        return (Sort::Zero, digest);
    }
    if compressor.compress(plain, out).unwrap() {
        return (Sort::Compressed, digest);
    }
    encode_stored(plain, out);
    (Sort::Stored, digest)
}

#[divan::bench(args = ALL)]
fn encoding(bencher: Bencher<'_, '_>, content: Content) {
    let plain = plain(content);
    let mut compressor = Compressor::new(1).unwrap();
    let mut out = Vec::with_capacity(2 * FRAME);
    bencher
        .counter(BytesCount::new(FRAME))
        .bench_local(|| encode(black_box(&plain), &mut compressor, &mut out));
}

#[divan::bench(args = ALL)]
fn decoding(bencher: Bencher<'_, '_>, content: Content) {
    let mut stored = vec![];
    let (sort, digest) = encode(&plain(content), &mut Compressor::new(1).unwrap(), &mut stored);
    let mut decompressor = Decompressor::default();
    let mut back = vec![0; FRAME];
    bencher.counter(BytesCount::new(FRAME)).bench_local(|| {
        decompressor.decode(sort, black_box(&stored), &mut back).unwrap();
        assert!(value(&back, OFFSET, LENGTH) == digest);
    });
}

#[divan::bench(args = ALL)]
fn zero_test(bencher: Bencher<'_, '_>, content: Content) {
    let plain = plain(content);
    bencher.counter(BytesCount::new(FRAME)).bench_local(|| is_zero(black_box(&plain)));
}

#[divan::bench]
fn digest(bencher: Bencher<'_, '_>) {
    let plain = plain(Content::Noise);
    bencher.counter(BytesCount::new(FRAME)).bench_local(|| value(black_box(&plain), OFFSET, LENGTH));
}

fn main() {
    divan::main();
}
