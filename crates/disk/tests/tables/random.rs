//! Random disks, and sound ones with random damage: always a layout that covers the disk, never a panic.

use crate::build::{Gpt, entry, mbr, seal};
use crate::try_read;
use block::{Role, SectorSize};
use proptest::prelude::*;
use testkit::Memory;

fn sound(which: u8) -> Vec<u8> {
    let mut disk = match which % 4 {
        0 => Gpt::new(&[(1, 40, 99), (2, 100, 299)]).disk(),
        1 => {
            let mut table = Gpt::new(&[(1, 100, 120)]);
            (table.sector, table.sectors) = (4096, 256);
            table.disk()
        }
        _ => mbr(2048, &[(0x0C, 63, 100), (0x05, 200, 1500), (0x83, 1800, 100)]),
    };
    if which % 4 >= 2 {
        for (sector, next) in [(200, 100u32), (300, 300), (500, 0)] {
            entry(&mut disk, sector, 0, (0x83, 10, 50));
            entry(&mut disk, sector, 1, (0x05, next, next.min(1) * 100));
        }
    }
    disk
}

/// All that the rest of the program relies on.
fn check(bytes: Vec<u8>, sector: Option<SectorSize>) {
    let layout = try_read(&Memory::new(bytes), sector).unwrap();
    assert!(layout.regions.len() <= 4096);
    if layout.must_be_whole.is_some() {
        assert!(layout.regions.iter().all(|region| region.role == Role::Whole));
    }
    let preamble = layout.regions.iter().filter(|region| region.role == Role::Preamble);
    assert!(preamble.map(|region| region.range.len()).all(|len| len <= 1 << 20));
    for region in &layout.regions {
        if let Role::Partition(number) = region.role {
            let partition = layout.partitions.iter().find(|p| p.number == number).unwrap();
            assert_eq!((partition.range, partition.extended), (region.range, false));
        }
    }
    assert!(layout.partitions.is_sorted_by(|a, b| a.number < b.number));
    let _ = layout.sfdisk_script("/dev/sda");
}

fn sector_size() -> impl Strategy<Value = Option<SectorSize>> {
    prop::sample::select(vec![None, Some(SectorSize::B512), Some(SectorSize::B4096)])
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn damaged(
        which: u8,
        hits in prop::collection::vec((0usize..600, prop::sample::select(vec![0u8, 1, 5, 0x80, 0xEE, 0xFF]), any::<bool>()), 1..12),
        cut in prop::option::of(0usize..(1 << 20)),
        sector in sector_size(),
    ) {
        let mut disk = sound(which);
        for (at, value, in_table) in hits {
            // Half of them in the entries and links of the MBR and the EBRs.
            let base = [0, 200, 300, 500][at % 4] * 512;
            let at = if in_table { base + 446 + at % 64 } else { 512 + at };
            disk[at] = value;
        }
        seal(&mut disk[512..1024]);
        disk.truncate(cut.unwrap_or(usize::MAX));
        check(disk, sector);
    }

    #[test]
    fn random_entries(
        table in prop::collection::vec((any::<u8>(), 0u32..2100, 0u32..2100), 4),
        ebrs in prop::collection::vec((1usize..2048, 0usize..4, prop::sample::select(vec![5u8, 0x83, 0x0F]), 0u32..2100), 0..60),
        sector in sector_size(),
    ) {
        let mut disk = mbr(2048, &table);
        for (at, slot, kind, first) in ebrs {
            entry(&mut disk, at, slot, (kind, first, 3));
        }
        check(disk, sector);
    }

    /// A GPT with right checksums and any numbers in it.
    #[test]
    fn random_gpts(
        partitions in prop::collection::vec((1usize..128, 0u64..2100, 0u64..2100), 0..6),
        fields in prop::collection::vec((prop::sample::select(vec![24usize, 32, 40, 48, 72, 80, 84]), prop::sample::select(vec![0u64, 1, 2, 3, 100, 2015, 2047, u64::MAX])), 0..3),
        size in 0u64..(1 << 21),
    ) {
        let table = Gpt::new(&partitions);
        let mut disk = table.disk();
        let header = table.header([1, table.last(), 2], |header| {
            for (at, value) in fields {
                crate::build::put(header, at, &value.to_le_bytes()[..if at < 80 { 8 } else { 4 }]);
            }
        });
        crate::build::put(&mut disk, 512, &header);
        check(disk.clone(), None);
        if let Ok(writes) = disk::gpt_moved(&Memory::new(disk), SectorSize::B512, size) {
            assert!(writes.iter().all(|(at, bytes)| at + bytes.len() as u64 <= size));
        }
    }

    /// Slice tables with right magics and any numbers in them, in partitions that may leave the disk.
    #[test]
    fn random_slices(
        kind in prop::sample::select(vec![0xA5u8, 0xA6, 0xA9, 0x81, 0x63, 0x82, 0xBF]),
        first in 0u32..2100,
        bytes in prop::collection::vec(any::<u8>(), 512),
        sector in sector_size(),
    ) {
        let mut disk = mbr(2048, &[(kind, first, 500), (0x05, 200, 100)]);
        let (unit, magics): (usize, &[(usize, u32)]) = match kind {
            0x81 => (0, &[(508, 0xAA55_0000)]),
            0x63 => (29, &[(4, 0xCA5E_600D), (156, 0x600D_DEEE)]),
            0x82 | 0xBF => (1, &[(12, 0x600D_DEEE), (16, 1)]),
            _ => (1, &[(0, 0x8256_4557)]),
        };
        let at = (first as usize + unit) * 512;
        if first > 0 && at + 512 <= disk.len() {
            crate::build::put(&mut disk, at, &bytes);
            for (field, magic) in magics {
                crate::build::put(&mut disk, at + field, &magic.to_le_bytes());
            }
        }
        check(disk, sector);
    }

    #[test]
    fn random_bytes(bytes in prop::collection::vec(any::<u8>(), 0..9000), sector in sector_size()) {
        check(bytes, sector);
    }
}
