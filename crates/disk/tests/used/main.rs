//! Maps of what is in use, on filesystems made by the real makers and filled by the real drivers.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]
#![allow(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::cast_possible_truncation)]
#![allow(clippy::disallowed_methods)]

mod dirty;
mod hfs;
mod hostile;
mod journal;
mod made;
mod oracle;
mod poison;

use block::{ByteRange, ReadAt};
use disk::used::UsedMap;
use std::path::Path;

/// The map of the volume in an image file.
fn map_of(image: &Path) -> UsedMap {
    let size = std::fs::metadata(image).unwrap().len();
    map_of_source(&testkit::ImageFile::open(image, size).unwrap()).expect("recognised")
}

fn map_of_source(source: &dyn ReadAt) -> Option<UsedMap> {
    let content = disk::probe::identify(source).unwrap()?;
    let map = disk::used::used(source, &content).unwrap();
    check(&map, source.size());
    let journal = disk::used::journal(source, &content).unwrap();
    let inside = journal.iter().all(|run| !run.is_empty() && run.end() <= source.size());
    assert!(inside && journal.windows(2).all(|two| two[0].end() < two[1].start()), "{journal:?}");
    Some(map)
}

/// Whatever the bytes: runs in order, apart, not empty, inside.
fn check(map: &UsedMap, size: u64) {
    let inside = map.used().iter().all(|run| !run.is_empty() && run.end() <= size);
    let apart = map.used().windows(2).all(|two| two[0].end() < two[1].start());
    assert!(inside && apart, "{map:?}");
    let mut all: Vec<ByteRange> = map.used().iter().copied().chain(map.free(1)).collect();
    all.sort_unstable();
    let mut at = 0;
    for run in all {
        assert_eq!(run.start(), at);
        at = run.end();
    }
    assert_eq!(at, size);
    assert_eq!(map.used_bytes() + map.free_bytes(), size);
}
