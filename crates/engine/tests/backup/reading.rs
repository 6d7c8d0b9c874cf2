//! Small reads of a stored file: by many at once, ahead of one, of what is damaged.

use crate::case::{Case, GRID, save};
use block::{ByteRange, Source};
use image::{Backup, Encoding, Index};
use std::sync::Arc;
use testkit::{Memory, pattern};

const FRAMES: u64 = 40;
const HALF: u64 = GRID / 2;

/// A backup of `FRAMES` frames in one file, and the plain bytes; nothing is kept of it yet. What is read of
/// the stored file is recorded.
struct Made {
    plain: Vec<u8>,
    stored: Arc<Memory>,
    source: Source,
    _backup: Backup,
    _folder: tempfile::TempDir,
}

fn made(damage: impl FnOnce(&mut [u8])) -> Made {
    let folder = tempfile::tempdir().unwrap();
    let plain = pattern(usize::try_from(FRAMES * GRID).unwrap());
    let case = Case {
        bytes: plain.clone(),
        holes: vec![],
        bad: vec![],
        cuts: vec![],
        encoding: Encoding::Zst,
        split: None,
    };
    let backup = save(&case, folder.path(), true);
    let manifest = backup.manifest();
    let file = backup.stored(0, false).unwrap();
    let mut bytes = vec![0; usize::try_from(file.size()).unwrap()];
    file.read_at(0, &mut bytes).unwrap();
    damage(&mut bytes);
    let stored = Arc::new(Memory::new(bytes));
    let index = backup.store().open_read(&manifest.index.name, false).unwrap();
    let index = Arc::new(Index::open(index, manifest).unwrap());
    let source = image::plain(manifest, &index, 0, Arc::clone(&stored) as Source).unwrap();
    Made { plain, stored, source, _backup: backup, _folder: folder }
}

impl Made {
    fn read(&self, offset: u64, len: u64) {
        let want = ByteRange::new(offset, len).unwrap();
        let mut have = vec![0; usize::try_from(len).unwrap()];
        self.source.read_at(offset, &mut have).unwrap();
        assert!(have == self.plain[want.index(0)], "wrong bytes at {offset}");
    }

    fn fails(&self, offset: u64, len: u64) -> bool {
        self.source.read_at(offset, &mut vec![0; usize::try_from(len).unwrap()]).is_err()
    }

    /// How often stored bytes were read.
    fn reads(&self) -> usize {
        self.stored.reads.lock().unwrap().len()
    }
}

#[test]
fn small_reads_of_a_frame_decode_it_once() {
    let made = made(|_| {});
    for offset in [0, 512, GRID - 4096, GRID / 2 + 100] {
        made.read(offset, 4096);
    }
    assert_eq!(made.reads(), 1);
    made.read(GRID - 4096, 8192);
    made.read(GRID - 100, 200);
    assert_eq!(made.reads(), 2);
}

#[test]
fn what_many_readers_want_is_decoded_once() {
    let made = made(|_| {});
    std::thread::scope(|scope| {
        for first in 0..4 {
            let made = &made;
            scope.spawn(move || {
                for n in 0..FRAMES {
                    made.read((first * 10 + n) % FRAMES * GRID + 5, 1000);
                }
            });
        }
    });
    assert_eq!(made.reads() as u64, FRAMES);
}

#[test]
fn a_sequential_reader_finds_its_frames_decoded_ahead() {
    let made = made(|_| {});
    made.read(0, HALF);
    assert_eq!(made.reads(), 1, "one read is no sequence");
    for n in 1..4 {
        made.read(n * HALF, HALF);
    }
    // Two frames are what this reader itself asked for; the others come in time.
    let ahead = |made: &Made| {
        (0..1000).any(|_| {
            std::thread::sleep(std::time::Duration::from_millis(10));
            made.reads() >= 10
        })
    };
    assert!(ahead(&made), "{} reads", made.reads());
    for n in 4..2 * FRAMES {
        made.read(n * HALF, HALF);
    }
    assert_eq!(made.reads() as u64, FRAMES, "each frame once, whoever it was");
}

#[test]
fn what_is_read_whole_is_decoded_once_and_left_to_its_reader() {
    let made = made(|_| {});
    for n in 0..FRAMES {
        made.read(n * GRID, GRID);
    }
    assert_eq!(made.reads() as u64, FRAMES, "each frame once, whoever it was");
    made.read(3 * GRID, GRID);
    assert_eq!(made.reads() as u64, FRAMES + 1);
}

#[test]
fn random_reads_and_large_ones_read_nothing_ahead() {
    let made = made(|_| {});
    // Across the edge of two frames, far apart.
    for n in [3, 17, 30, 9] {
        made.read(n * GRID - 4096, 8192);
    }
    for n in 0..FRAMES / 8 {
        made.read(n * 8 * GRID, 8 * GRID);
    }
    std::thread::sleep(std::time::Duration::from_millis(200));
    assert_eq!(made.reads() as u64, 8 + FRAMES / 8);
}

#[test]
fn a_damaged_frame_is_an_error_to_its_reader_alone() {
    let made = made(|bytes| bytes[usize::try_from(5 * (GRID + 17) + 100).unwrap()] ^= 1);
    for round in 0..2 {
        for n in 0..2 * FRAMES {
            match n / 2 {
                5 => assert!(made.fails(n * HALF, HALF), "round {round}"),
                _ => made.read(n * HALF, HALF),
            }
        }
    }
}
