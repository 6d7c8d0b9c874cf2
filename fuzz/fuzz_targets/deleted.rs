//! Deleted files of any volume: an answer, and all of what is named can be opened and asked for.
#![no_main]

use block::Source;
use libfuzzer_sys::fuzz_target;
use std::sync::Arc;
use testkit::Memory;

fuzz_target!(|input: &[u8]| {
    let volume: Source = Arc::new(Memory::new(input.to_vec()));
    let Ok(found) = disk::deleted::find(&volume) else { return };
    for file in &found.files {
        let Ok(content) = file.open(&volume) else { continue };
        assert_eq!(content.size(), file.size);
        let _ = content.read_at(0, &mut vec![0; usize::try_from(file.size.min(65_536)).unwrap_or(0)]);
    }
});
