//! The seek table: any bytes in its place are a fault, unless they are the table.
#![no_main]

use image::{Backup, Scratch};
use libfuzzer_sys::fuzz_target;
use selfsame_fuzz::build::backup;
use std::sync::LazyLock;

/// A right backup, opened, where its frames end, and its seek table.
static RIGHT: LazyLock<(Backup, u64, Vec<u8>)> = LazyLock::new(|| {
    let (folder, made) = (tempfile::tempdir().expect("a folder").keep(), backup());
    made.write(&folder);
    let opened = Backup::open(&folder).expect("made by hand it is a backup");
    let table = made.files["t.zst"][made.frames_end as usize..].to_vec();
    (opened, made.frames_end, table)
});

fuzz_target!(|input: &[u8]| {
    let (backup, end, table) = &*RIGHT;
    // From its beginning, and from any place in it.
    for skip in [0, input.first().map_or(0, |first| usize::from(*first) % table.len())] {
        let here = &input[..input.len().min(table.len() - skip)];
        let start = end + skip as u64;
        let faults = backup.check(1, start, here, &mut Scratch::default()).expect("all files are there");
        assert_eq!(faults.is_empty(), table[skip..].starts_with(here));
    }
});
