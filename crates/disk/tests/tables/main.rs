//! Tables made by hand, byte for byte, and what is wrong with them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::cast_possible_truncation)]

mod build;
mod gpt;
mod mbr;
mod random;

use block::{Result, SectorSize};
use disk::{Layout, layout};
use testkit::Memory;

/// The layout of an image of these bytes, checked to cover it.
fn read(bytes: &[u8]) -> Layout {
    try_read(&Memory::new(bytes.to_vec()), None).unwrap()
}

fn try_read(disk: &Memory, sector: Option<SectorSize>) -> Result<Layout> {
    let layout = layout::read(disk, sector)?;
    let end = layout.regions.iter().fold(0, |at, region| {
        assert_eq!(region.range.start(), at, "{layout:?}");
        region.range.end()
    });
    assert_eq!(end, layout.size);
    Ok(layout)
}

/// Role and first sector of 512 bytes of every region.
fn regions(layout: &Layout) -> Vec<String> {
    layout.regions.iter().map(|r| format!("{} {}", r.range.start() / 512, r.role)).collect()
}

/// Number, first sector and count.
fn partitions(layout: &Layout) -> Vec<(u32, u64, u64)> {
    let sector = layout.sector.bytes();
    layout.partitions.iter().map(|p| (p.number, p.range.start() / sector, p.range.len() / sector)).collect()
}

fn findings(layout: &Layout) -> Vec<&str> {
    layout.findings.iter().map(|finding| finding.text.as_str()).collect()
}
