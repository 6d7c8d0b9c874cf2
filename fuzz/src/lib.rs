//! What the fuzz targets share.

use block::SectorSize;
use testkit::Memory;

/// A backup made by hand from docs/FORMAT.md: the tests' own.
#[path = "../../crates/image/tests/hostile/build.rs"]
pub mod build;

/// What must hold of the layout of any disk.
pub fn check_layout(disk: Vec<u8>, sector: Option<SectorSize>) {
    let disk = Memory::new(disk);
    let layout = disk::layout::read(&disk, sector).expect("a disk in memory can be read");
    let end = layout.regions.iter().fold(0, |at, region| {
        assert_eq!(region.range.start(), at);
        assert!(!region.range.is_empty() || layout.size == 0);
        region.range.end()
    });
    assert_eq!(end, layout.size);
    let _ = layout.sfdisk_script("/dev/sda");
    let _ = disk::gpt_moved(&disk, layout.sector, 1 << 30);
}

/// The bytes at the front of the input, and the rest; `None` if there are not so many.
pub fn take<const N: usize>(input: &mut &[u8]) -> Option<[u8; N]> {
    let (first, rest) = input.split_first_chunk()?;
    *input = rest;
    Some(*first)
}
