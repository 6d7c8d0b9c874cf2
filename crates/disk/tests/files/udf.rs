//! UDF by genisoimage and by another program that writes it, in every revision and size of block that it knows.

use crate::damage::walk_damaged;
use crate::tree::{self, Tree, assert_same, of_filesystem, of_folder, without};
use disk::fs::{Condition, FileKind};
use fstool::block::FileBackend;
use fstool::fs::udf::{FormatOpts, Udf, UdfRevision};
use fstool::fs::{DeviceKind, FileMeta, Filesystem};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use tempfile::TempDir;
use testkit::tools::{has, run};

/// Makes an image of a tree, with a hard link, a hole and a device beside it.
fn make(image: &Path, folder: &Path, truth: &Tree, revision: UdfRevision, block_size: u32) {
    let mut dev = FileBackend::create(image, 64 << 20).unwrap();
    let mut options = FormatOpts::default();
    (options.revision, options.block_size) = (revision, block_size);
    let mut udf = Udf::format(&mut dev, &options).unwrap();
    for (name, seen) in truth {
        let name = std::str::from_utf8(name).unwrap();
        let (path, on_disk) = (PathBuf::from(format!("/{name}")), folder.join(name));
        let mtime = u32::try_from(seen.modified.unwrap()).unwrap();
        let mode = seen.mode.unwrap();
        let meta = FileMeta { mode, uid: 7, gid: 70_000, mtime, atime: mtime, ctime: mtime };
        match seen.letter {
            'd' => udf.create_dir(&mut dev, &path, meta).unwrap(),
            'l' => udf.create_symlink(&mut dev, &path, &fs::read_link(on_disk).unwrap(), meta).unwrap(),
            _ => {
                let mut file = fs::File::open(on_disk).unwrap();
                udf.create_file_streaming(&mut dev, &path, &mut file, seen.size, meta).unwrap();
            }
        }
    }
    let meta = FileMeta { mode: 0o600, ..FileMeta::default() };
    udf.create_device(&mut dev, Path::new("/device"), DeviceKind::Block, 8, 300, meta).unwrap();
    udf.hardlink(&mut dev, Path::new("/large.bin"), Path::new("/same")).unwrap();
    udf.flush(&mut dev).unwrap();
}

fn grown(count: usize) -> (TempDir, PathBuf) {
    let dir = TempDir::new().unwrap();
    let folder = dir.path().join("t");
    tree::grow(&folder, count);
    // 255 bytes are one for how they are written, and 254.
    fs::remove_file(folder.join(format!("names/{}", "x".repeat(255)))).unwrap();
    (dir, folder)
}

#[test]
fn every_revision_and_size_of_block() {
    let (dir, folder) = grown(300);
    fs::create_dir(folder.join("links")).unwrap();
    for (name, target) in
        [("short", "../large.bin"), ("absolute", "/etc/passwd"), ("long", &"x/".repeat(60)[..119])]
    {
        symlink(target, folder.join("links").join(name)).unwrap();
    }
    let mut holes = vec![0; 5 << 20];
    holes[3 << 20] = 1;
    fs::write(folder.join("holes"), holes).unwrap();
    let mut truth = of_folder(&folder);
    let image = dir.path().join("image");
    for revision in UdfRevision::WRITABLE {
        for block_size in [512, 2048, 4096] {
            println!("UDF {revision} in blocks of {block_size} bytes");
            truth.retain(|name, _| name != b"same" && name != b"device");
            make(&image, &folder, &truth, *revision, block_size);
            let fs = crate::open(&image);
            let same = truth[&b"large.bin"[..]].clone();
            truth.insert(b"same".to_vec(), same);
            let mut shown = of_filesystem(&*fs, &[]);
            let device = shown.remove(&b"device"[..]).unwrap();
            assert_eq!((device.letter, device.mode), ('b', Some(0o600)));
            assert_same(&truth, &shown);
            let node = |name: &[u8]| fs.lookup(fs.root(), name).unwrap().unwrap();
            assert_eq!(fs.metadata(node(b"device")).unwrap().kind, FileKind::BlockDevice(8, 300));
            let large = fs.metadata(node(b"large.bin")).unwrap();
            assert_eq!((large.links, large.uid, large.gid), (2, Some(7), Some(70_000)));
            assert_eq!(node(b"large.bin"), node(b"same"));
            let holes = fs.open(node(b"holes"), None).unwrap();
            let extents = block::extents(&*holes, block::ByteRange::span(0, holes.size()));
            assert!(extents.map(Result::unwrap).any(|extent| extent.kind == block::ExtentKind::Zero));
            assert_eq!(fs.info().condition, Condition::Clean);
        }
    }
}

#[test]
fn five_thousand_files_in_udf() {
    let (dir, folder) = grown(5000);
    let truth = of_folder(&folder);
    let image = dir.path().join("image");
    make(&image, &folder, &truth, UdfRevision::V2_01, 512);
    let fs = crate::open(&image);
    let began = std::time::Instant::now();
    let shown = of_filesystem(&*fs, &["same", "device"]);
    println!("{} entries in {:?}", shown.len(), began.elapsed());
    assert!(shown.len() > 5000);
    assert_same(&truth, &shown);
}

#[test]
fn bridges_by_genisoimage() {
    if !has("bridges_by_genisoimage", &["genisoimage"]) {
        return;
    }
    let (dir, folder) = grown(5000);
    fs::remove_file(folder.join("names/\u{1f600} smile")).unwrap();
    let image = dir.path().join("bridge");
    run(
        &format!(
            "TZ=UTC timeout 60 genisoimage -quiet -udf -J -joliet-long -D -o \"$F\" '{}'",
            folder.display()
        ),
        &image,
    );
    let fs = crate::open(&image);
    assert_eq!(fs.info().type_name, "udf");
    let shown = without(of_filesystem(&*fs, &[]), true, false);
    assert_same(&without(of_folder(&folder), true, false), &shown);
}

#[test]
fn empty_volumes_by_mkudffs() {
    if !has("empty_volumes_by_mkudffs", &["mkudffs"]) {
        return;
    }
    let dir = TempDir::new().unwrap();
    for options in
        ["-m hd -r 1.02 -b 512", "-m hd -r 2.01 -b 2048", "-m cdrw -r 1.50", "-m hd -r 2.50 -b 4096"]
    {
        let image = dir.path().join("image");
        let _ = fs::remove_file(&image);
        println!("{options}");
        if let Err(error) =
            testkit::tools::shell(&format!("truncate -s 64M \"$F\"; mkudffs {options} \"$F\""), &image)
        {
            println!("not made: {error}");
            continue;
        }
        let fs = crate::open(&image);
        let names: Vec<_> = of_filesystem(&*fs, &[]).into_keys().collect();
        // Rewritable discs keep their reserve as a file.
        let known = [&b"lost+found"[..], b"Non-Allocatable Space"];
        assert!(names.iter().all(|name| known.contains(&&name[..])), "{names:?}");
        assert_eq!(fs.info().condition, Condition::Clean);
    }
}

#[test]
fn damaged_udf_ends_in_errors() {
    let (dir, folder) = grown(100);
    for large in ["text.log", "large.bin"] {
        fs::write(folder.join(large), "small").unwrap();
    }
    let truth = of_folder(&folder);
    let image = dir.path().join("image");
    let mut panics = 0;
    for revision in [UdfRevision::V1_02, UdfRevision::V2_50] {
        make(&image, &folder, &truth, revision, 2048);
        let mut bytes = fs::read(&image).unwrap();
        bytes.truncate(bytes.iter().rposition(|byte| *byte != 0).unwrap() + 4096);
        // Every block with a tag of this format in front: descriptors, entries, directories.
        let is_tag = |block: &[u8]| {
            let sum = (0..16).filter(|at| *at != 4).fold(0_u8, |sum, at| sum.wrapping_add(block[at]));
            block[0] != 0 && sum == block[4] && block[5] == 0
        };
        let places: Vec<_> = (0..bytes.len() / 2048)
            .filter(|n| is_tag(&bytes[n * 2048..][..16]))
            .map(|n| n * 2048..n * 2048 + 512)
            .collect();
        println!("{} blocks of structures", places.len());
        panics += walk_damaged(&bytes, &places, 200).panics;
    }
    assert_eq!(panics, 0);
}

/// Damage that keeps the sums right goes deeper.
#[test]
fn sums_do_not_make_a_structure_right() {
    let (dir, folder) = grown(60);
    for large in ["text.log", "large.bin"] {
        fs::write(folder.join(large), "small").unwrap();
    }
    let truth = of_folder(&folder);
    let image = dir.path().join("image");
    make(&image, &folder, &truth, UdfRevision::V1_02, 2048);
    let mut bytes = fs::read(&image).unwrap();
    bytes.truncate(bytes.iter().rposition(|byte| *byte != 0).unwrap() + 4096);
    let entries: Vec<usize> = (257..bytes.len() / 2048)
        .map(|n| n * 2048)
        .filter(|at| bytes[*at..][..2] == 261_u16.to_le_bytes() && bytes[at + 20..][..2] == [4, 0])
        .collect();
    assert!(entries.len() > 60);
    for case in 0..300_usize {
        let mut damaged = bytes.clone();
        let at = entries[case * 7 % entries.len()];
        let place = at + 16 + (case * 37) % 200;
        damaged[place] = [0xFF, 0, 0x7F, 1, 3][case % 5];
        reseal(&mut damaged[at..at + 2048]);
        let source: block::Source = std::sync::Arc::new(testkit::Memory::new(damaged));
        let Ok(fs) = disk::fs::open(&source) else { continue };
        let mut left = vec![fs.root()];
        let mut seen = std::collections::BTreeSet::new();
        while let Some(dir) = left.pop().filter(|dir| seen.insert(*dir)) {
            let _ = fs.read_dir(dir, &mut |entry| {
                let kind = fs.metadata(entry.node).map(|known| known.kind);
                if let Err(error) = fs.open(entry.node, None) {
                    assert!(!error.to_string().contains("gave up"), "case {case}: {error}");
                }
                left.extend(kind.ok().filter(|kind| *kind == FileKind::Directory).map(|_| entry.node));
                Ok(true)
            });
        }
    }
}

/// Computes the sums of a descriptor again.
fn reseal(block: &mut [u8]) {
    let len = usize::from(u16::from_le_bytes([block[10], block[11]])).min(block.len() - 16);
    let mut crc = 0_u16;
    for byte in &block[16..16 + len] {
        crc ^= u16::from(*byte) << 8;
        for _ in 0..8 {
            crc = if crc & 0x8000 != 0 { (crc << 1) ^ 0x1021 } else { crc << 1 };
        }
    }
    block[8..10].copy_from_slice(&crc.to_le_bytes());
    block[4] = (0..16).filter(|at| *at != 4).fold(0, |sum, at| block[at].wrapping_add(sum));
}
