//! APFS, which nothing here but `ferrosys` writes; The Sleuth Kit reads it too, and says whether what is written
//! is what it seems.

use crate::tree::{self, assert_same, of_filesystem, of_folder};
use crate::{find, open, source};
use disk::fs::FileSystem;
use ferrosys::apfs::{FormatOptions, NameKind, VolumeName, VolumeRequest, format_to};
use ferrosys::{Metadata, Timestamp, TreeBuilder};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use testkit::tools::{has, run};

/// The folder as `ferrosys` takes it.
fn entries(dir: &Path) -> TreeBuilder {
    let (mut left, mut links) = (vec![dir.to_owned()], BTreeMap::new());
    let mut builder = TreeBuilder::new();
    while let Some(folder) = left.pop() {
        let mut names: Vec<_> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        names.sort_unstable();
        for path in names {
            let inside = [b"/", path.strip_prefix(dir).unwrap().as_os_str().as_bytes()].concat();
            let meta = fs::symlink_metadata(&path).unwrap();
            let time = Timestamp::from_secs(meta.mtime());
            let known = Metadata::new((meta.mode() & 0o7777) as u16, time).owned_by(1000, 100);
            let kind = meta.file_type();
            builder = if kind.is_dir() {
                left.push(path);
                builder.directory(inside, known)
            } else if let Some(first) = links.get(&meta.ino()) {
                builder.hardlink(inside, <Vec<u8> as Clone>::clone(first), known)
            } else if kind.is_symlink() {
                builder.symlink(inside, fs::read_link(&path).unwrap().as_os_str().as_bytes(), known)
            } else if kind.is_fifo() {
                builder.fifo(inside, known)
            } else {
                links.insert(meta.ino(), inside.clone());
                builder.file(inside, fs::read(&path).unwrap(), known).xattr(b"user.note", b"a value")
            };
        }
    }
    builder
}

/// A folder, and the image with it and what `options` adds.
fn made(
    count: usize,
    size: u64,
    options: impl FnOnce(FormatOptions) -> FormatOptions,
) -> (tempfile::TempDir, PathBuf, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let (tree, image) = (dir.path().join("tree"), dir.path().join("image"));
    fs::create_dir(&tree).unwrap();
    tree::grow(&tree, count);
    tree::grow_unix(&tree);
    // No name of macOS has control characters, and nobody wants 80 MB of zeroes in memory.
    fs::remove_file(tree.join("unix/bad\u{1}\n\\name")).unwrap();
    fs::remove_file(tree.join("unix/sparse")).unwrap();
    write(&tree, &image, size, options);
    (dir, tree, image)
}

pub(crate) fn write(
    tree: &Path,
    image: &Path,
    size: u64,
    options: impl FnOnce(FormatOptions) -> FormatOptions,
) {
    let volume = VolumeRequest::new(VolumeName::new("First Volume").unwrap(), [2; 16]);
    let known = FormatOptions::new([1; 16], Timestamp::from_secs(1_700_000_000), volume);
    let file = fs::File::create_new(image).unwrap();
    format_to(file, entries(tree), size, options(known)).unwrap();
}

#[test]
fn five_thousand_entries_of_apfs() {
    let (_dir, tree, image) = made(5000, 128 << 20, |options| options);
    let fs = open(&image);
    assert_eq!(fs.info().type_name, "apfs");
    assert!(fs.info().missing.is_empty(), "{:?}", fs.info().missing);
    let truth = of_folder(&tree);
    assert!(truth.len() > 5000);
    assert_same(&truth, &of_filesystem(&*fs, &[]));
    let [one, two] = ["unix/one", "unix/two"].map(|path| find(&*fs, path));
    assert_eq!((one, fs.metadata(one).unwrap().links), (two, 2));
    let xattrs = fs.xattrs(one).unwrap();
    assert_eq!(
        (xattrs.len(), &xattrs[0].name[..], &xattrs[0].value[..]),
        (1, &b"user.note"[..], &b"a value"[..])
    );
    let meta = fs.metadata(one).unwrap();
    assert_eq!((meta.uid, meta.gid), (Some(1000), Some(100)));
    // An accent in two spellings is one name.
    assert_eq!(
        fs.lookup(find(&*fs, "names"), "gru\u{308}n".as_bytes()).unwrap(),
        Some(find(&*fs, "names/gr\u{fc}n"))
    );
    assert_eq!(fs.lookup(fs.root(), b"nowhere").unwrap(), None);
    if has("five_thousand_entries_of_apfs", &["pstat", "fls"]) {
        as_sleuthkit_lists_it(&*fs, &image);
    }
}

/// The same paths as `fls` has.
fn as_sleuthkit_lists_it(fs: &dyn FileSystem, image: &Path) {
    let block = "$(pstat \"$F\" | sed -n 's/.*APSB Block Number: *//p' | head -1)";
    let listed = run(&format!("fls -r -u -p -B {block} \"$F\""), image);
    let names = listed.lines().filter_map(|line| line.split_once(":\t")).map(|(_, name)| name.to_owned());
    let listed: BTreeSet<String> = names.collect();
    let shown = of_filesystem(fs, &[]);
    let shown: BTreeSet<String> =
        shown.keys().map(|name| String::from_utf8_lossy(name).into_owned()).collect();
    let missing: Vec<_> = shown.difference(&listed).take(5).collect();
    assert!(missing.is_empty(), "{missing:?} of {} not among {}", shown.len(), listed.len());
}

/// Several volumes are directories; two of one name are told apart.
#[test]
fn volumes_are_directories() {
    let other = TreeBuilder::new().directory("/etc", Metadata::new(0o755, Timestamp::from_secs(1))).file(
        "/etc/Name",
        b"inside",
        Metadata::new(0o640, Timestamp::from_secs(2)),
    );
    let volume = |name: &str, id| VolumeRequest::new(VolumeName::new(name).unwrap(), [id; 16]);
    let (_dir, tree, image) = made(20, 1600 << 20, |options| {
        let second = volume("Second", 3).names(NameKind::CaseKeeping).contents(other);
        options.volume(second).volume(volume("Second", 4))
    });
    let fs = open(&image);
    let mut names = vec![];
    fs.read_dir(fs.root(), &mut |entry| {
        names.push(String::from_utf8(entry.name).unwrap());
        Ok(true)
    })
    .unwrap();
    assert_eq!(names, ["First Volume", "Second", "Second (2)"]);
    let shown = of_filesystem(&*fs, &["Second", "Second (2)"]);
    let shown = shown
        .into_iter()
        .filter_map(|(name, seen)| Some((name.strip_prefix(b"First Volume/")?.to_vec(), seen)));
    assert_same(&of_folder(&tree), &shown.collect());
    let file = fs.open(find(&*fs, "Second/etc/Name"), None).unwrap();
    let mut bytes = [0; 6];
    file.read_at(0, &mut bytes).unwrap();
    assert_eq!(&bytes, b"inside");
    assert_eq!(fs.metadata(find(&*fs, "Second/etc/Name")).unwrap().mode, Some(0o640));
}

/// One block of the container's own damaged: the rest is shown, and it is said.
#[test]
fn a_damaged_container_is_read_leniently() {
    let (_dir, tree, image) = made(20, 64 << 20, |options| options);
    let mut bytes = fs::read(&image).unwrap();
    // The copy of the superblock in block 0, behind what it says of itself.
    bytes[0x300] ^= 1;
    fs::write(&image, &bytes).unwrap();
    let Ok(fs) = disk::fs::open(&source(&image)) else { panic!("not opened") };
    assert_eq!(fs.info().missing.len(), 1, "{:?}", fs.info().missing);
    assert_same(&of_folder(&tree), &of_filesystem(&*fs, &[]));
}
