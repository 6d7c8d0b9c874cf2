//! Maps beside those of others: partclone's, and what the filesystems' own tools count.

use super::made::{KINDS, Kind};
use super::map_of;
use block::ByteRange;
use std::path::Path;
use testkit::tools::{has, run};

/// What partclone would copy, by the name of its program.
fn partclone(program: &str, image: &Path) -> Vec<ByteRange> {
    run(&format!(r#"{program} -D -F -L /dev/null -s "$F" -o "$F.domain" >/dev/null 2>&1"#), image);
    let text = std::fs::read_to_string(image.with_extension("domain")).unwrap();
    let number = |word: &str| u64::from_str_radix(word.trim_start_matches("0x"), 16).unwrap();
    let lines = text.lines().filter(|line| !line.starts_with('#')).filter(|line| line.ends_with('+'));
    let runs = lines.map(|line| {
        let words: Vec<_> = line.split_whitespace().collect();
        ByteRange::new(number(words[0]), number(words[1])).unwrap()
    });
    runs.filter(|run| !run.is_empty()).collect()
}

/// Bytes that we keep more than partclone: XFS's list of free blocks for itself, the last sectors of NTFS.
const MORE: u64 = 256 << 10;

#[test]
fn nothing_is_missing_that_partclone_copies() {
    let test = "nothing_is_missing_that_partclone_copies";
    // Partclone's own maps of FAT12, of bigalloc and of btrfs are known to miss or to add megabytes.
    let programs = [
        ("ext4", "partclone.ext4"),
        ("ext4 meta_bg", "partclone.ext4"),
        ("ext3", "partclone.ext3"),
        ("ext2, 1 KiB", "partclone.ext2"),
        ("XFS", "partclone.xfs"),
        ("NTFS", "partclone.ntfs"),
        ("FAT16", "partclone.fat16"),
        ("FAT32", "partclone.fat32"),
        ("exFAT", "partclone.exfat"),
    ];
    for (name, program) in programs {
        let kind = Kind::find(name);
        if !kind.can(test) || !has(test, &[program]) {
            continue;
        }
        let folder = tempfile::tempdir().unwrap();
        let image = kind.filled(folder.path());
        let (map, theirs) = (map_of(&image), partclone(program, &image));
        assert!(!theirs.is_empty(), "{name}");
        let missing: Vec<_> =
            theirs.iter().filter(|run| !map.used().iter().any(|ours| ours.covers(**run))).take(5).collect();
        assert!(missing.is_empty(), "{name}: {missing:?}");
        let total: u64 = theirs.iter().map(|run| run.len()).sum();
        assert!(map.used_bytes() - total <= MORE, "{name}: {} and {total}", map.used_bytes());
    }
}

/// The number behind a word.
fn number(text: &str, word: &str) -> u64 {
    let line =
        text.lines().find(|line| line.starts_with(word)).unwrap_or_else(|| panic!("no {word} in {text}"));
    line[word.len()..].split_whitespace().next().unwrap().parse().unwrap()
}

#[test]
fn ext_counts_as_dumpe2fs() {
    for kind in KINDS.iter().filter(|kind| kind.name.starts_with("ext")) {
        if !kind.can("ext_counts_as_dumpe2fs") || !has("ext_counts_as_dumpe2fs", &["dumpe2fs"]) {
            continue;
        }
        let folder = tempfile::tempdir().unwrap();
        let image = kind.filled(folder.path());
        let said = run("dumpe2fs -h $F 2>&1", &image);
        let free = number(&said, "Free blocks:") * number(&said, "Block size:");
        let map = map_of(&image);
        assert_eq!(map.free_bytes(), free, "{}", kind.name);
    }
}

#[test]
fn xfs_counts_as_xfs_db() {
    let kind = Kind::find("XFS");
    if !kind.can("xfs_counts_as_xfs_db") || !has("xfs_counts_as_xfs_db", &["xfs_db"]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let image = kind.filled(folder.path());
    let value = |line: &str| -> u64 {
        let said = run(&format!("xfs_db -r {line} $F"), &image);
        said.trim().rsplit(' ').next().unwrap().parse().unwrap()
    };
    let groups = value("-c 'sb 0' -c 'print agcount'");
    let free: u64 = (0..groups).map(|n| value(&format!("-c 'agf {n}' -c 'print freeblks'"))).sum();
    assert_eq!(map_of(&image).free_bytes(), free * value("-c 'sb 0' -c 'print blocksize'"));
}

#[test]
fn ntfs_counts_as_ntfscluster() {
    for name in ["NTFS", "NTFS, clusters of 512"] {
        let kind = Kind::find(name);
        if !kind.can("ntfs_counts_as_ntfscluster") || !has("ntfs_counts_as_ntfscluster", &["ntfscluster"]) {
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        let image = kind.filled(folder.path());
        let said = run("ntfscluster -f -i $F 2>/dev/null", &image);
        let line = said.lines().find(|line| line.starts_with("bytes of free space")).unwrap();
        let free: u64 = line.rsplit(' ').next().unwrap().parse().unwrap();
        assert_eq!(map_of(&image).free_bytes(), free, "{name}");
    }
}

#[test]
fn fat_counts_as_fsck() {
    for kind in KINDS.iter().filter(|kind| kind.name.starts_with("FAT")) {
        if !kind.can("fat_counts_as_fsck") {
            continue;
        }
        let folder = tempfile::tempdir().unwrap();
        let image = kind.filled(folder.path());
        // "image: 40 files, 1234/16343 clusters"
        let said = run("fsck.vfat -n $F", &image);
        let pair =
            said.split_whitespace().find(|word| word.contains('/') && word.as_bytes()[0].is_ascii_digit());
        let (used, all) = pair.and_then(|pair| pair.split_once('/')).unwrap_or_else(|| panic!("{said}"));
        let (used, all): (u64, u64) = (used.parse().unwrap(), all.parse().unwrap());
        let mut boot = [0; 512];
        std::os::unix::fs::FileExt::read_exact_at(&std::fs::File::open(&image).unwrap(), &mut boot, 0)
            .unwrap();
        let cluster = 512 * u64::from(boot[13]);
        assert_eq!(map_of(&image).free_bytes(), (all - used) * cluster, "{}", kind.name);
    }
}
