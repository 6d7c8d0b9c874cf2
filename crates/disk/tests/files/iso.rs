//! ISO 9660 by genisoimage, xorriso and makefs, beside the trees that they were made from.

use crate::damage::walk_damaged;
use crate::tree::{self, Tree, assert_same, of_filesystem, of_folder, without};
use block::ErrorKind;
use disk::fs::{Case, FileKind};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use tempfile::TempDir;
use testkit::tools::{has, run};

const GENISOIMAGE: &str = "timeout 60 genisoimage -quiet";
const XORRISO: &str = "timeout 60 xorriso -as mkisofs -quiet";

fn make(dir: &Path, maker: &str) -> PathBuf {
    let image = dir.join("image.iso");
    let _ = fs::remove_file(&image);
    run(&format!("cd '{}'; {maker} -o \"$F\" t", dir.display()), &image);
    image
}

/// A tree that every maker takes. genisoimage does not end on links whose targets are longer than 250 bytes,
/// and no maker knows pairs of surrogates in Joliet.
fn grown(count: usize) -> (TempDir, PathBuf) {
    let dir = TempDir::new().unwrap();
    let folder = dir.path().join("t");
    tree::grow(&folder, count);
    tree::grow_unix(&folder);
    fs::remove_file(folder.join("unix/long link")).unwrap();
    fs::remove_file(folder.join("unix/sparse")).unwrap();
    fs::remove_file(folder.join("names/\u{1f600} smile")).unwrap();
    fs::remove_file(folder.join(format!("names/{}", "x".repeat(255)))).unwrap();
    fs::write(folder.join(format!("names/{}", "x".repeat(240))), "long").unwrap();
    for (name, target) in [("a", "../../up"), ("b", "./here/."), ("c", "/"), ("d", "x")] {
        symlink(target, folder.join("unix").join(name)).unwrap();
    }
    symlink("part/".repeat(40), folder.join("unix/long link")).unwrap();
    (dir, folder)
}

/// A slash at the end does not survive Rock Ridge, which keeps components.
fn tidied(folder: &Path) -> Tree {
    let mut tree = of_folder(folder);
    let target = "part/".repeat(39) + "part";
    let seen = tree.get_mut(&b"unix/long link"[..]).unwrap();
    (seen.size, seen.digest) = (target.len() as u64, Some(blake3::hash(target.as_bytes())));
    tree
}

#[test]
fn rock_ridge_of_two_makers() {
    if !has("rock_ridge_of_two_makers", &["genisoimage", "xorriso"]) {
        return;
    }
    let (dir, folder) = grown(5000);
    let truth = tidied(&folder);
    for options in [
        &format!("{GENISOIMAGE} -R"),
        &format!("{GENISOIMAGE} -R -J -joliet-long"),
        &format!("{GENISOIMAGE} -R -D -l"),
        &format!("{XORRISO} -R"),
        &format!("{XORRISO} -R -J"),
        &format!("{XORRISO} -R -D"),
    ] {
        println!("{options}");
        let fs = crate::open(&make(dir.path(), options));
        let began = std::time::Instant::now();
        let shown = of_filesystem(&*fs, &["rr_moved"]);
        println!("{} entries in {:?}", shown.len(), began.elapsed());
        assert_same(&truth, &shown);
        assert_eq!(fs.info().case, Case::Sensitive);
    }
}

#[test]
fn makefs_and_its_deep_directories() {
    if !has("makefs_and_its_deep_directories", &["makefs"]) {
        return;
    }
    let (dir, folder) = grown(300);
    let image = dir.path().join("makefs.iso");
    run(&format!("makefs -t cd9660 -o rockridge,allow-deep-trees \"$F\" '{}'", folder.display()), &image);
    assert_same(
        &without(tidied(&folder), false, true),
        &without(of_filesystem(&*crate::open(&image), &[".rr_moved"]), false, true),
    );
}

#[test]
fn joliet_alone_and_nothing() {
    if !has("joliet_alone_and_nothing", &["genisoimage", "xorriso"]) {
        return;
    }
    let dir = TempDir::new().unwrap();
    let folder = dir.path().join("t");
    tree::grow(&folder, 1000);
    // Neither takes what is deeper than eight, or longer than 64 units or 103 with -joliet-long.
    fs::remove_dir_all(folder.join("deep")).unwrap();
    fs::remove_file(folder.join("names/\u{1f600} smile")).unwrap();
    fs::remove_file(folder.join(format!("names/{}", "x".repeat(255)))).unwrap();
    let truth = without(of_folder(&folder), true, false);
    for maker in [&format!("{GENISOIMAGE} -J"), &format!("{XORRISO} --norock -J")] {
        println!("{maker}");
        let fs = crate::open(&make(dir.path(), maker));
        let shown = of_filesystem(&*fs, &[]);
        assert_same(&truth, &shown);
        assert_eq!(fs.info().case, Case::Insensitive);
        let large = fs.lookup(fs.root(), b"LARGE.bin").unwrap();
        assert!(large.is_some() && large == fs.lookup(fs.root(), b"large.bin").unwrap());
    }

    let small = dir.path().join("s/t");
    fs::create_dir_all(small.join("sub")).unwrap();
    fs::write(small.join("readme.txt"), "read me").unwrap();
    fs::write(small.join("sub/noext"), "no extension").unwrap();
    let truth = without(of_folder(&small), true, false);
    for maker in [GENISOIMAGE, &format!("{XORRISO} --norock")] {
        let fs = crate::open(&make(&dir.path().join("s"), maker));
        assert_same(&truth, &of_filesystem(&*fs, &[]));
        assert!(fs.lookup(fs.root(), b"README.TXT").unwrap().is_some());
    }
}

#[test]
fn files_in_several_extents() {
    if !has("files_in_several_extents", &["genisoimage"]) {
        return;
    }
    let dir = TempDir::new().unwrap();
    fs::create_dir(dir.path().join("t")).unwrap();
    fs::write(dir.path().join("t/aa"), [b'a'; 2048]).unwrap();
    fs::write(dir.path().join("t/ab"), "the rest").unwrap();
    let image = make(dir.path(), GENISOIMAGE);
    // Files of more than 4 GiB are records of one name behind each other, all but the last with a flag.
    let mut bytes = fs::read(&image).unwrap();
    let place = |bytes: &[u8], name: &[u8]| bytes.windows(name.len()).position(|w| w == name).unwrap();
    let (first, second) = (place(&bytes, b"AA.;1"), place(&bytes, b"AB.;1"));
    bytes[first - 33 + 25] |= 0x80;
    bytes[second + 1] = b'A';
    fs::write(&image, &bytes).unwrap();
    let fs = crate::open(&image);
    let shown = of_filesystem(&*fs, &[]);
    let content = [&[b'a'; 2048][..], b"the rest"].concat();
    let file = &shown[&b"aa"[..]];
    assert_eq!((shown.len(), file.size, file.digest), (1, 2056, Some(blake3::hash(&content))));
}

#[test]
fn owners_devices_and_what_is_compressed() {
    if !has("owners_devices_and_what_is_compressed", &["xorriso", "mknod"]) {
        return;
    }
    let dir = TempDir::new().unwrap();
    let folder = dir.path().join("t");
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("text"), b"again and again ".repeat(9000)).unwrap();
    fs::write(folder.join("other"), b"other").unwrap();
    fs::hard_link(folder.join("other"), folder.join("same")).unwrap();
    run("chown 12:70000 \"$F/other\"; chmod 4711 \"$F/other\"", &folder);
    run("mknod \"$F/device\" b 8 300; mknod \"$F/other device\" c 5 1", &folder);
    let image = dir.path().join("z.iso");
    run(
        &format!(
            "xorriso -outdev \"$F\" -padding 0 -map '{}' / -set_filter --zisofs /text -- 2>&1",
            folder.display()
        ),
        &image,
    );
    let fs = crate::open(&image);
    let node = |name: &[u8]| fs.lookup(fs.root(), name).unwrap().unwrap();
    let other = fs.metadata(node(b"other")).unwrap();
    assert_eq!((other.uid, other.gid, other.mode), (Some(12), Some(70000), Some(0o4711)));
    assert_eq!(fs.metadata(node(b"device")).unwrap().kind, FileKind::BlockDevice(8, 300));
    assert_eq!(fs.metadata(node(b"other device")).unwrap().kind, FileKind::CharDevice(5, 1));
    let text = fs.metadata(node(b"text")).unwrap();
    assert_eq!(text.size, 16 * 9000);
    let Err(error) = fs.open(node(b"text"), None) else { panic!("opened") };
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.to_string().contains("zisofs"));
}

#[test]
fn damaged_isos_end_in_errors() {
    if !has("damaged_isos_end_in_errors", &["genisoimage"]) {
        return;
    }
    let (dir, folder) = grown(100);
    fs::remove_file(folder.join("large.bin")).unwrap();
    for options in ["-R", "-J -joliet-long -D"] {
        let bytes = fs::read(make(dir.path(), &format!("{GENISOIMAGE} {options}"))).unwrap();
        // Descriptors, and the directories, which genisoimage puts in front of the files.
        let first = bytes.windows(14).position(|window| window == b"file number 1\n").unwrap();
        let outcome = walk_damaged(&bytes, &[0x8000..0x9000, 0x9000..first], 300);
        assert_eq!(outcome.panics, 0);
    }
}
