//! Loaders of an EFI system partition: any volume gives an answer, and a bounded one. The same of boot entries.
#![no_main]

use libfuzzer_sys::fuzz_target;
use testkit::Memory;

fuzz_target!(|input: &[u8]| {
    let found = disk::esp::loaders(&Memory::new(input.to_vec())).expect("a disk in memory can be read");
    assert!(found.is_none_or(|found| found.paths.len() <= 64));
    let _ = disk::BootEntry::parse(input);
});
