//! Partition tables: any bytes give a layout that covers the disk. `mbr` and `gpt` get deeper.
//!
//! The first byte of the input says the sector size; the rest is the disk.
#![no_main]

use block::SectorSize;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let Some((options, disk)) = input.split_first() else { return };
    let sector = [None, Some(SectorSize::B512), Some(SectorSize::B4096)][usize::from(options % 3)];
    selfsame_fuzz::check_layout(disk.to_vec(), sector);
});
