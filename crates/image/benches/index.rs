//! A look-up in the index of a file with many frames: more pages than are kept in memory.

#![allow(clippy::unwrap_used)]

use block::{Buf, Buffer, ByteRange, Encode, Extent, ExtentKind, Sink};
use divan::{Bencher, black_box};
use image::*;
use std::sync::Arc;

/// Small frames, so that many take little time to make.
const GRID: u64 = 1024;
const FRAMES: u64 = 1 << 18;
const LENGTH: u64 = FRAMES * GRID;
/// Bytes of a buffer.
const BUFFER: u64 = 1 << 20;

/// A finished index in a folder that goes away.
struct Made {
    _folder: tempfile::TempDir,
    index: Index,
}

fn make() -> Made {
    let folder = tempfile::tempdir().unwrap();
    let backup_id = random_id().unwrap();
    let file = FileInfo {
        name: "t.img".to_owned(),
        encoding: Encoding::Zst,
        length: LENGTH,
        parts: vec![],
        blake3: None,
        digests: Digests::default(),
    };
    let spec = Spec {
        backup_id,
        index: "t.idx".to_owned(),
        grid: GRID,
        files: vec![file],
        level: image::Level::Fixed(1),
        split: None,
        hash_known_zeroes: true,
        stored: Arc::default(),
        sum_while_writing: false,
    };
    let mut writer =
        Writer::create(Store::create(&image::LocalFiles::default(), folder.path(), "t").unwrap(), spec)
            .unwrap();
    let mut encoder = writer.encoder();
    for offset in (0..LENGTH).step_by(usize::try_from(BUFFER).unwrap()) {
        let range = ByteRange::span(offset, offset + BUFFER);
        let mut data = Buf::with_capacity(usize::try_from(BUFFER).unwrap());
        data.grow(data.capacity()).unwrap().fill(7);
        let extents = vec![Extent { range, kind: ExtentKind::Data }];
        let buffer = Buffer { file: 0, offset, extents, data };
        let encoded = encoder.encode(&buffer).unwrap();
        writer.commit(&buffer, encoded).unwrap();
    }
    let written = writer.finish().unwrap();
    let source = written.store.open_read(&written.index.name, false).unwrap();
    let manifest = manifest(backup_id, written.files, written.index);
    Made { _folder: folder, index: Index::open(source, &manifest).unwrap() }
}

/// Only what the index looks at is of any meaning.
fn manifest(backup_id: Hex<16>, files: Vec<FileInfo>, index: IndexInfo) -> Manifest {
    Manifest {
        format: FORMAT,
        requires: vec![],
        backup_id,
        name: "t".to_owned(),
        program: String::new(),
        started: String::new(),
        finished: None,
        note: None,
        grid: GRID,
        disk: DiskInfo {
            size: LENGTH,
            sector_size: 512,
            physical_sector_size: 0,
            source: String::new(),
            kind: DiskKind::Image,
            transport: String::new(),
            model: String::new(),
            serial: String::new(),
            wwn: String::new(),
            id: String::new(),
            hidden: vec![],
            live: false,
        },
        table: TableInfo { kind: TableKind::None, id: None, findings: vec![] },
        regions: vec![],
        files,
        index,
        firmware: None,
        free_space: None,
        totals: None,
        digests: DiskDigests::default(),
        options: Options { format: Encoding::Zst, level: Some(1), whole: false, split: None, parts: None },
        sittings: vec![],
    }
}

/// Looks frames up at random offsets below `end`.
fn look_up(bencher: Bencher<'_, '_>, end: u64) {
    let made = make();
    // What has room in memory is there.
    let all = made.index.frames_from(0, 0).take_while(|frame| frame.as_ref().unwrap().plain.start() < end);
    black_box(all.count());
    let mut x = 0x5E1F_5A3E_u64;
    bencher.bench_local(|| {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        black_box(made.index.frames_from(0, x % end).next().unwrap().unwrap())
    });
}

/// In pages that are in memory.
#[divan::bench(sample_size = 100)]
fn near(bencher: Bencher<'_, '_>) {
    look_up(bencher, LENGTH / 16);
}

/// Anywhere: most pages are read and proved.
#[divan::bench(sample_size = 100)]
fn anywhere(bencher: Bencher<'_, '_>) {
    look_up(bencher, LENGTH);
}

fn main() {
    divan::main();
}
