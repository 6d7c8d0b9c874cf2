//! Images damaged on purpose, walked to their ends: whatever comes out, no panic, no hang, no endless memory.

use block::{ReadAt, Source};
use disk::fs::{FileKind, FileSystem, NodeId};
use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};
use testkit::Memory;

/// Names that are looked at in one image; circles of directories would give more.
const MOST: usize = 3000;

/// What became of the cases.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    refused: usize,
    walked: usize,
    /// Panics that the guard caught.
    pub(crate) panics: usize,
    slowest: Duration,
}

/// `cases` times some bytes of `places` are changed, by the same numbers each time this runs, and the image is
/// walked. Fails if one of them hangs.
pub(crate) fn walk_damaged(image: &[u8], places: &[Range<usize>], cases: u64) -> Outcome {
    walk_summed(image, places, cases, &|_, _| ())
}

/// The same where checksums would find most of it: `sum` makes them right again around each changed byte.
pub(crate) fn walk_summed(
    image: &[u8],
    places: &[Range<usize>],
    cases: u64,
    sum: &dyn Fn(&mut [u8], usize),
) -> Outcome {
    let total: usize = places.iter().map(Range::len).sum();
    assert!(total > 0, "no place to damage");
    let mut outcome = Outcome::default();
    for case in 0..cases {
        let mut random = blake3::Hasher::new().update(&case.to_le_bytes()).finalize_xof();
        let mut next = |below: usize| {
            let mut bytes = [0; 8];
            random.fill(&mut bytes);
            (u64::from_le_bytes(bytes) % below as u64) as usize
        };
        let mut bytes = image.to_vec();
        for _ in 0..1 + next(8) {
            let mut nth = next(total);
            let range = places
                .iter()
                .find(|range| {
                    nth < range.len() || {
                        nth -= range.len();
                        false
                    }
                })
                .unwrap();
            let (at, kind, value) = (range.start + nth, next(5), next(256) as u8);
            let len = [1, 1, 1, 4, 8][kind].min(bytes.len() - at);
            match kind {
                0 => bytes[at] ^= 1 << (value % 8),
                1 => bytes[at] = value,
                2 => bytes[at] = if value % 2 == 0 { 0 } else { 0xFF },
                _ => bytes[at..at + len].fill([0, 0xFF, 0x7F, 1][usize::from(value % 4)]),
            }
            sum(&mut bytes, at);
        }
        let began = Instant::now();
        let source: Source = Arc::new(Memory::new(bytes));
        match disk::fs::open(&source) {
            Ok(fs) => {
                outcome.walked += 1;
                outcome.panics += walk(&*fs, began);
            }
            Err(error) => {
                outcome.refused += 1;
                outcome.panics += usize::from(error.to_string().contains("gave up"));
            }
        }
        let took = began.elapsed();
        assert!(took < Duration::from_secs(60), "case {case} took {took:?}");
        outcome.slowest = outcome.slowest.max(took);
    }
    println!("{outcome:?}, most memory {} MiB", most_memory() >> 20);
    outcome
}

/// How many calls panicked inside.
fn walk(fs: &dyn FileSystem, began: Instant) -> usize {
    let (mut panics, mut seen, mut left, mut count) = (0, BTreeSet::new(), vec![fs.root()], 0);
    let mut note = |error: &block::Error| panics += usize::from(error.to_string().contains("gave up"));
    while let Some(dir) = left.pop() {
        if !seen.insert(dir) || count > MOST || began.elapsed() > Duration::from_secs(30) {
            continue;
        }
        let mut entries: Vec<(Vec<u8>, NodeId)> = vec![];
        let listed = fs.read_dir(dir, &mut |entry| {
            assert!(!entry.name.is_empty() && !entry.name.contains(&b'/'));
            entries.push((entry.name, entry.node));
            Ok(entries.len() < MOST)
        });
        listed.as_ref().err().map(&mut note);
        for (name, node) in entries {
            count += 1;
            if count > MOST {
                break;
            }
            fs.lookup(dir, &name).as_ref().err().map(&mut note);
            fs.xattrs(node).as_ref().err().map(&mut note);
            match fs.metadata(node).map(|meta| meta.kind) {
                Ok(FileKind::Directory) => left.push(node),
                Ok(FileKind::File) => match fs.open(node, None).and_then(|file| touch(&*file)) {
                    Ok(()) => {}
                    Err(error) => note(&error),
                },
                Ok(FileKind::Symlink) => {
                    fs.read_link(node).as_ref().err().map(&mut note);
                }
                Ok(_) => {}
                Err(error) => note(&error),
            }
        }
    }
    panics
}

/// The front of a file, its end, and what it says of its holes.
fn touch(file: &dyn ReadAt) -> block::Result<()> {
    let mut buf = vec![0; file.size().min(100_000) as usize];
    file.read_at(0, &mut buf)?;
    if let Some(last) = file.size().checked_sub(1) {
        file.read_at(last, &mut [0])?;
        let all = block::ByteRange::span(0, file.size());
        block::extents(file, all).take(100).try_for_each(|extent| extent.map(drop))?;
    }
    Ok(())
}

/// Bytes of memory that this process had at most.
fn most_memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() << 10
}
