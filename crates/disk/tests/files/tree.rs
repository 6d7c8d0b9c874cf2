//! A tree of files as it is known to be, and as a reader shows it.

use block::{ReadAt, extents};
use disk::fs::{FileKind, FileSystem, NodeId};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt, symlink};
use std::path::Path;

/// What of a file is compared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// The letter of `ls -l`.
    pub letter: char,
    /// Of a file or link.
    pub size: u64,
    /// Of a file its content, of a link its target.
    pub digest: Option<blake3::Hash>,
    /// Twelve bits.
    pub mode: Option<u16>,
    /// Seconds.
    pub modified: Option<i64>,
}

/// By path from the root, without a slash in front.
pub type Tree = BTreeMap<Vec<u8>, Seen>;

/// Fills `dir` with everything that a filesystem of Unix takes: `count` files in one directory, deep ones,
/// long and unicode names, hard links, links, sparse files, sizes around those of blocks.
pub fn grow(dir: &Path, count: usize) {
    let write = |path: &str, bytes: &[u8]| {
        let path = dir.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    };
    let noise = |seed: u64, len: usize| {
        let mut bytes = vec![0; len];
        blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut bytes);
        bytes
    };
    for n in 0..count {
        write(&format!("many/file {n:05}.txt"), format!("file number {n}\n").repeat(n % 40).as_bytes());
    }
    for (n, size) in [511, 512, 513, 1023, 1024, 4095, 4096, 4097, 65535, 65536, 65537].iter().enumerate() {
        write(&format!("sizes/{size}"), &noise(n as u64, *size));
    }
    write("sizes/0", b"");
    write("large.bin", &noise(99, 3 << 20));
    write("text.log", &b"the same line again and again\n".repeat(40_000));
    let deep = (0..20).map(|n| format!("level{n}")).collect::<Vec<_>>().join("/");
    write(&format!("deep/{deep}/bottom"), b"down here");
    for name in [
        "gr\u{fc}n",
        "\u{65e5}\u{672c}\u{8a9e}",
        "\u{1f600} smile",
        " lead",
        "two  blanks",
        "UPPER lower",
        "a.b.c",
    ] {
        write(&format!("names/{name}"), name.as_bytes());
    }
    write(&format!("names/{}", "x".repeat(255)), b"longest");
}

/// What only filesystems of Unix take.
pub fn grow_unix(dir: &Path) {
    let unix = dir.join("unix");
    fs::create_dir(&unix).unwrap();
    fs::write(unix.join("bad\u{1}\n\\name"), b"control").unwrap();
    fs::write(unix.join("one"), b"one file, two names").unwrap();
    fs::hard_link(unix.join("one"), unix.join("two")).unwrap();
    symlink("one", unix.join("short link")).unwrap();
    symlink("x/".repeat(200), unix.join("long link")).unwrap();
    symlink("/etc/passwd", unix.join("absolute link")).unwrap();
    let mut sparse = File::create(unix.join("sparse")).unwrap();
    for at in [0, 5 << 20, 64 << 20] {
        sparse.seek(SeekFrom::Start(at)).unwrap();
        sparse.write_all(b"island").unwrap();
    }
    sparse.set_len(80 << 20).unwrap();
    testkit::tools::run("mkfifo \"$F\"", &unix.join("pipe"));
}

/// A folder that is there.
pub fn of_folder(dir: &Path) -> Tree {
    let (mut tree, mut left) = (Tree::new(), vec![dir.to_owned()]);
    while let Some(path) = left.pop() {
        for entry in fs::read_dir(&path).unwrap() {
            let path = entry.unwrap().path();
            let name = path.strip_prefix(dir).unwrap().as_os_str().as_bytes().to_vec();
            let meta = fs::symlink_metadata(&path).unwrap();
            let kind = meta.file_type();
            let (letter, digest) = if kind.is_dir() {
                left.push(path.clone());
                ('d', None)
            } else if kind.is_symlink() {
                ('l', Some(blake3::hash(fs::read_link(&path).unwrap().as_os_str().as_bytes())))
            } else if kind.is_file() {
                ('-', Some(digest(&mut File::open(&path).unwrap())))
            } else {
                let letter = if kind.is_fifo() {
                    'p'
                } else if kind.is_socket() {
                    's'
                } else {
                    'c'
                };
                (letter, None)
            };
            let size = if matches!(letter, '-' | 'l') { meta.len() } else { 0 };
            let mode = Some((meta.mode() & 0o7777) as u16);
            tree.insert(name, Seen { letter, size, digest, mode, modified: Some(meta.mtime()) });
        }
    }
    tree
}

fn digest(file: &mut File) -> blake3::Hash {
    let (mut hasher, mut buf) = (blake3::Hasher::new(), vec![0; 1 << 20]);
    loop {
        let n = file.read(&mut buf).unwrap();
        if n == 0 {
            return hasher.finalize();
        }
        hasher.update(&buf[..n]);
    }
}

/// What a reader shows. `skip`: names at the root that its maker or driver put there, as `lost+found`.
pub fn of_filesystem(fs: &dyn FileSystem, skip: &[&str]) -> Tree {
    let (mut tree, mut seen) = (Tree::new(), BTreeSet::new());
    let mut left: Vec<(NodeId, Vec<u8>)> = vec![(fs.root(), vec![])];
    while let Some((dir, path)) = left.pop() {
        assert!(seen.insert(dir), "{} twice", String::from_utf8_lossy(&path));
        let mut entries = vec![];
        fs.read_dir(dir, &mut |entry| {
            entries.push(entry);
            Ok(true)
        })
        .unwrap();
        for entry in entries {
            if path.is_empty() && skip.iter().any(|name| name.as_bytes() == entry.name) {
                continue;
            }
            let path = [&path[..], if path.is_empty() { b"" } else { b"/" }, &entry.name[..]].concat();
            let words = String::from_utf8_lossy(&path).into_owned();
            let meta = fs.metadata(entry.node).unwrap_or_else(|error| panic!("{words}: {error}"));
            if let Some(kind) = entry.kind {
                assert_eq!(kind.letter(), meta.kind.letter(), "{words}");
            }
            assert_eq!(fs.lookup(dir, &entry.name).unwrap(), Some(entry.node), "{words}");
            let (size, digest) = match meta.kind {
                FileKind::Directory => {
                    left.push((entry.node, path.clone()));
                    (0, None)
                }
                FileKind::File => {
                    let file = fs.open(entry.node, None).unwrap_or_else(|error| panic!("{words}: {error}"));
                    assert_eq!(file.size(), meta.size, "{words}");
                    (meta.size, Some(read(&*file, &words)))
                }
                FileKind::Symlink => {
                    let target = fs.read_link(entry.node).unwrap();
                    (target.len() as u64, Some(blake3::hash(&target)))
                }
                _ => (0, None),
            };
            let (letter, modified) = (meta.kind.letter(), meta.modified.map(|time| time.seconds));
            tree.insert(path, Seen { letter, size, digest, mode: meta.mode, modified });
        }
    }
    tree
}

/// All of a file, its holes by its extents, in pieces of odd sizes so that no piece is a block.
fn read(file: &dyn ReadAt, words: &str) -> blake3::Hash {
    let mut hasher = blake3::Hasher::new();
    let mut buf = vec![0; 300_001];
    for extent in extents(file, block::ByteRange::span(0, file.size())) {
        let extent = extent.unwrap_or_else(|error| panic!("{words}: {error}"));
        let (mut at, end) = (extent.range.start(), extent.range.end());
        while at < end {
            let len = buf.len().min((end - at) as usize);
            if extent.kind == block::ExtentKind::Zero {
                buf[..len].fill(0);
            } else {
                file.read_at(at, &mut buf[..len]).unwrap_or_else(|error| panic!("{words} at {at}: {error}"));
            }
            hasher.update(&buf[..len]);
            at += len as u64;
        }
    }
    // The last byte by itself: a reader that only knows how to go forward is found out here.
    if let Some(last) = file.size().checked_sub(1) {
        file.read_at(last, &mut buf[..1]).unwrap();
        file.read_at(0, &mut buf[..1]).unwrap();
    }
    hasher.finalize()
}

/// Fails with the first differences.
pub fn assert_same(truth: &Tree, shown: &Tree) {
    let names: BTreeSet<_> = truth.keys().chain(shown.keys()).collect();
    let differ = |name: &&Vec<u8>| truth.get(*name) != shown.get(*name);
    let wrong: Vec<_> = names.into_iter().filter(differ).take(8).collect();
    let lines: Vec<_> = wrong
        .iter()
        .map(|name| {
            let name = String::from_utf8_lossy(name);
            format!(
                "{name}\n  is    {:?}\n  shown {:?}",
                truth.get(name.as_bytes()),
                shown.get(name.as_bytes())
            )
        })
        .collect();
    assert!(wrong.is_empty(), "of {} entries:\n{}", truth.len(), lines.join("\n"));
}

/// Without what this filesystem does not keep, or keeps only nearly.
pub fn without(tree: Tree, mode: bool, modified: bool) -> Tree {
    let strip = |seen: Seen| Seen {
        mode: seen.mode.filter(|_| !mode),
        modified: seen.modified.filter(|_| !modified),
        ..seen
    };
    tree.into_iter().map(|(name, seen)| (name, strip(seen))).collect()
}
