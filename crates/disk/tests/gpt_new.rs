//! A fresh GPT, as sgdisk, sfdisk and blkid see it, on disks with either size of sectors.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::disallowed_methods)]

use block::SectorSize;
use disk::{Alignment, Guid, NewPartition, gpt_new};
use std::os::unix::fs::FileExt;
use testkit::{LoopDevice, tools};

const MIB: u64 = 1 << 20;

#[test]
fn a_new_table_is_sound() {
    if !tools::has("a_new_table_is_sound", &["sgdisk", "sfdisk", "blkid"]) {
        return;
    }
    for sector in [SectorSize::B512, SectorSize::B4096] {
        let file = tempfile::NamedTempFile::new().unwrap();
        let size = 100 * MIB + 3 * sector.bytes();
        file.as_file().set_len(size).unwrap();
        let name = "Großmutters Rechner, \u{1F4BE} und noch viel mehr als 36 Zeichen";
        let guids = [Guid(*b"0123456\x4789\xABcdefg"), Guid(*b"gfedcba\x4987\xBB54321")];
        let partition = NewPartition { kind: disk::LINUX_TYPE, name, guids };
        let table = gpt_new(size, sector, Alignment { grain: MIB, offset: 0 }, partition).unwrap();
        for (at, bytes) in &table.sectors {
            file.as_file().write_all_at(bytes, *at).unwrap();
        }
        let bytes = u32::try_from(sector.bytes()).unwrap();
        let Some(device) = LoopDevice::attach(file.path(), bytes) else { return };
        let verified = tools::run("sgdisk -v $F", device.path());
        assert!(verified.contains("No problems found"), "{verified}");
        let verified = tools::run("sfdisk --verify $F 2>&1", device.path());
        assert!(verified.contains("No errors detected"), "{verified}");
        let listed = tools::run("sfdisk -J $F", device.path());
        for words in [
            format!("\"sectorsize\": {sector}"),
            format!("\"start\": {}", MIB / sector.bytes()),
            // Without a file for it, the last MiB is the backup's.
            format!("\"size\": {}", 98 * MIB / sector.bytes()),
            format!("\"uuid\": \"{}\"", guids[1]),
            format!("\"id\": \"{}\"", guids[0]),
            "0FC63DAF-8483-4772-8E79-3D69D8477DE4".to_owned(),
            "Großmutters Rechner".to_owned(),
        ] {
            let plain = listed.replace(":", ": ").replace(":  ", ": ");
            assert!(listed.contains(&words) || plain.contains(&words), "{words} is not in {listed}");
        }
        let probed = tools::run("blkid -p -o export $F", device.path());
        assert!(
            probed.contains("PTTYPE=gpt") && probed.contains(&guids[0].to_string().to_lowercase()),
            "{probed}"
        );
    }
}

/// Our own reader agrees, and finds nothing odd.
#[test]
fn a_new_table_reads_back() {
    for sector in [SectorSize::B512, SectorSize::B4096] {
        let size = 64 * MIB;
        let partition = NewPartition {
            kind: disk::BASIC_DATA_TYPE,
            name: "backup",
            guids: [Guid([1; 16]), Guid([2; 16])],
        };
        let table = gpt_new(size, sector, Alignment { grain: MIB, offset: 0 }, partition).unwrap();
        let mut bytes = vec![0; usize::try_from(size).unwrap()];
        for (at, sectors) in &table.sectors {
            let at = usize::try_from(*at).unwrap();
            bytes[at..at + sectors.len()].copy_from_slice(sectors);
        }
        let layout = disk::layout::read(&testkit::Memory::new(bytes), Some(sector)).unwrap();
        assert_eq!(layout.findings, []);
        let [found] = layout.partitions.as_slice() else { panic!("{layout:?}") };
        assert_eq!((found.range, found.name.as_deref()), (table.partition, Some("backup")));
        assert_eq!(found.guid, Some(Guid([2; 16])));
    }
}
