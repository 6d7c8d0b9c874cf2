//! An image says nothing of its sectors: 512 bytes, unless what lies at the partitions of its MBR says 4096.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use block::SectorSize;
use disk::{Layout, layout};
use testkit::Memory;

const SIZE: usize = 16 << 20;

/// An MBR with these entries (type, start, sectors), and swap space at these bytes.
fn disk(entries: &[(u8, u32, u32)], swaps: &[usize]) -> Vec<u8> {
    let mut bytes = vec![0; SIZE];
    table(&mut bytes, entries);
    for at in swaps {
        bytes[at + 4086..][..10].copy_from_slice(b"SWAP-SPACE");
    }
    bytes
}

fn table(sector: &mut [u8], entries: &[(u8, u32, u32)]) {
    for (slot, (kind, start, sectors)) in entries.iter().enumerate() {
        let entry = &mut sector[446 + 16 * slot..][..16];
        entry[4] = *kind;
        entry[8..12].copy_from_slice(&start.to_le_bytes());
        entry[12..].copy_from_slice(&sectors.to_le_bytes());
    }
    sector[510..512].copy_from_slice(&[0x55, 0xAA]);
}

fn read(bytes: Vec<u8>, sector: Option<SectorSize>) -> Layout {
    layout::read(&Memory::new(bytes), sector).unwrap()
}

#[test]
fn content_where_4096_says_and_none_where_512_says() {
    let at_both = |lba: usize| [lba * 512, lba * 4096];
    let one = [(0x82, 256, 1024)];
    for (name, entries, swaps, size) in [
        ("nothing known", &one[..], &[][..], 512),
        ("known at 512", &one, &[256 * 512][..], 512),
        ("known at both", &one, &at_both(256), 512),
        ("known at 4096", &one, &[256 * 4096], 4096),
        ("the second is known", &[(0x83, 16, 16), (0x82, 256, 1024)], &[256 * 4096], 4096),
        ("4096 does not fit", &[(0x82, 256, 1024), (0x83, 1500, 4096)], &[256 * 4096], 512),
    ] {
        let found = read(disk(entries, swaps), None);
        assert_eq!(found.sector.bytes(), size, "{name}");
        assert_eq!(found.partitions[0].range.start(), u64::from(entries[0].1) * size, "{name}");
        assert_eq!(found.findings, [], "{name}");
    }
}

#[test]
fn an_ebr_is_content() {
    let with_ebr = |at: usize| {
        let mut bytes = disk(&[(5, 256, 1024)], &[]);
        table(&mut bytes[at..], &[(0x83, 16, 16)]);
        read(bytes, None)
    };
    assert_eq!(with_ebr(256 * 4096).sector, SectorSize::B4096);
    assert_eq!(with_ebr(256 * 4096).partitions.len(), 2);
    assert_eq!(with_ebr(256 * 512).sector, SectorSize::B512);
}

/// As when a dock presents a disk with other sectors than it has.
#[test]
fn a_table_for_the_other_size_is_named_and_read_as_the_device_says() {
    let for_4096 = disk(&[(0x82, 256, 1024)], &[256 * 4096]);
    let found = read(for_4096.clone(), Some(SectorSize::B512));
    assert_eq!(found.sector, SectorSize::B512);
    let said = "the MBR was written for sectors of 4096 bytes, this disk has 512";
    assert_eq!(found.findings.iter().map(|f| f.text.as_str()).collect::<Vec<_>>(), [said]);
    assert_eq!(read(for_4096, Some(SectorSize::B4096)).findings, []);

    let for_512 = disk(&[(0x82, 256, 1024)], &[256 * 512]);
    let found = read(for_512, Some(SectorSize::B4096));
    let said = "the MBR was written for sectors of 512 bytes, this disk has 4096";
    assert_eq!(found.findings.iter().map(|f| f.text.as_str()).collect::<Vec<_>>(), [said]);
}
