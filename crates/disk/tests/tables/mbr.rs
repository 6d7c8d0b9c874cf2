//! MBR and EBRs as msdos.c of Linux takes them.

use crate::build::{blank, entry, mbr, put};
use crate::{findings, partitions, read, regions, try_read};
use block::{ByteRange, SectorSize};
use disk::Table;
use testkit::Memory;

/// Primary 1, and an extended 2 with partitions 5 and 6.
fn chain() -> Vec<u8> {
    let mut disk = mbr(1000, &[(0x0C, 63, 100), (0x05, 200, 700)]);
    entry(&mut disk, 200, 0, (0x83, 63, 100));
    entry(&mut disk, 200, 1, (0x05, 200, 200));
    entry(&mut disk, 400, 0, (0x82, 63, 100));
    disk
}

#[test]
fn a_chain_in_pieces() {
    let layout = read(&chain());
    assert_eq!(partitions(&layout), [(1, 63, 100), (2, 200, 700), (5, 263, 100), (6, 463, 100)]);
    assert_eq!(
        regions(&layout),
        [
            "0 preamble",
            "63 partition 1",
            "163 gap",
            "200 EBR",
            "201 gap",
            "263 partition 5",
            "363 gap",
            "400 EBR",
            "401 gap",
            "463 partition 6",
            "563 gap"
        ]
    );
    assert_eq!(layout.disk_label_id().unwrap(), "0x8b5d2008");
    assert_eq!(layout.partitions[2].partuuid(&layout.table).unwrap(), "8b5d2008-05");
    assert_eq!(layout.partitions[0].type_name(), Some("W95 FAT32 (LBA)"));
    assert_eq!(layout.partitions[0].type_id.to_string(), "c");
    assert!(layout.partitions[1].extended && layout.partitions[2].logical);
    assert_eq!((&layout.findings[..], &layout.must_be_whole), (&[][..], &None));
}

#[test]
fn no_table() {
    let mut bad_indicator = chain();
    bad_indicator[446] = 0x01;
    let mut no_signature = chain();
    no_signature[511] = 0;
    for disk in [blank(100), vec![], vec![0; 100], bad_indicator, no_signature] {
        let layout = read(&disk);
        assert_eq!((layout.table, layout.findings), (Table::None, vec![]));
    }
}

/// What mkfs.fat writes on a whole disk has a signature, and no entries.
#[test]
fn a_filesystem_on_the_whole_disk() {
    let mut fat = mbr(1000, &[]);
    put(&mut fat, 0, b"\xEB\x3C\x90mkfs.fat\0\x02\x04\x04\0\x02\0\x02\0\0\xF8");
    let mut ntfs = mbr(1000, &[]);
    put(&mut ntfs, 0, b"\xEB\x52\x90NTFS    ");
    for mut disk in [fat, ntfs] {
        assert_eq!(read(&disk).table, Table::None);
        // Text of its boot code where the table would be.
        entry(&mut disk, 0, 1, (0x6D, 0x7265_7473, 0x2064_7261));
        assert_eq!(read(&disk).table, Table::None);
        // A table that is one, in the same sector.
        entry(&mut disk, 0, 1, (0x83, 10, 100));
        assert_eq!(partitions(&read(&disk)), [(2, 10, 100)]);
    }
}

#[test]
fn a_chain_that_loops_or_breaks() {
    let mut disk = chain();
    entry(&mut disk, 400, 1, (0x0F, 0, 100));
    assert_eq!(
        findings(&read(&disk)),
        ["the chain of EBRs comes back to LBA 200; Linux counts its partitions again"]
    );
    entry(&mut disk, 400, 1, (0x85, 300, 100));
    assert_eq!(findings(&read(&disk)), ["no EBR at LBA 500, where the chain goes on"]);
    entry(&mut disk, 400, 1, (0x05, u32::MAX, 100));
    assert_eq!(findings(&read(&disk)), ["the EBR at LBA 4294967495 lies beyond the end of the disk"]);
    let layout = read(&disk);
    assert_eq!((partitions(&layout).len(), layout.must_be_whole), (4, None), "what was found stays");
    let empty = mbr(1000, &[(0x0F, 200, 700)]);
    assert_eq!(findings(&read(&empty)), ["the extended partition at LBA 200 holds no EBR"]);
}

/// msdos.c takes slots 3 and 4 of an EBR too, unless they leave the extended partition.
#[test]
fn more_slots_of_an_ebr() {
    let mut disk = chain();
    entry(&mut disk, 400, 2, (0x83, 163, 10));
    entry(&mut disk, 400, 3, (0x83, 163, 9999));
    assert_eq!(partitions(&read(&disk))[4..], [(7, 563, 10)]);
}

#[test]
fn a_chain_without_end_is_left() {
    let mut disk = mbr(1000, &[(0x05, 100, 900)]);
    for n in 0..400u32 {
        entry(&mut disk, 100 + n as usize, 1, (0x05, n + 1, 1));
    }
    let layout = read(&disk);
    assert_eq!(findings(&layout), ["more EBRs than Linux follows"]);
    assert_eq!(layout.regions.len(), 102, "as many as Linux follows");
}

#[test]
fn as_many_as_linux_numbers() {
    let mut disk = mbr(1000, &[(0x05, 100, 900)]);
    for n in 0..130u32 {
        let ebr = 100 + n as usize * 4;
        entry(&mut disk, ebr, 0, (0x83, 1, 1));
        entry(&mut disk, ebr, 1, (0x83, 2, 1));
        entry(&mut disk, ebr, 2, (0x05, (n + 1) * 4, 1));
    }
    assert_eq!(read(&disk).partitions.last().unwrap().number, 255);

    // A partition half-way: 100 more EBRs may be empty.
    let mut disk = mbr(1000, &[(0x05, 100, 900)]);
    for n in 0..150u32 {
        entry(&mut disk, 100 + n as usize * 2, 1, (0x05, (n + 1) * 2, 1));
    }
    entry(&mut disk, 100 + 60 * 2, 0, (0x83, 1, 1));
    entry(&mut disk, 100 + 149 * 2, 0, (0x83, 1, 1));
    assert_eq!(partitions(&read(&disk))[1..], [(5, 221, 1), (6, 399, 1)]);
}

#[test]
fn what_cannot_be_cut() {
    let why = |disk: Vec<u8>| {
        let layout = read(&disk);
        assert_eq!(regions(&layout), ["0 whole disk"]);
        layout.must_be_whole.unwrap()
    };
    assert_eq!(why(mbr(1000, &[(7, 10, 100), (7, 109, 5)])), "partition 1 and partition 2 overlap");
    assert_eq!(why(mbr(1000, &[(7, 900, 101)])), "partition 1 ends 512 bytes beyond the end of the disk");
    assert_eq!(why(mbr(1000, &[(0x17, 0, 100)])), "partition 1 begins where the table lies");
    let mut inside = chain();
    entry(&mut inside, 200, 0, (0x83, 63, 300));
    assert_eq!(why(inside), "partition 5 and EBR overlap");
    assert_eq!(why(mbr(1000, &[(0x05, 0, 1000)])), "EBR begins where the table lies");
}

#[test]
fn the_preamble_is_at_most_1_mib() {
    let layout = read(&mbr(8192, &[(7, 4096, 4096)]));
    assert_eq!(regions(&layout), ["0 preamble", "2048 gap", "4096 partition 1"]);
}

#[test]
fn bad_sectors_are_findings() {
    let bad = |sector: u64| {
        let bad = ByteRange::span(sector * 512, sector * 512 + 1);
        try_read(&Memory::new(chain()).with(|disk| disk.bad = vec![bad]), Some(SectorSize::B512)).unwrap()
    };
    let layout = bad(400);
    assert_eq!(findings(&layout), ["the EBR at LBA 400 cannot be read"]);
    assert_eq!(partitions(&layout).len(), 3);
    assert_eq!(findings(&bad(0)), ["sector 0 at LBA 0 cannot be read"]);
}
