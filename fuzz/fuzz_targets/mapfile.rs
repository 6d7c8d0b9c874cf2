//! Mapfiles: any bytes; what is accepted comes back from its own text.
#![no_main]

use image::mapfile;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    if let Ok(lost) = mapfile::parse(input) {
        let text = mapfile::write(&lost, 1 << 63, "fuzz");
        assert_eq!(mapfile::parse(text.as_bytes()).expect("our own text"), lost);
    }
});
