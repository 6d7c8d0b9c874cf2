//! FAT12, FAT16 and FAT32, made by `mkfs.fat` and filled by mtools.

use crate::tree::{self, Tree, assert_same, of_filesystem, of_folder};
use crate::{find, open};
use block::{ByteRange, ErrorKind};
use disk::fs::{Condition, FileKind};
use std::fs;
use std::path::{Path, PathBuf};
use testkit::tools::{has, run};

/// Times are kept to two seconds, those of folders not by mtools, and no modes.
pub(crate) fn as_fat_keeps_it(tree: Tree) -> Tree {
    let mut tree = tree::without(tree, true, false);
    for seen in tree.values_mut() {
        seen.modified = seen.modified.filter(|_| seen.letter == '-').map(|seconds| seconds & !1);
    }
    tree
}

/// A folder, and the volume with it: `folders` of 250 small files, since mtools take the square of the time for
/// larger ones, and others.
fn made(folders: usize, line: &str) -> (tempfile::TempDir, PathBuf, Tree) {
    let dir = tempfile::tempdir().unwrap();
    let (tree, image) = (dir.path().join("tree"), dir.path().join("image"));
    fs::create_dir(&tree).unwrap();
    tree::grow(&tree, 0);
    // mtools know no characters beyond 16 bits.
    fs::remove_file(tree.join("names/\u{1f600} smile")).unwrap();
    for folder in 0..folders {
        let folder = tree.join(format!("many {folder}"));
        fs::create_dir(&folder).unwrap();
        for n in 0..250 {
            fs::write(folder.join(format!("file {n:05}.txt")), format!("file {n}\n").repeat(n * 7)).unwrap();
        }
    }
    run(line, &image);
    fill(&image, &tree);
    let truth = as_fat_keeps_it(of_folder(&tree));
    (dir, image, truth)
}

fn fill(image: &Path, tree: &Path) {
    run(&format!("cd {}; TZ=UTC mcopy -s -m -i \"$F\" * :: < /dev/null", tree.display()), image);
}

#[test]
fn five_thousand_entries_of_fat32() {
    if !has("five_thousand_entries_of_fat32", &["mkfs.fat", "mcopy"]) {
        return;
    }
    let (_dir, image, truth) = made(20, "truncate -s 128M \"$F\"; mkfs.fat -F 32 -s 1 -n LABEL \"$F\"");
    let fs = open(&image);
    assert_eq!((fs.info().type_name, fs.info().condition), ("vfat", Condition::Clean));
    assert!(truth.len() > 5000);
    assert_same(&truth, &as_fat_keeps_it(of_filesystem(&*fs, &[])));
}

#[test]
fn every_width_and_cluster() {
    if !has("every_width_and_cluster", &["mkfs.fat", "mcopy"]) {
        return;
    }
    for line in [
        "truncate -s 12M \"$F\"; mkfs.fat -F 12 -s 8 -r 512 \"$F\"",
        "truncate -s 32M \"$F\"; mkfs.fat -F 16 -s 4 -f 1 \"$F\"",
        "truncate -s 64M \"$F\"; mkfs.fat -F 16 -S 4096 -s 1 \"$F\"",
        "truncate -s 600M \"$F\"; mkfs.fat -F 32 -s 8 \"$F\"",
    ] {
        let (_dir, image, truth) = made(1, line);
        println!("{line}: {} entries", truth.len());
        assert_same(&truth, &as_fat_keeps_it(of_filesystem(&*open(&image), &[])));
    }
}

/// Files in pieces, names in another case, attributes, a name of DOS alone, and the label, which is no file.
#[test]
fn pieces_names_and_attributes() {
    if !has("pieces_names_and_attributes", &["mkfs.fat", "mcopy", "mattrib", "mdel"]) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let image = dir.path().join("image");
    let line = "truncate -s 8M \"$F\"; mkfs.fat -F 12 -s 8 -n 'MY LABEL' \"$F\"; cd \"$(dirname \"$F\")\"; export TZ=UTC; \
                for n in 1 3 5 7 9; do head -c 5000 /dev/zero > \"$n\"; mcopy -i \"$F\" \"$n\" ::; \
                head -c 5000 /dev/zero > \"b$n\"; mcopy -i \"$F\" \"b$n\" ::; done; \
                mdel -i \"$F\" ::1 ::3 ::5 ::7; seq 5000 > pieces; mcopy -i \"$F\" pieces ::; \
                printf x > SHORT.TXT; mcopy -i \"$F\" SHORT.TXT ::; mattrib -i \"$F\" +r +h +s -a ::SHORT.TXT; \
                touch -d '2011-12-13 14:15:16' old; mcopy -m -i \"$F\" old ::";
    run(line, &image);
    let fs = open(&image);
    let mut names = vec![];
    fs.read_dir(fs.root(), &mut |entry| {
        names.push(String::from_utf8(entry.name).unwrap());
        Ok(true)
    })
    .unwrap();
    names.sort_unstable();
    assert_eq!(names, ["9", "SHORT.TXT", "b1", "b3", "b5", "b7", "b9", "old", "pieces"]);
    let truth: String = (1..=5000).map(|n| format!("{n}\n")).collect();
    let file = fs.open(find(&*fs, "Pieces"), None).unwrap();
    let mut bytes = vec![0; truth.len()];
    file.read_at(0, &mut bytes).unwrap();
    assert!(bytes == truth.as_bytes());
    let extents: Vec<_> =
        block::extents(&*file, ByteRange::span(0, file.size())).map(Result::unwrap).collect();
    assert!(extents.len() > 2, "{extents:?}");
    let short = fs.metadata(find(&*fs, "short.txt")).unwrap();
    assert_eq!((short.attributes, short.kind, short.size), (Some(7), FileKind::File, 1));
    let old = fs.metadata(find(&*fs, "old")).unwrap();
    assert_eq!(old.modified.unwrap().seconds, 1_323_785_716);
    assert_eq!(old.allocated, Some(0));
}

/// A chain that breaks gives what is before it, a table that is damaged its copy, and other files are whole.
#[test]
fn damaged_tables() {
    if !has("damaged_tables", &["mkfs.fat", "mcopy"]) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let image = dir.path().join("image");
    let line = "truncate -s 40M \"$F\"; mkfs.fat -F 32 -s 1 \"$F\"; cd \"$(dirname \"$F\")\"; export TZ=UTC; \
                seq 5000 > one; cp one two; mcopy -i \"$F\" one two ::";
    run(line, &image);
    let mut bytes = fs::read(&image).unwrap();
    let reserved = usize::from(u16::from_le_bytes([bytes[14], bytes[15]])) * 512;
    // Cluster 2 is the root, 3 and on are `one`: cut it behind its tenth cluster.
    let at = reserved + 12 * 4;
    bytes[at..at + 4].copy_from_slice(&1_u32.to_le_bytes());
    fs::write(&image, &bytes).unwrap();
    let opened = open(&image);
    let one = opened.open(find(&*opened, "one"), None).unwrap();
    let truth: String = (1..=5000).map(|n| format!("{n}\n")).collect();
    let mut buf = vec![0; 5120];
    one.read_at(0, &mut buf).unwrap();
    assert!(buf == truth.as_bytes()[..5120]);
    assert_eq!(one.read_at(5119, &mut [0; 2]).unwrap_err().kind(), ErrorKind::Corrupt);
    let two = opened.open(find(&*opened, "two"), None).unwrap();
    let mut all = vec![0; truth.len()];
    two.read_at(0, &mut all).unwrap();
    assert!(all == truth.as_bytes());
    // In a circle.
    bytes[at..at + 4].copy_from_slice(&4_u32.to_le_bytes());
    fs::write(&image, &bytes).unwrap();
    let opened = open(&image);
    let error = opened.open(find(&*opened, "one"), None).map(|_| ()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    // Nobody has the sector of the first table: the second one says the same.
    bytes[at..at + 4].copy_from_slice(&13_u32.to_le_bytes());
    let bad = ByteRange::span(reserved as u64, reserved as u64 + 512);
    let disk = testkit::Memory::new(bytes).with(|disk| disk.bad = vec![bad]);
    let opened = disk::fs::open(&(std::sync::Arc::new(disk) as block::Source)).unwrap();
    let one = opened.open(find(&*opened, "one"), None).unwrap();
    one.read_at(0, &mut all).unwrap();
    assert!(all == truth.as_bytes());
}
