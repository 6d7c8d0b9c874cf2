//! Recognition of content: any bytes give an answer.
#![no_main]

use libfuzzer_sys::fuzz_target;
use testkit::Memory;

fuzz_target!(|input: &[u8]| {
    disk::probe::identify(&Memory::new(input.to_vec())).expect("a disk in memory can be read");
    let _ = disk::boot::boot_sector(input);
});
