//! Whole trees: every name, size, time and byte.

use super::{NONE, Volume, ready};
use crate::open;
use crate::tree::{self, Tree};
use disk::fs::{Condition, FileKind, NodeId};
use std::fs::{self, File};
use std::io::{Seek, SeekFrom, Write};
use std::path::Path;
use std::time::Instant;
use testkit::tools::run;

/// The tree that ntfs-3g shows of a volume that it mounts anew.
fn truth(volume: &Volume) -> Tree {
    // It makes up modes.
    volume.mounted("ro", |dir| tree::without(tree::of_folder(dir), true, false))
}

fn check(volume: &Volume, least: usize) {
    let truth = truth(volume);
    assert!(truth.len() >= least, "only {} entries", truth.len());
    let began = Instant::now();
    let shown = tree::of_filesystem(&*open(&volume.image()), NONE);
    let took = began.elapsed();
    tree::assert_same(&truth, &shown);
    println!("{} entries right, walked and read in {took:?}", truth.len());
}

fn grown(test: &str, options: &str) {
    if !ready(test, &["mkfifo"]) {
        return;
    }
    let volume = Volume::new("400M", options);
    volume.mounted("", |dir| {
        tree::grow(dir, 5000);
        tree::grow_unix(dir);
        let one = fs::File::options().write(true).open(dir.join("sizes/513")).unwrap();
        one.set_modified(std::time::UNIX_EPOCH + std::time::Duration::new(1_234_567_890, 123_456_700))
            .unwrap();
    });
    check(&volume, 5000);
    let fs = open(&volume.image());
    assert_eq!(fs.info().condition, Condition::Clean);
    assert!(fs.info().missing.is_empty());
    let find = |path: &str| {
        path.split('/').fold(fs.root(), |dir, name| fs.lookup(dir, name.as_bytes()).unwrap().expect(path))
    };
    let modified = fs.metadata(find("sizes/513")).unwrap().modified.unwrap();
    assert_eq!((modified.seconds, modified.nanos), (1_234_567_890, 123_456_700));
    // In any case, and two names of one file.
    assert_eq!(find("NAMES/upper LOWER"), find("names/UPPER lower"));
    assert_eq!(find("unix/one"), find("unix/two"));
    assert_eq!(fs.metadata(find("unix/one")).unwrap().links, 2);
    assert_eq!(fs.metadata(find("unix/pipe")).unwrap().kind, FileKind::Fifo);
    // Holes are known without reading.
    let sparse = fs.open(find("unix/sparse"), None).unwrap();
    let zero: u64 = block::extents(&*sparse, block::ByteRange::span(0, sparse.size()))
        .map(Result::unwrap)
        .filter(|extent| extent.kind == block::ExtentKind::Zero)
        .map(|extent| extent.range.len())
        .sum();
    assert!(zero > 70 << 20, "{zero}");
    // What belongs to the filesystem is found by name.
    let table = fs.metadata(find("$MFT")).unwrap();
    assert!(table.size > 5000 * 1024);
    assert_eq!(fs.open(find("$UpCase"), None).unwrap().size(), 128 << 10);
    assert_eq!(fs.lookup(fs.root(), b"no such file").unwrap(), None);
    assert_eq!(fs.lookup(find("many"), b"file 99999.txt").unwrap(), None);
    let gone = NodeId { tree: 77, ..find("large.bin") };
    assert_eq!(fs.metadata(gone).unwrap_err().kind(), block::ErrorKind::NotFound);
}

#[test]
fn ntfs_grown_with_large_clusters() {
    grown("ntfs_grown_with_large_clusters", "-c 4096");
}

#[test]
fn ntfs_grown_with_small_clusters() {
    grown("ntfs_grown_with_small_clusters", "-c 512");
}

#[test]
fn ntfs_grown_with_huge_clusters_and_large_sectors() {
    grown("ntfs_grown_with_huge_clusters_and_large_sectors", "-c 65536 -s 4096");
}

/// Everything below a directory that is compressed.
#[test]
fn ntfs_compressed() {
    if !ready("ntfs_compressed", &["setfattr", "mkfifo"]) {
        return;
    }
    for options in ["-c 4096", "-c 512", "-c 1024"] {
        let volume = Volume::new("200M", options);
        volume.mounted("compression", |dir| {
            let packed = dir.join("packed");
            fs::create_dir(&packed).unwrap();
            run("setfattr -h -v 0x00000800 -n system.ntfs_attrib_be \"$F\"", &packed);
            tree::grow(&packed, 300);
            tree::grow_unix(&packed);
            mixed(&packed.join("mixed"));
            // Ends on a unit, one byte before and one behind.
            for size in [65_535_usize, 65_536, 65_537, 131_072, 200_000] {
                let text: Vec<u8> =
                    b"some text to be packed, and more of it. ".iter().copied().cycle().take(size).collect();
                fs::write(packed.join(format!("ends{size}")), text).unwrap();
            }
        });
        check(&volume, 350);
        let fs = open(&volume.image());
        let packed = fs.lookup(fs.root(), b"packed").unwrap().unwrap();
        let text = fs.lookup(packed, b"text.log").unwrap().unwrap();
        let meta = fs.metadata(text).unwrap();
        assert!(meta.allocated.unwrap() < meta.size / 4, "{meta:?}");
    }
}

/// Units that are packed, plain and holes in turn, changed in the middle afterwards.
fn mixed(path: &Path) {
    let noise = testkit::pattern(64 << 10);
    let mut file = File::create(path).unwrap();
    for n in 0..24_u64 {
        file.seek(SeekFrom::Start(n * (64 << 10))).unwrap();
        match n % 4 {
            0 => file.write_all(&noise).unwrap(),
            1 => file.write_all(&vec![n as u8; 64 << 10]).unwrap(),
            2 => file.write_all(&noise[..10_000]).unwrap(),
            _ => {}
        }
    }
    file.sync_all().unwrap();
    file.seek(SeekFrom::Start(100_000)).unwrap();
    file.write_all(b"changed").unwrap();
    file.set_len(24 * (64 << 10) + 300_000).unwrap();
}

/// A file in so many pieces that its record cannot hold where they are, and a table of files in pieces.
#[test]
fn ntfs_in_pieces() {
    if !ready("ntfs_in_pieces", &["ntfsinfo"]) {
        return;
    }
    let volume = Volume::new("48M", "-c 512 -z 1");
    volume.mounted("", |dir| {
        // Free space in pieces and nothing else left.
        for n in 0..14_000 {
            fs::write(dir.join(format!("small{n}")), testkit::pattern(900)).unwrap();
        }
        let mut filler = File::create(dir.join("filler")).unwrap();
        while filler.write_all(&testkit::pattern(1 << 16)).is_ok() {}
        while filler.write_all(&[7; 512]).is_ok() {}
        drop(filler);
        let chosen = testkit::pattern(14_000);
        for n in (0..14_000).filter(|n| chosen[*n] & 1 == 0) {
            // Their records stay in use: the table has to grow for new ones.
            File::create(dir.join(format!("small{n}"))).unwrap();
        }
        // More than what the driver keeps together for the table of files.
        fs::write(dir.join("pieces"), testkit::pattern(4_800_000)).unwrap();
        for n in 0..2000 {
            let _full = fs::write(dir.join(format!("later{n}")), format!("{n}"));
        }
    });
    check(&volume, 5000);
    let fs = open(&volume.image());
    let pieces = fs.lookup(fs.root(), b"pieces").unwrap().unwrap();
    let said = run(&format!("ntfsinfo -v -i {} \"$F\"", pieces.inode), &volume.image());
    let runs = said.lines().filter(|line| line.trim_start().starts_with("0x")).count();
    println!("the file has {runs} pieces");
    assert!(runs >= 1500, "{runs} pieces:\n{said}");
    let file = fs.open(pieces, None).unwrap();
    let mut buf = vec![0; 5000];
    file.read_at(4_500_001, &mut buf).unwrap();
    assert_eq!(buf, testkit::pattern(4_505_001)[4_500_001..]);
    let said = run("ntfsinfo -v -i 0 \"$F\"", &volume.image());
    println!(
        "the table has {} pieces",
        said.lines().filter(|line| line.trim_start().starts_with("0x")).count()
    );
    assert!(said.contains("$ATTRIBUTE_LIST"), "the table of files has no list:\n{said}");
}
