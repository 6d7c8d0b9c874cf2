//! Primary and backup GPT, each way that one can be wrong.

use crate::build::{Gpt, blank, entry, put, seal};
use crate::{findings, partitions, read, regions, try_read};
use block::{ByteRange, Error, ErrorKind, ReadAt, Result, SectorSize};
use disk::{Layout, Table};
use testkit::Memory;

fn gpt(layout: &Layout) -> &disk::Gpt {
    match &layout.table {
        Table::Gpt(gpt) => gpt,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_sound_one() {
    let layout = read(&Gpt::new(&[(1, 40, 99), (7, 200, 299)]).disk());
    assert_eq!(partitions(&layout), [(1, 40, 60), (7, 200, 100)]);
    assert_eq!(
        regions(&layout),
        ["0 preamble", "40 partition 1", "100 gap", "200 partition 7", "300 gap", "2015 tail"]
    );
    assert_eq!((findings(&layout), gpt(&layout).primary, gpt(&layout).backup), (vec![], true, true));
    assert_eq!(layout.disk_label_id().unwrap(), "09090909-0909-0909-0909-090909090909");
    let partuuid = layout.partitions[1].partuuid(&layout.table).unwrap();
    assert_eq!(partuuid, "07070707-0707-0707-0707-070707070707");
}

/// Each is tried on the primary, which is then not used.
#[test]
fn a_wrong_header_or_array() {
    let table = Gpt::new(&[(1, 40, 99)]);
    let sound = read(&table.disk());
    type Change = fn(&mut [u8]);
    let corrupt: &[(&str, Change)] = &[
        ("no signature", |header| header[0] = b'e'),
        ("the size of its header is wrong", |header| header[12] = 91),
        ("the size of its header is wrong", |header| put(header, 12, &513u32.to_le_bytes())),
        ("the checksum of its header is wrong", |header| header[60] ^= 1),
        ("its header belongs to another LBA", |header| {
            header[24] = 2;
            seal(header);
        }),
        ("the size of its array is wrong", |header| {
            put(header, 84, &64u32.to_le_bytes());
            seal(header);
        }),
        ("the size of its array is wrong", |header| {
            put(header, 84, &384u32.to_le_bytes());
            seal(header);
        }),
        ("the size of its array is wrong", |header| {
            put(header, 80, &u32::MAX.to_le_bytes());
            seal(header);
        }),
        ("the size of its array is wrong", |header| {
            put(header, 80, &[0; 4]);
            seal(header);
        }),
        ("its array cannot be read", |header| {
            put(header, 72, &u64::MAX.to_le_bytes());
            seal(header);
        }),
        ("the checksum of its array is wrong", |header| {
            header[72] = 3;
            seal(header);
        }),
    ];
    for (why, change) in corrupt {
        let mut disk = table.disk();
        change(&mut disk[512..1024]);
        let layout = read(&disk);
        assert_eq!(
            findings(&layout),
            [format!("the primary GPT is lost ({why}); its backup is used here, but Linux ignores it")]
        );
        assert!(layout.findings[0].damage && !gpt(&layout).primary && gpt(&layout).backup);
        assert_eq!((&layout.partitions, &layout.regions), (&sound.partitions, &sound.regions));
    }
}

#[test]
fn both_lost() {
    let mut disk = Gpt::new(&[(1, 40, 99)]).disk();
    disk[512] = 0;
    let end = disk.len() - 512;
    disk[end] = 0;
    let layout = read(&disk);
    assert_eq!(findings(&layout), ["the MBR protects a GPT, but neither the primary nor a backup is intact"]);
    assert_eq!((&layout.table, regions(&layout)), (&Table::None, vec!["0 whole disk".to_owned()]));
}

#[test]
fn copies_that_differ() {
    let table = Gpt::new(&[(1, 40, 99)]);
    let mut disk = table.disk();
    put(&mut disk, 512, &table.header([1, table.last(), 2], |header| header[56] = 1));
    assert_eq!(findings(&read(&disk)), ["the primary GPT and its backup differ; the primary is used"]);
}

#[test]
fn a_backup_in_unusual_places() {
    let table = Gpt::new(&[(1, 40, 99)]);
    let mut stray = table.disk();
    put(&mut stray, 512, &table.header([1, 1000, 2], |_| ()));
    assert!(gpt(&read(&stray)).backup, "the last sector is looked at too");

    let mut shared = table.disk();
    put(&mut shared, 2047 * 512, &table.header([2047, 1, 2], |_| ()));
    assert_eq!(regions(&read(&shared)), ["0 preamble", "40 partition 1", "100 gap", "2047 tail"]);
}

/// The MBR decides: without one that protects it, a GPT is a left-over.
#[test]
fn what_sector_0_says() {
    let sound = Gpt::new(&[(1, 40, 99)]).disk();
    let mut mbr = sound.clone();
    entry(&mut mbr, 0, 0, (0x83, 100, 100));
    let layout = read(&mbr);
    assert_eq!(partitions(&layout), [(1, 100, 100)]);
    assert_eq!(findings(&layout), ["behind the MBR lies a GPT that it does not mention; Linux ignores it"]);

    let mut hybrid = sound.clone();
    entry(&mut hybrid, 0, 1, (0x0C, 40, 60));
    let layout = read(&hybrid);
    assert!(gpt(&layout).hybrid);
    assert_eq!(partitions(&layout), [(1, 40, 60)]);

    let mut shifted = sound.clone();
    entry(&mut shifted, 0, 0, (0xEE, 2, 2046));
    assert!(read(&shifted).findings[0].damage);

    let mut only_backup = sound;
    only_backup[..1024].fill(0);
    let layout = read(&only_backup);
    assert_eq!(layout.table, Table::None);
    assert_eq!(
        findings(&layout),
        ["the last sector holds a backup GPT, but nothing at the start belongs to it"]
    );
}

#[test]
fn larger_entries_and_sectors() {
    for (entry_size, entries) in [(128, 4), (256, 128), (4096, 20)] {
        for sector in [512, 4096] {
            let mut table = Gpt::new(&[(1, 500, 599), (3, 700, 700)]);
            (table.entry_size, table.entries, table.sector) = (entry_size, entries, sector);
            let layout = read(&table.disk());
            assert_eq!(partitions(&layout), [(1, 500, 100), (3, 700, 1)], "{entry_size} {sector}");
            let ignored = format!("the GPT has entries of {entry_size} bytes, not 128; Linux ignores it");
            let said = if entry_size == 128 { vec![] } else { vec![&*ignored] };
            assert_eq!((layout.sector.bytes(), findings(&layout)), (sector as u64, said));
            assert_eq!(layout.regions.last().unwrap().role, block::Role::Tail);
            let other = if sector == 512 { SectorSize::B4096 } else { SectorSize::B512 };
            let mut no_mbr = table.disk();
            no_mbr[..512].fill(0);
            assert_eq!(partitions(&read(&no_mbr)), partitions(&layout), "{entry_size} {sector}");
            let wrong = try_read(&Memory::new(table.disk()), Some(other)).unwrap();
            let said = format!("the GPT was written for sectors of {sector} bytes, this disk has {other}");
            assert_eq!(findings(&wrong)[0], said);
            assert_eq!(wrong.table, Table::None);
        }
    }
}

#[test]
fn what_cannot_be_cut() {
    let why = |partitions: &[_]| read(&Gpt::new(partitions).disk()).must_be_whole;
    assert_eq!(why(&[(1, 40, 99), (2, 99, 120)]).unwrap(), "partition 1 and partition 2 overlap");
    assert_eq!(why(&[(1, 40, 2048)]).unwrap(), "partition 1 ends 512 bytes beyond the end of the disk");
    assert_eq!(why(&[(1, 40, 2015)]).unwrap(), "partition 1 and tail overlap");
    assert_eq!(why(&[(1, 33, 99)]).unwrap(), "partition 1 begins where the table lies");
    assert!(why(&[(1, 40, u64::MAX)]).is_some());
    assert_eq!(why(&[(1, 99, 40), (2, u64::MAX, 0)]), None, "they hold nothing");
}

#[test]
fn at_most_4096_regions() {
    let pieces: Vec<_> = (0..2100).map(|n| (n + 1, 2000 + 2 * n as u64, 2000 + 2 * n as u64)).collect();
    let mut table = Gpt::new(&pieces);
    (table.entries, table.sectors) = (2200, 9000);
    assert_eq!(read(&table.disk()).must_be_whole.unwrap(), "it would be in 4202 pieces");
}

#[test]
fn a_bad_sector_is_damage() {
    let disk = Gpt::new(&[(1, 40, 99)]).disk();
    let bad = |sector: u64| {
        let bad = ByteRange::span(sector * 512, sector * 512 + 512);
        try_read(&Memory::new(disk.clone()).with(|disk| disk.bad = vec![bad]), Some(SectorSize::B512))
            .unwrap()
    };
    for sector in [0, 1, 2, 33, 2015, 2047] {
        let layout = bad(sector);
        assert!(layout.findings.iter().any(|f| f.damage && f.text.contains("cannot be read")), "{sector}");
        assert_eq!(partitions(&layout), [(1, 40, 60)], "{sector}");
    }
}

/// A disk that fell off the bus.
struct Gone;

impl ReadAt for Gone {
    fn size(&self) -> u64 {
        1 << 20
    }

    fn read_at(&self, _: u64, _: &mut [u8]) -> Result<()> {
        Err(Error::new(ErrorKind::Gone, "gone"))
    }
}

#[test]
fn other_failures_are_errors() {
    assert_eq!(disk::layout::read(&Gone, None).unwrap_err().kind(), ErrorKind::Gone);
    let empty = Memory::new(Gpt::new(&[]).disk());
    let too_small = disk::gpt_moved(&empty, SectorSize::B512, 60 * 512);
    assert_eq!(too_small.unwrap_err().kind(), ErrorKind::Usage);
    let unmovable = disk::gpt_moved(&Memory::new(blank(100)), SectorSize::B512, 1 << 20);
    assert_eq!(unmovable.unwrap_err().kind(), ErrorKind::Unsupported);
}
