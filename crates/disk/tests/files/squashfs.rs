//! squashfs by mksquashfs, beside the tree that it was made from and beside the kernel.

use crate::damage::walk_damaged;
use crate::mounted::Mounted;
use crate::tree::{self, assert_same, of_filesystem, of_folder};
use block::ErrorKind;
use std::os::unix::fs::symlink;
use std::path::Path;
use tempfile::TempDir;
use testkit::tools::{has, run};

/// Every way to compress, and options that change where things lie.
const VARIANTS: [&str; 10] = [
    "-comp gzip",
    "-comp xz",
    "-comp zstd -b 1M",
    "-comp lz4",
    "-comp lzo -b 4K",
    "-noI -noId -noD -noF -noX",
    "-no-fragments",
    "-always-use-fragments -b 64K",
    "-no-exports -no-duplicates -noI",
    "-no-xattrs -nopad",
];

fn make(dir: &Path, options: &str) -> std::path::PathBuf {
    let image = dir.join("image");
    let line =
        format!("mksquashfs '{}' \"$F\" -noappend -quiet -no-progress {options}", dir.join("t").display());
    run(&line, &image);
    image
}

#[test]
fn every_compressor_gives_the_tree() {
    if !has("every_compressor_gives_the_tree", &["mksquashfs"]) {
        return;
    }
    let dir = TempDir::new().unwrap();
    let folder = dir.path().join("t");
    tree::grow(&folder, 200);
    tree::grow_unix(&folder);
    symlink("y".repeat(806), folder.join("unix/806 bytes")).unwrap();
    let truth = of_folder(&folder);
    for options in VARIANTS {
        let image = make(dir.path(), options);
        println!("{options}");
        assert_same(&truth, &of_filesystem(&*crate::open(&image), &[]));
    }
}

#[test]
fn five_thousand_files_as_the_kernel_shows_them() {
    if !has("five_thousand_files_as_the_kernel_shows_them", &["mksquashfs", "mknod", "setfattr"]) {
        return;
    }
    let dir = TempDir::new().unwrap();
    let folder = dir.path().join("t");
    tree::grow(&folder, 5000);
    tree::grow_unix(&folder);
    let _ = testkit::tools::shell("mknod \"$F/device\" b 8 300; mknod \"$F/other\" c 5 1", &folder);
    run("setfattr -n user.comment -v hello \"$F/large.bin\"", &folder);
    run(
        "setfattr -n user.big -v \"$(head -c 3000 /dev/zero | tr '\\0' x)\" \"$F/text.log\" \"$F/large.bin\"",
        &folder,
    );
    run("chown 1234:70000 \"$F/text.log\"", &folder);
    let image = make(dir.path(), "-comp zstd");
    let fs = crate::open(&image);
    let began = std::time::Instant::now();
    let shown = of_filesystem(&*fs, &[]);
    println!("{} entries in {:?}", shown.len(), began.elapsed());
    assert!(shown.len() > 5000);
    let of_folder = |folder: &Path| {
        let mut tree = of_folder(folder);
        tree.entry(b"device".to_vec()).and_modify(|seen| seen.letter = 'b');
        tree
    };
    assert_same(&of_folder(&folder), &shown);

    let root = |name: &[u8]| fs.lookup(fs.root(), name).unwrap().unwrap();
    let attributes = fs.xattrs(root(b"large.bin")).unwrap();
    let values: Vec<_> = attributes.iter().map(|x| (&x.name[..], x.value.len())).collect();
    assert!(
        values.contains(&(&b"user.comment"[..], 5)) && values.contains(&(b"user.big", 3000)),
        "{values:?}"
    );
    let text = fs.metadata(root(b"text.log")).unwrap();
    assert_eq!((text.uid, text.gid), (Some(1234), Some(70000)));
    let unix = root(b"unix");
    let [one, two] = [&b"one"[..], b"two"].map(|name| fs.lookup(unix, name).unwrap().unwrap());
    assert_eq!((one, fs.metadata(one).unwrap().links), (two, 2));

    let Some(_mounted) = Mounted::new(&image, "squashfs", &dir.path().join("m")) else { return };
    let kernel = of_folder(&dir.path().join("m"));
    assert_same(&kernel, &shown);
    beside_the_kernel(&*fs, &dir.path().join("m"));
}

/// Owners, links and device numbers of every file at the root.
fn beside_the_kernel(fs: &dyn disk::fs::FileSystem, on: &Path) {
    use std::os::unix::fs::MetadataExt;
    fs.read_dir(fs.root(), &mut |entry| {
        let path = on.join(std::str::from_utf8(&entry.name).unwrap());
        let (ours, theirs) = (fs.metadata(entry.node).unwrap(), std::fs::symlink_metadata(path).unwrap());
        assert_eq!((ours.uid, ours.gid), (Some(theirs.uid()), Some(theirs.gid())));
        assert_eq!(u64::from(ours.links), theirs.nlink());
        if let disk::fs::FileKind::BlockDevice(major, minor) = ours.kind {
            assert_eq!((major, minor), (8, 300));
            assert_eq!(theirs.rdev(), 8 << 8 | 44 | 1 << 20);
        }
        Ok(true)
    })
    .unwrap();
}

#[test]
fn holes_are_told_without_reading() {
    if !has("holes_are_told_without_reading", &["mksquashfs"]) {
        return;
    }
    let dir = TempDir::new().unwrap();
    let folder = dir.path().join("t");
    std::fs::create_dir(&folder).unwrap();
    tree::grow_unix(&folder);
    let fs = crate::open(&make(dir.path(), ""));
    let unix = fs.lookup(fs.root(), b"unix").unwrap().unwrap();
    let sparse = fs.open(fs.lookup(unix, b"sparse").unwrap().unwrap(), None).unwrap();
    let all = block::extents(&*sparse, block::ByteRange::span(0, sparse.size()));
    let holes = all.map(Result::unwrap).filter(|extent| extent.kind == block::ExtentKind::Zero);
    assert!(holes.map(|extent| extent.range.len()).sum::<u64>() > 79 << 20);
}

#[test]
fn damaged_images_end_in_errors() {
    if !has("damaged_images_end_in_errors", &["mksquashfs"]) {
        return;
    }
    let dir = TempDir::new().unwrap();
    let folder = dir.path().join("t");
    tree::grow(&folder, 100);
    for name in ["unix", "large.bin"] {
        let _ = std::fs::remove_file(folder.join(name));
    }
    tree::grow_unix(&folder);
    for options in ["-noI -noId -noX", "-comp xz", "-comp lzo", "-comp lz4", "-comp zstd"] {
        let bytes = std::fs::read(make(dir.path(), options)).unwrap();
        let tables = u64::from_le_bytes(bytes[64..72].try_into().unwrap()) as usize;
        let outcome = walk_damaged(&bytes, &[0..96, tables..bytes.len()], 120);
        assert_eq!(outcome.panics, 0, "{options}");
    }
}

#[test]
fn what_is_not_known_is_named() {
    if !has("what_is_not_known_is_named", &["mksquashfs"]) {
        return;
    }
    let dir = TempDir::new().unwrap();
    std::fs::create_dir(dir.path().join("t")).unwrap();
    let image = make(dir.path(), "-comp lzma");
    let Err(error) = disk::fs::open(&crate::source(&image)) else { panic!("opened") };
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.to_string().contains("lzma"), "{error}");
}
