//! Where journals lie, beside what the filesystems' own tools say.

use super::made::{Driver, Mounted};
use block::ByteRange;
use std::path::{Path, PathBuf};
use testkit::tools::{has, run};

const MIB: u64 = 1 << 20;

/// A filesystem that `line` makes in `$F`.
fn made(folder: &Path, size: u64, line: &str) -> PathBuf {
    let image = folder.join("image");
    std::fs::File::create(&image).unwrap().set_len(size).unwrap();
    run(line, &image);
    image
}

fn journal(image: &Path) -> Vec<ByteRange> {
    let source = testkit::ImageFile::open(image, std::fs::metadata(image).unwrap().len()).unwrap();
    let content = disk::probe::identify(&source).unwrap().expect("recognised");
    disk::used::journal(&source, &content).unwrap()
}

/// Units of these numbers (first and last), in bytes, those that touch as one.
fn runs(unit: u64, numbers: impl Iterator<Item = (u64, u64)>) -> Vec<ByteRange> {
    let mut all: Vec<_> = numbers.collect();
    all.sort_unstable();
    let mut runs: Vec<ByteRange> = vec![];
    for (first, last) in all {
        let range = ByteRange::span(first * unit, (last + 1) * unit);
        match runs.last_mut() {
            Some(run) if run.end() == range.start() => *run = ByteRange::span(run.start(), range.end()),
            _ => runs.push(range),
        }
    }
    runs
}

/// Inode 8 by debugfs: "(0-11):24-35, (IND):36, (12-1023):37-1048".
fn inode_8(image: &Path, block: u64) -> Vec<ByteRange> {
    let said = run("debugfs -R 'stat <8>' $F 2>/dev/null", image);
    let (_, list) = said.split_once("EXTENTS:").or_else(|| said.split_once("BLOCKS:")).expect("blocks");
    let (list, _) = list.split_once("TOTAL").unwrap_or((list, ""));
    let pieces = list.split(',').filter_map(|piece| piece.trim().strip_prefix('(')?.split_once("):"));
    let data = pieces.filter(|(place, _)| place.starts_with(|c: char| c.is_ascii_digit()));
    let number = |text: &str| text.trim().parse::<u64>().unwrap();
    let pair = |text: &str| {
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        (number(first), number(last))
    };
    runs(block, data.map(|(_, blocks)| pair(blocks)))
}

#[test]
fn of_ext_as_debugfs_says() {
    let test = "of_ext_as_debugfs_says";
    if !has(test, &["mkfs.ext4", "debugfs"]) {
        return;
    }
    let cases = [
        (4096, "mkfs.ext4 -q -F -b 4096 $F", 1),
        // Groups of 8 MiB: the journal goes around their tables.
        (1024, "mkfs.ext4 -q -F -b 1024 -O ^flex_bg -J size=20 $F", 2),
        (1024, "mkfs.ext3 -q -F -b 1024 -J size=20 $F", 2),
        (4096, "mkfs.ext4 -q -F -b 4096 -O bigalloc -C 16384 $F", 1),
    ];
    for (block, line, least) in cases {
        let folder = tempfile::tempdir().unwrap();
        let image = made(folder.path(), 64 * MIB, line);
        let found = journal(&image);
        assert!(found.len() >= least, "{line}: {found:?}");
        assert_eq!(found, inode_8(&image, block), "{line}");
    }
}

#[test]
fn of_xfs_as_xfs_db_says() {
    if !has("of_xfs_as_xfs_db_says", &["mkfs.xfs", "xfs_db"]) {
        return;
    }
    for line in ["mkfs.xfs -q -f $F", "mkfs.xfs -q -f -b size=1024 -m rmapbt=1 $F"] {
        let folder = tempfile::tempdir().unwrap();
        let image = made(folder.path(), 320 * MIB, line);
        let last = |line: &str| -> u64 {
            let said = run(&format!("xfs_db -r {line} $F"), &image);
            said.trim().rsplit([' ', '(']).next().unwrap().trim_end_matches(')').parse().unwrap()
        };
        let value = |name: &str| last(&format!("-c 'sb 0' -c 'print {name}'"));
        let start = last(&format!("-c 'convert fsblock {} byte'", value("logstart")));
        let length = value("logblocks") * value("blocksize");
        assert_eq!(journal(&image), [ByteRange::new(start, length).unwrap()], "{line}");
    }
}

#[test]
fn of_ntfs_as_istat_says() {
    if !has("of_ntfs_as_istat_says", &["mkfs.ntfs", "istat"]) {
        return;
    }
    for (cluster, line) in [(4096, "mkfs.ntfs -q -F -Q $F"), (512, "mkfs.ntfs -q -F -Q -c 512 $F")] {
        let folder = tempfile::tempdir().unwrap();
        let image = made(folder.path(), 64 * MIB, line);
        // "Type: $DATA (128-2) ... Non-Resident", and then the clusters.
        let said = run("istat -f ntfs $F 2", &image);
        let clusters = said.lines().skip_while(|line| !line.starts_with("Type: $DATA")).skip(1);
        let numbers = clusters.flat_map(str::split_whitespace).map_while(|word| word.parse::<u64>().ok());
        let want = runs(cluster, numbers.map(|number| (number, number)));
        assert!(!want.is_empty(), "{said}");
        assert_eq!(journal(&image), want, "{line}");
    }
}

#[test]
fn what_has_none_has_none() {
    if !has("what_has_none_has_none", &["mkfs.ext4", "mkfs.vfat"]) {
        return;
    }
    for line in ["mkfs.ext2 -q -F $F", "mkfs.ext4 -q -F -O ^has_journal $F", "mkfs.vfat -F 32 $F"] {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(journal(&made(folder.path(), 64 * MIB, line)), [], "{line}");
    }
}

#[test]
fn a_damaged_one_is_not_known() {
    if !has("a_damaged_one_is_not_known", &["mkfs.ext4", "debugfs"]) {
        return;
    }
    for block in ["0", "99999999"] {
        let folder = tempfile::tempdir().unwrap();
        let image = made(folder.path(), 64 * MIB, "mkfs.ext3 -q -F $F");
        run(&format!("debugfs -w -R 'sif <8> block[2] {block}' $F 2>/dev/null"), &image);
        assert_eq!(journal(&image), [], "{block}");
    }
}

/// Sectors that differ.
fn differing(a: &[u8], b: &[u8]) -> Vec<ByteRange> {
    let sectors = (0u64..).zip(a.chunks(512).zip(b.chunks(512)));
    sectors.filter(|(_, (a, b))| a != b).map(|(n, _)| ByteRange::span(n * 512, (n + 1) * 512)).collect()
}

#[test]
fn a_mount_changes_superblock_and_journal_only() {
    let test = "a_mount_changes_superblock_and_journal_only";
    if run("id -u", Path::new("")).trim() != "0" || !has(test, &["mkfs.ext4", "mkfs.xfs", "losetup"]) {
        println!("SKIPPED: {test}: needs root");
        return;
    }
    for (size, line) in [
        (64 * MIB, "mkfs.ext4 -q -F -E lazy_itable_init=0,lazy_journal_init=0 $F"),
        (64 * MIB, "mkfs.ext4 -q -F -b 1024 -E lazy_itable_init=0 $F"),
        (320 * MIB, "mkfs.xfs -q -f $F"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let image = made(folder.path(), size, line);
        let before = std::fs::read(&image).unwrap();
        drop(Mounted::new(Driver::Kernel, &image, "rw"));
        let after = std::fs::read(&image).unwrap();
        let source = testkit::Memory::new(before.clone());
        let content = disk::probe::identify(&source).unwrap().unwrap();
        let superblock = disk::used::superblock(&content).unwrap();
        let own: Vec<_> = journal(&image).into_iter().chain([superblock]).collect();
        let changed = differing(&before, &after);
        assert!(changed.iter().any(|sector| superblock.covers(*sector)), "{line}");
        let other: Vec<_> =
            changed.iter().filter(|sector| !own.iter().any(|run| run.covers(**sector))).collect();
        assert!(other.is_empty(), "{line}: {other:?}");
    }
}
