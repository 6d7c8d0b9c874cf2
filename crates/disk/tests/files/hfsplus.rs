//! HFS+ and HFSX as another program writes them, beside the tree that it was given and beside what TSK reads.

use crate::damage::walk_damaged;
use crate::tree::{self, Seen, Tree, assert_same, of_filesystem, of_folder};
use block::ErrorKind;
use disk::fs::{Case, Condition, FileSystem, NodeId};
use fstool::block::FileBackend;
use fstool::fs::hfs_plus::{FormatOpts, HfsPlus};
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Cursor;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use tempfile::TempDir;
use testkit::tools::{has, run};

/// An image in the making.
struct Maker {
    dev: FileBackend,
    hfs: HfsPlus,
}

impl Maker {
    fn new(image: &Path, size: u64, change: impl FnOnce(&mut FormatOpts)) -> Self {
        let mut dev = FileBackend::create(image, size).unwrap();
        let mut options = FormatOpts::default();
        (options.catalog_nodes, options.attributes_nodes) = (600, 8);
        change(&mut options);
        let hfs = HfsPlus::format(&mut dev, &options).unwrap();
        Self { dev, hfs }
    }

    fn file(&mut self, path: &str, bytes: &[u8], mode: u16, modified: u32) -> u32 {
        let len = bytes.len() as u64;
        let made =
            self.hfs.create_file(&mut self.dev, path, &mut Cursor::new(bytes), len, mode, 7, 8, modified);
        made.unwrap()
    }

    /// All of a tree but what its driver does not take: sockets and the like.
    fn fill(&mut self, folder: &Path, truth: &Tree) {
        for (name, seen) in truth {
            let name = std::str::from_utf8(name).unwrap();
            let (path, on_disk) = (format!("/{name}"), folder.join(name));
            let (mode, modified) = (seen.mode.unwrap(), u32::try_from(seen.modified.unwrap()).unwrap());
            let dev = &mut self.dev;
            match seen.letter {
                'd' => drop(self.hfs.create_dir(dev, &path, mode, 7, 8, modified).unwrap()),
                'l' => {
                    let target = fs::read_link(on_disk).unwrap();
                    let target = std::str::from_utf8(target.as_os_str().as_bytes()).unwrap();
                    self.hfs.create_symlink(dev, &path, target, mode, 7, 8, modified).unwrap();
                }
                _ => drop(self.file(&path, &fs::read(on_disk).unwrap(), mode, modified)),
            }
        }
    }

    fn finish(mut self) {
        self.hfs.flush(&mut self.dev).unwrap();
        fstool::block::BlockDevice::sync(&mut self.dev).unwrap();
    }
}

fn grown(count: usize) -> (TempDir, PathBuf, Tree) {
    let dir = TempDir::new().unwrap();
    let folder = dir.path().join("t");
    tree::grow(&folder, count);
    fs::create_dir(folder.join("links")).unwrap();
    for (name, target) in [("short", "../large.bin"), ("long", &"x/".repeat(200)[..])] {
        std::os::unix::fs::symlink(target, folder.join("links").join(name)).unwrap();
    }
    let truth = of_folder(&folder);
    (dir, folder, truth)
}

fn node(fs: &dyn FileSystem, path: &str) -> NodeId {
    path.split('/').fold(fs.root(), |dir, name| fs.lookup(dir, name.as_bytes()).unwrap().expect(name))
}

#[test]
fn five_thousand_files() {
    let (dir, folder, truth) = grown(5000);
    for (kind, block_size, case_sensitive) in [("HFS+", 4096, false), ("HFSX", 512, true)] {
        let image = dir.path().join(kind);
        let mut maker = Maker::new(&image, 96 << 20, |options| {
            options.block_size = block_size;
            options.case_sensitive = case_sensitive;
            options.journaled = true;
        });
        maker.fill(&folder, &truth);
        maker.finish();
        let fs = crate::open(&image);
        let began = std::time::Instant::now();
        let shown = of_filesystem(&*fs, &[".journal", ".journal_info_block"]);
        println!("{kind}: {} entries in {:?}", shown.len(), began.elapsed());
        assert!(shown.len() > 5000);
        assert_same(&truth, &shown);
        assert_eq!((fs.info().condition, fs.info().missing.len()), (Condition::Clean, 0));
        let other_case = fs.lookup(fs.root(), b"LARGE.bin").unwrap();
        assert_eq!(other_case.is_some(), fs.info().case == Case::Insensitive);
        assert_eq!(case_sensitive, fs.info().case == Case::Sensitive);
        // A letter and its accent apart are the same name.
        let names = node(&*fs, "names");
        assert!(fs.lookup(names, "gru\u{308}n".as_bytes()).unwrap().is_some());
        beside_tsk(&*fs, &image, &shown);
    }
}

/// What `fls` lists and `icat` reads.
fn beside_tsk(fs: &dyn FileSystem, image: &Path, shown: &Tree) {
    if !has("beside_tsk", &["fls", "icat", "b3sum"]) {
        return;
    }
    let list = run("fls -r -p -u -f hfs \"$F\"", image);
    let theirs: BTreeSet<&str> =
        list.lines().filter_map(|line| line.split_once(":\t")).map(|(_, path)| path).collect();
    let ours: Vec<(&str, &Seen)> = shown
        .iter()
        .filter(|(name, _)| name.is_ascii())
        .map(|(name, seen)| (std::str::from_utf8(name).unwrap(), seen))
        .collect();
    let missing: Vec<_> = ours.iter().filter(|(name, _)| !theirs.contains(name)).collect();
    assert!(missing.is_empty(), "TSK does not list {missing:?}");
    let mut compared = 0;
    for (name, seen) in ours.iter().filter(|(_, seen)| seen.letter == '-' && seen.size > 0).step_by(150) {
        let number = node(fs, name).inode;
        let digest = run(&format!("icat -f hfs \"$F\" {number} | b3sum --no-names"), image);
        assert_eq!(digest.trim(), seen.digest.unwrap().to_hex().as_str(), "{name}");
        compared += 1;
    }
    println!("{} names and {compared} contents as TSK has them", ours.len());
}

#[test]
fn links_forks_and_attributes() {
    let dir = TempDir::new().unwrap();
    let image = dir.path().join("image");
    let mut maker = Maker::new(&image, 16 << 20, |_| {});
    let fork: Vec<u8> = (0..200_000_u32).map(|n| (n % 251) as u8).collect();
    maker.file("/one", b"one file, two names", 0o640, 1_700_000_000);
    maker.file("/forked", b"content", 0o644, 0);
    maker.file("/plain", b"p", 0o644, 0);
    let Maker { dev, hfs } = &mut maker;
    hfs.create_dir(dev, "/sub", 0o755, 0, 0, 0).unwrap();
    hfs.create_hardlink(dev, "/one", "/sub/two").unwrap();
    hfs.write_resource_fork(dev, "/forked", &mut &fork[..], fork.len() as u64).unwrap();
    hfs.set_xattr(dev, "/forked", "user.comment", b"hello").unwrap();
    hfs.set_xattr(dev, "/forked", "com.apple.thing", &[7; 9000]).unwrap();
    maker.finish();

    let fs = crate::open(&image);
    let names: Vec<_> = of_filesystem(&*fs, &[]).into_keys().collect();
    assert_eq!(names, [&b"forked"[..], b"one", b"plain", b"sub", b"sub/two"]);
    let (one, two) = (node(&*fs, "one"), node(&*fs, "sub/two"));
    let known = fs.metadata(one).unwrap();
    assert_eq!((one, known.links, known.mode, known.uid), (two, 2, Some(0o640), Some(7)));
    assert_eq!(known.modified.unwrap().seconds, 1_700_000_000);
    let forked = node(&*fs, "forked");
    let streams = fs.streams(forked).unwrap();
    assert_eq!((streams.len(), streams[0].size), (1, 200_000));
    let mut read = vec![0; fork.len()];
    fs.open(forked, Some(&streams[0].name)).unwrap().read_at(0, &mut read).unwrap();
    assert_eq!(read, fork);
    let mut attributes = fs.xattrs(forked).unwrap();
    attributes.sort_by(|a, b| a.name.cmp(&b.name));
    let attributes: Vec<_> = attributes.iter().map(|x| (&x.name[..], x.value.len())).collect();
    assert_eq!(attributes, [(&b"osx.com.apple.thing"[..], 9000), (b"user.comment", 5)]);
    assert!(fs.streams(one).unwrap().is_empty());
    assert_eq!(fs.open(one, Some(b"rsrc")).err().unwrap().kind(), ErrorKind::NotFound);
}

#[test]
fn files_that_the_system_compressed() {
    let dir = TempDir::new().unwrap();
    let image = dir.path().join("image");
    if !has("files_that_the_system_compressed", &["python3"]) {
        return;
    }
    // What macOS writes: zlib in the attribute; zlib in blocks of 64 KiB in the resource fork, one as it is.
    let script = "import zlib,os,struct,sys\n\
        d=b'compressible text '*11111; open(os.environ['F']+'.plain','wb').write(d)\n\
        open(os.environ['F']+'.small','wb').write(zlib.compress(b'small '*50))\n\
        b=[d[i:i+65536] for i in range(0,len(d),65536)]; z=[zlib.compress(x) for x in b]; z[1]=b'\\xff'+b[1]\n\
        t=struct.pack('<I',len(z)); o=4+8*len(z)\n\
        for x in z: t+=struct.pack('<II',o,len(x)); o+=len(x)\n\
        t+=b''.join(z); open(os.environ['F']+'.fork','wb').write(struct.pack('>IIII',256,260+len(t),4+len(t),0)+bytes(240)+struct.pack('>I',len(t))+t)\n";
    run(&format!("python3 - <<'END'\n{script}END"), &image);
    let part = |name: &str| fs::read(image.with_extension(name)).unwrap();
    let attribute = |how: u32, size: u64, rest: &[u8]| {
        [b"fpmc", &how.to_le_bytes()[..], &size.to_le_bytes(), rest].concat()
    };
    let mut maker = Maker::new(&image, 16 << 20, |_| {});
    let (plain, forked) = (part("plain"), part("fork"));
    let mut ids = vec![];
    let cases = [
        ("/inline", attribute(3, 300, &part("small"))),
        ("/blocks", attribute(4, plain.len() as u64, &[])),
        ("/lzvn", attribute(7, 5, b"\x06abcde")),
    ];
    for (path, value) in &cases {
        ids.push(maker.file(path, b"", 0o644, 0));
        maker.hfs.set_xattr(&mut maker.dev, path, "com.apple.decmpfs", value).unwrap();
    }
    maker.hfs.write_resource_fork(&mut maker.dev, "/blocks", &mut &forked[..], forked.len() as u64).unwrap();
    maker.finish();
    set_compressed(&image, &ids);

    let fs = crate::open(&image);
    let read = |path: &str| {
        let file = fs.open(node(&*fs, path), None).unwrap();
        let mut bytes = vec![0; file.size() as usize];
        file.read_at(0, &mut bytes).unwrap();
        assert_eq!(fs.metadata(node(&*fs, path)).unwrap().size, file.size());
        bytes
    };
    assert_eq!(read("inline"), b"small ".repeat(50));
    assert!(read("blocks") == plain);
    let mut middle = [0; 9];
    fs.open(node(&*fs, "blocks"), None).unwrap().read_at(65_530, &mut middle).unwrap();
    assert_eq!(middle, plain[65_530..65_539]);
    assert!(fs.streams(node(&*fs, "blocks")).unwrap().is_empty());
    let Err(error) = fs.open(node(&*fs, "lzvn"), None) else { panic!("opened") };
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.to_string().contains("LZVN"));
}

/// Sets the flag that says so in the records of files; the maker knows no way.
fn set_compressed(image: &Path, ids: &[u32]) {
    let mut bytes = fs::read(image).unwrap();
    for id in ids {
        // Kind 2 (file), flags, nothing, number.
        let tail = [&[0, 0, 0, 0][..], &id.to_be_bytes()].concat();
        let at = bytes.windows(12).position(|w| w[..2] == [0, 2] && w[4..] == tail).unwrap();
        bytes[at + 41] |= 0x20;
    }
    fs::write(image, bytes).unwrap();
}

#[test]
fn in_many_pieces_and_not_closed() {
    let dir = TempDir::new().unwrap();
    let image = dir.path().join("image");
    let mut maker = Maker::new(&image, 8 << 20, |options| {
        options.journaled = true;
        options.catalog_nodes = 200;
    });
    // Small files fill the volume, every other one goes, and a large one takes their places.
    let mut made = vec![];
    for n in 0..2000_u32 {
        let Maker { dev, hfs } = &mut maker;
        let (path, bytes) = (format!("/f{n}"), [n.to_le_bytes()[0]; 4096]);
        if hfs.create_file(dev, &path, &mut &bytes[..], 4096, 0o600, 0, 0, 0).is_err() {
            break;
        }
        made.push(path);
    }
    for path in made.iter().step_by(2) {
        maker.hfs.remove(&mut maker.dev, path).unwrap();
    }
    let large: Vec<u8> = (0..400_000_u32).flat_map(|n| [n as u8, (n >> 8) as u8]).take(900_000).collect();
    let len = large.len() as u64;
    let Maker { dev, hfs } = &mut maker;
    let fragmented = hfs.create_file(dev, "/large", &mut &large[..], len, 0o600, 0, 0, 0);
    fragmented.unwrap();
    maker.finish();
    let fs = crate::open(&image);
    let file = fs.open(node(&*fs, "large"), None).unwrap();
    let mut read = vec![0; large.len()];
    file.read_at(0, &mut read).unwrap();
    assert!(read == large);
    // It has more pieces than a record holds: the tree of further ones has leaves.
    let bytes = fs::read(&image).unwrap();
    let number = |at: usize| u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap());
    assert!(number(number(1024 + 192 + 16) as usize * 4096 + 20) > 0);

    // The bit that says that it was closed, and a transaction in the journal.
    let file = File::options().read(true).write(true).open(&image).unwrap();
    let mut flags = [0; 4];
    file.read_exact_at(&mut flags, 1024 + 4).unwrap();
    file.write_all_at(&[flags[0], flags[1], flags[2] & !1, flags[3]], 1024 + 4).unwrap();
    assert_eq!(crate::open(&image).info().condition, Condition::Stale);
    file.write_all_at(&flags, 1024 + 4).unwrap();
    assert_eq!(crate::open(&image).info().condition, Condition::Clean);
    let mut place = [0; 4];
    file.read_exact_at(&mut place, 1024 + 12).unwrap();
    let info = u64::from(u32::from_be_bytes(place)) * 4096;
    let mut journal = [0; 8];
    file.read_exact_at(&mut journal, info + 36).unwrap();
    file.write_all_at(&[1], u64::from_be_bytes(journal) + 16).unwrap();
    let fs = crate::open(&image);
    assert_eq!(fs.info().condition, Condition::Stale);
    assert!(fs.info().missing[0].contains("journal"));
}

#[test]
fn damaged_volumes_end_in_errors() {
    let (dir, folder, mut truth) = grown(100);
    truth.remove(&b"large.bin"[..]);
    truth.remove(&b"text.log"[..]);
    let image = dir.path().join("image");
    let mut maker = Maker::new(&image, 4 << 20, |options| options.catalog_nodes = 40);
    maker.fill(&folder, &truth);
    maker.hfs.create_hardlink(&mut maker.dev, "/sizes/513", "/again").unwrap();
    maker.finish();
    let bytes = fs::read(&image).unwrap();
    // The trees: their places are in the header.
    let number = |at: usize| u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap()) as usize;
    let tree = |fork: usize| {
        let (start, count) = (number(1024 + fork + 16), number(1024 + fork + 20));
        start * 4096..(start + count) * 4096
    };
    let places = [1024..1536, tree(192), tree(272), tree(272), tree(352)];
    let places: Vec<_> = places.into_iter().filter(|place| !place.is_empty()).collect();
    let outcome = walk_damaged(&bytes, &places, 500);
    assert_eq!(outcome.panics, 0);
}
