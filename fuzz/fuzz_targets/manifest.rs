//! manifest.json: any bytes; what is accepted says the same when it is written and read again.
#![no_main]

use image::Manifest;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let Ok(manifest) = Manifest::parse(input) else { return };
    let json = manifest.to_json().expect("what was accepted can be written");
    assert_eq!(Manifest::parse(&json).expect("and read again"), manifest);
    let end = manifest.regions.iter().fold(0, |at, region| {
        assert_eq!(region.range().start(), at);
        region.range().end()
    });
    assert_eq!(end, manifest.disk.size);
});
