//! One frame: any stored bytes, decoded as each sort, and held against the record of another frame.
//!
//! The input: the plain length (3 bytes), then the stored bytes.
#![no_main]

use image::{Backup, Decompressor, Scratch, Sort, encode_stored, encode_zero};
use libfuzzer_sys::fuzz_target;
use selfsame_fuzz::build::{GRID, MBR, backup};
use selfsame_fuzz::take;
use std::sync::LazyLock;

/// A right backup, opened, and the stored length and plain bytes of its first frame.
static RIGHT: LazyLock<(Backup, usize, Vec<u8>)> = LazyLock::new(|| {
    let (folder, made) = (tempfile::tempdir().expect("a folder").keep(), backup());
    made.write(&folder);
    let opened = Backup::open(&folder).expect("made by hand it is a backup");
    let first = opened.pieces(1, 1).next().expect("a frame").expect("a right index");
    let len = first.index(0).end;
    (opened, len, made.disk[MBR as usize..][..GRID as usize].to_vec())
});

fuzz_target!(|input: &[u8]| {
    let mut stored = input;
    let Some([a, b, c]) = take(&mut stored) else { return };
    let len = u32::from_le_bytes([a, b, c % 8, 0]) as usize;
    let mut decompressor = Decompressor::default();
    for sort in [Sort::Compressed, Sort::Stored, Sort::Zero] {
        let mut plain = vec![0xAA; len];
        if decompressor.decode(sort, stored, &mut plain).is_err() {
            continue;
        }
        let mut again = vec![];
        match sort {
            Sort::Compressed => continue,
            Sort::Stored => encode_stored(&plain, &mut again),
            Sort::Zero => encode_zero(len as u64, &mut again),
        }
        assert!(again == stored, "a frame of this sort has one form");
    }
    let (backup, len, disk) = &*RIGHT;
    let mut have = stored.to_vec();
    have.resize(*len, 0);
    let faults = backup.check(1, 0, &have, &mut Scratch::default()).expect("all files are there");
    if faults.is_empty() {
        let mut plain = vec![0; disk.len()];
        decompressor.decode(Sort::Compressed, &have, &mut plain).expect("what check found right");
        assert!(&plain == disk);
    }
});
