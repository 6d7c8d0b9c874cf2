//! Small images of ext2/3/4, FAT, exFAT and APFS, of which everything but the content of files is damaged.

use crate::damage::walk_damaged;
use crate::tree;
use std::fs;
use std::ops::Range;
use std::path::Path;
use testkit::tools::{has, run};

/// Cases of each image.
const CASES: u64 = 150;

/// Few files, small, and of all sorts.
fn grow(dir: &Path, unix: bool) {
    fs::create_dir_all(dir.join("folder/inside")).unwrap();
    for n in 0..60 {
        fs::write(dir.join(format!("folder/a file with a long name {n}")), vec![b'x'; n * 20]).unwrap();
    }
    fs::write(dir.join("folder/inside/larger"), vec![0; 70_000]).unwrap();
    fs::write(dir.join("SHORT.TXT"), "short").unwrap();
    if unix {
        tree::grow_unix(dir);
        fs::remove_file(dir.join("unix/bad\u{1}\n\\name")).unwrap();
    }
}

/// Sectors that are not empty, and not of the files' content, which is `x`, noise without zeroes, or nothing.
fn places(image: &[u8]) -> Vec<Range<usize>> {
    let interesting = |sector: &[u8]| {
        let zeroes = sector.iter().filter(|byte| **byte == 0).count();
        zeroes > 30 && sector.iter().any(|byte| !matches!(byte, 0 | b'x'))
    };
    let sectors = image.chunks(512).enumerate().filter(|(_, sector)| interesting(sector));
    sectors.map(|(n, _)| n * 512..(n + 1) * 512).collect()
}

fn survives(image: &Path) {
    let bytes = fs::read(image).unwrap();
    let places = places(&bytes);
    println!("{} sectors", places.len());
    assert!(places.len() > 10);
    assert_eq!(walk_damaged(&bytes, &places, CASES).panics, 0);
}

#[test]
fn damaged_ext() {
    if !has("damaged_ext", &["mke2fs"]) {
        return;
    }
    for options in [
        "-t ext4 -b 4096",
        "-t ext3 -b 1024 -I 128",
        "-t ext4 -b 1024 -O inline_data,ea_inode,^metadata_csum",
        "-t ext4 -O bigalloc,encrypt",
    ] {
        let dir = tempfile::tempdir().unwrap();
        let (tree, image) = (dir.path().join("tree"), dir.path().join("image"));
        grow(&tree, true);
        let line = format!("mke2fs -q -F -N 256 {options} -d \"$(dirname \"$F\")/tree\" \"$F\" 8M");
        run(&line, &image);
        survives(&image);
    }
}

/// With a journal that is to be replayed, which is damaged too.
#[test]
fn damaged_journal() {
    if !has("damaged_journal", &["mke2fs", "mount"]) {
        return;
    }
    let (_dir, _image, copy, truth) = crate::ext::left_mounted("-t ext4 -b 1024 -N 2048", "20M", 40);
    if truth.is_some() {
        survives(&copy);
    }
}

#[test]
fn damaged_fat() {
    if !has("damaged_fat", &["mkfs.fat", "mcopy"]) {
        return;
    }
    for line in ["-F 12 -C \"$F\" 4096", "-F 16 -C \"$F\" 20000", "-F 32 -s 1 -C \"$F\" 34000"] {
        let dir = tempfile::tempdir().unwrap();
        let (tree, image) = (dir.path().join("tree"), dir.path().join("image"));
        grow(&tree, false);
        run(&format!("mkfs.fat {line}; cd {}; mcopy -s -i \"$F\" * :: < /dev/null", tree.display()), &image);
        survives(&image);
    }
}

#[test]
fn damaged_exfat() {
    if !has("damaged_exfat", &["mkfs.exfat", "mount.exfat-fuse"]) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let image = dir.path().join("image");
    run("truncate -s 8M \"$F\"; mkfs.exfat -c 4k \"$F\"", &image);
    let Some(mounted) = crate::exfat::Mounted::new(&image) else { return };
    grow(&mounted.0, false);
    drop(mounted);
    survives(&image);
}

#[test]
fn damaged_apfs() {
    let dir = tempfile::tempdir().unwrap();
    let (tree, image) = (dir.path().join("tree"), dir.path().join("image"));
    grow(&tree, true);
    fs::remove_file(tree.join("unix/sparse")).unwrap();
    crate::apfs::write(&tree, &image, 8 << 20, |options| options);
    survives(&image);
}
