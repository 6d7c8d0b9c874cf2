//! SHA256SUMS: any bytes; what is accepted has one spelling.
#![no_main]

use image::Sums;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    if let Ok(sums) = Sums::parse(input) {
        assert_eq!(sums.to_string().as_bytes(), input);
        assert!(sums.names().all(|name| !name.contains('/') && sums.get(name).is_some()));
    }
});
