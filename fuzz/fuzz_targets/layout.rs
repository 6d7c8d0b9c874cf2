//! Partition tables: any bytes give a layout that covers the disk.
//!
//! The first byte of the input says the sector size and whether the primary GPT's checksums are made
//! right; the rest is the disk.
#![no_main]

use block::SectorSize;
use libfuzzer_sys::fuzz_target;
use testkit::Memory;

fuzz_target!(|input: &[u8]| {
    let Some((options, disk)) = input.split_first() else { return };
    let mut disk = disk.to_vec();
    let sector = [None, Some(SectorSize::B512), Some(SectorSize::B4096)][usize::from(options % 3)];
    if options & 0x80 != 0 {
        seal(&mut disk, 512);
        seal(&mut disk, 4096);
    }
    let disk = Memory::new(disk);
    let layout = disk::layout::read(&disk, sector).expect("a disk in memory can be read");
    let end = layout.regions.iter().fold(0, |at, region| {
        assert_eq!(region.range.start(), at);
        region.range.end()
    });
    assert_eq!(end, layout.size);
    let _ = layout.sfdisk_script("/dev/sda");
    let _ = disk::gpt_moved(&disk, layout.sector, 1 << 30);
});

/// Makes the checksums of a usual array at LBA 2 and of the header at LBA 1 right.
fn seal(disk: &mut [u8], sector: usize) {
    let Some(array) = disk.get(2 * sector..2 * sector + 128 * 128) else { return };
    let array = crc32fast::hash(array);
    let header = &mut disk[sector..sector + 92];
    header[80..92].copy_from_slice(&[128, 0, 0, 0, 128, 0, 0, 0, 0, 0, 0, 0]);
    header[88..].copy_from_slice(&array.to_le_bytes());
    header[16..20].fill(0);
    let crc = crc32fast::hash(header);
    header[16..20].copy_from_slice(&crc.to_le_bytes());
}
