//! XFS, filled and shown by the kernel.

use crate::made::{Made, left, made};
use crate::stress::stress;
use crate::tree::{assert_same, grow, grow_unix, of_filesystem, of_folder, without};
use crate::{damage, open};
use block::{ExtentKind, Source, extents};
use disk::fs::{Condition, FileKind, FileSystem, NodeId};
use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use testkit::Memory;
use testkit::tools::{has, run, shell};

/// All variants are the same tree in less than 64 MiB; `--unsupported` allows such small ones.
const MKFS: &str = "mkfs.xfs -q --unsupported";

fn find(fs: &dyn FileSystem, path: &str) -> NodeId {
    let step = |dir, name: &str| fs.lookup(dir, name.as_bytes()).unwrap().unwrap_or_else(|| panic!("{name}"));
    path.split('/').fold(fs.root(), step)
}

/// A tree as the kernel shows it, and the same from us.
fn same(test: &str, options: &str, count: usize) -> Option<Made> {
    let mkfs = format!("{MKFS} {options} \"$F\"");
    let made = made((test, &["mkfs.xfs"]), (320, &mkfs, "", ""), |dir| {
        grow(dir, count);
        grow_unix(dir);
    })?;
    let fs = open(&made.image());
    assert_eq!((fs.info().type_name, fs.info().condition), ("xfs", Condition::Clean));
    assert!(fs.info().missing.is_empty(), "{:?}", fs.info().missing);
    assert!(made.truth.len() > count);
    assert_same(&made.truth, &of_filesystem(&*fs, &[]));
    Some(made)
}

#[test]
fn xfs_of_five_thousand() {
    let Some(made) = same("xfs_of_five_thousand", "", 5000) else { return };
    let fs = open(&made.image());
    let [one, two] = ["unix/one", "unix/two"].map(|path| find(&*fs, path));
    assert_eq!((one, fs.metadata(one).unwrap().links), (two, 2));
    let sparse = fs.open(find(&*fs, "unix/sparse"), None).unwrap();
    let all = block::ByteRange::span(0, sparse.size());
    let holes: u64 = extents(&*sparse, all)
        .map(Result::unwrap)
        .filter(|extent| extent.kind == ExtentKind::Zero)
        .map(|extent| extent.range.len())
        .sum();
    assert!(holes > 79 << 20, "{holes}");
    assert!(fs.lookup(fs.root(), b"no such name").unwrap().is_none());
    assert!(fs.lookup(find(&*fs, "many"), b"no such name").unwrap().is_none());
}

#[test]
fn xfs_of_every_variant() {
    for options in [
        "-b size=1k -n size=8k -m rmapbt=1,finobt=1,reflink=1",
        "-m bigtime=0,reflink=0,rmapbt=0,inobtcount=0 -i sparse=0,nrext64=0",
        "-i size=2048 -n size=64k",
        "-b size=2k -d agcount=16",
        "-i nrext64=1",
    ] {
        same("xfs_of_every_variant", options, 300);
    }
}

/// This kernel mounts no version 4; its maker fills one from a list.
#[test]
fn xfs_of_version_4() {
    if !has("xfs_of_version_4", &["mkfs.xfs"]) {
        return;
    }
    for options in ["", "-b size=1k -i size=256 -n ftype=0", "-n ftype=1 -i projid32bit=0"] {
        let dir = tempfile::tempdir().unwrap();
        let (tree, image) = (dir.path().join("tree"), dir.path().join("image"));
        std::fs::create_dir(&tree).unwrap();
        grow(&tree, 2000);
        run(
            "cd \"$F\"; rm -r names; ln -s short link; ln -s $(printf 'x/%.0s' $(seq 200)) long; mkfifo pipe",
            &tree,
        );
        let list = dir.path().join("list");
        std::fs::write(&list, format!("x\n1 1\n{}", listed(&tree))).unwrap();
        let line =
            format!("truncate -s 320M \"$F\"; {MKFS} -m crc=0 {options} -p {} \"$F\" 2>&1", list.display());
        run(&line, &image);
        let fs = open(&image);
        assert_eq!(fs.info().condition, Condition::Clean);
        let truth = of_folder(&tree);
        assert!(truth.len() > 2000);
        assert_same(&without(truth, false, true), &without(of_filesystem(&*fs, &[]), false, true));
    }
}

/// A folder in the words of that list, which knows no blanks in names.
fn listed(dir: &Path) -> String {
    let mut lines = String::from("d--755 0 0\n");
    let paths: Vec<_> = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    for path in paths {
        let renamed = path.with_file_name(path.file_name().unwrap().to_str().unwrap().replace(' ', "_"));
        std::fs::rename(&path, &renamed).unwrap();
        let meta = std::fs::symlink_metadata(&renamed).unwrap();
        let (name, mode) = (renamed.file_name().unwrap().to_str().unwrap(), meta.mode() & 0o777);
        let rest = if meta.is_dir() {
            listed(&renamed)
        } else if meta.is_symlink() {
            format!("l--{mode:o} 0 0 {}\n", std::fs::read_link(&renamed).unwrap().display())
        } else if meta.is_file() {
            format!("---{mode:o} 0 0 {}\n", renamed.display())
        } else {
            format!("p--{mode:o} 0 0\n")
        };
        lines.push_str(&format!("{name} {rest}"));
    }
    lines + "$\n"
}

#[test]
fn xfs_of_thirty_thousand_names_in_one_directory() {
    let test = "xfs_of_thirty_thousand_names_in_one_directory";
    for block in ["4k", "1k"] {
        let mkfs = format!("{MKFS} -b size={block} \"$F\"");
        let made = made((test, &["mkfs.xfs"]), (320, &mkfs, "", ""), |dir| {
            for n in 0..30_000 {
                std::fs::File::create(dir.join(format!("a name that is not short {n}"))).unwrap();
            }
            // Gaps in the leaves.
            (0..30_000).step_by(3).for_each(|n| {
                std::fs::remove_file(dir.join(format!("a name that is not short {n}"))).unwrap();
            });
        });
        let Some(made) = made else { return };
        let fs = open(&made.image());
        let mut names = BTreeMap::new();
        fs.read_dir(fs.root(), &mut |entry| {
            assert!(names.insert(entry.name, entry.node).is_none());
            Ok(true)
        })
        .unwrap();
        assert_eq!(names.keys().collect::<BTreeSet<_>>(), made.truth.keys().collect());
        for (name, node) in names.iter().step_by(7) {
            assert_eq!(fs.lookup(fs.root(), name).unwrap(), Some(*node));
        }
    }
}

#[test]
fn xfs_files_in_many_pieces_unwritten_and_shared() {
    let test = "xfs_files_in_many_pieces_unwritten_and_shared";
    let mkfs = format!("{MKFS} \"$F\"");
    let made = made((test, &["mkfs.xfs", "xfs_io"]), (320, &mkfs, "", ""), |dir| {
        // Every second block is written: more extents than an inode holds, and a tree of them.
        let line = "i=0; while [ $i -lt 3000 ]; do echo \"pwrite -S $((i % 255 + 1)) $((i * 8192)) 4096\"; \
                    i=$((i + 1)); done | xfs_io -f \"$F/pieces\" > /dev/null";
        run(line, dir);
        run("xfs_io -f -c 'falloc 0 1m' -c 'pwrite -S 7 300000 5000' \"$F/unwritten\"", dir);
        run("cp --reflink=always \"$F/pieces\" \"$F/shared\"", dir);
        run("xfs_io -c 'pwrite -S 1 8192 100' \"$F/shared\"", dir);
        run("truncate -s 9000 \"$F/shorter\"; xfs_io -f -c 'falloc -k 0 1m' \"$F/beyond\"", dir);
        run("truncate -s 5E \"$F/vast\"; truncate -s 0 \"$F/vast\"; mknod \"$F/node\" b 259 70000", dir);
    });
    let Some(made) = made else { return };
    let fs = open(&made.image());
    let mut shown = of_filesystem(&*fs, &[]);
    let node = fs.metadata(find(&*fs, "node")).unwrap();
    assert_eq!(node.kind, FileKind::BlockDevice(259, 70000));
    // The truth calls every device the same.
    shown.get_mut(&b"node"[..]).unwrap().letter = 'c';
    assert_same(&made.truth, &shown);
    let unwritten = fs.open(find(&*fs, "unwritten"), None).unwrap();
    assert_eq!(unwritten.extent_at(0).unwrap().kind, ExtentKind::Zero);
}

#[test]
fn xfs_attributes() {
    let test = "xfs_attributes";
    for options in ["", "-b size=1k"] {
        let mkfs = format!("{MKFS} {options} \"$F\"");
        let made =
            made((test, &["mkfs.xfs", "getfattr", "setfattr", "setfacl"]), (320, &mkfs, "", ""), |dir| {
                run("echo a > \"$F/few\"; echo b > \"$F/many\"; mkdir \"$F/d\"; ln -s x \"$F/link\"", dir);
                run(
                    "setfattr -n user.comment -v short \"$F/few\"; setfattr -n trusted.t -v t \"$F/few\"",
                    dir,
                );
                run("setfattr -n user.empty \"$F/few\"; setfattr -n security.some -v s \"$F/link\" -h", dir);
                run(
                    "v=$(head -c 40000 /dev/zero | tr '\\0' v); setfattr -n user.large -v $v \"$F/many\"",
                    dir,
                );
                run("for n in $(seq 400); do setfattr -n user.number$n -v value$n \"$F/many\"; done", dir);
                run("setfacl -m u:1234:rw,g:77:r \"$F/few\"; setfacl -d -m u:5:rwx \"$F/d\"", dir);
            });
        let Some(made) = made else { return };
        let image = made.image();
        let Some(mounted) = crate::made::Mounted::new(test, &image, "loop,ro") else { return };
        let fs = open(&image);
        for name in ["few", "many", "d", "link"] {
            let shown: BTreeMap<_, _> = fs
                .xattrs(find(&*fs, name))
                .unwrap()
                .into_iter()
                .map(|xattr| (String::from_utf8(xattr.name).unwrap(), xattr.value))
                .collect();
            let mut truth = attributes(&mounted.path().join(name));
            // The same a second time, as it is on the disk.
            truth.retain(|name, _| !name.contains("SGI_ACL"));
            assert_eq!(shown, truth, "{name} {options}");
        }
    }
}

/// What the kernel says.
pub(crate) fn attributes(path: &Path) -> BTreeMap<String, Vec<u8>> {
    let text = shell("getfattr -h -d -m - -e hex \"$F\" 2>/dev/null", path).unwrap();
    let value = |hex: &str| -> Vec<u8> {
        let digits = hex.strip_prefix("0x").unwrap_or("").as_bytes().chunks(2);
        digits.map(|two| u8::from_str_radix(std::str::from_utf8(two).unwrap(), 16).unwrap()).collect()
    };
    text.lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(|line| {
            let (name, hex) = line.split_once('=').unwrap_or((line, ""));
            (name.to_owned(), value(hex))
        })
        .collect()
}

/// A log that was not replayed: stopped after a flush, or only what was synced is in it.
#[test]
fn xfs_with_a_log_to_replay() {
    let test = "xfs_with_a_log_to_replay";
    for (options, stop) in [
        ("", "sync -f \"$F\"; xfs_io -x -c 'shutdown -f' \"$F\""),
        ("", "xfs_io -c fsync \"$F/sub/new 99\"; xfs_io -x -c shutdown \"$F\""),
        ("-b size=1k -m rmapbt=1", "xfs_io -x -c 'shutdown -f' \"$F\""),
        ("-m bigtime=0 -i nrext64=0", "xfs_io -x -c 'shutdown -f' \"$F\""),
    ] {
        let mkfs = format!("{MKFS} {options} \"$F\"");
        let made = left((test, &["mkfs.xfs", "xfs_io"]), (320, &mkfs, "", stop), |dir| {
            grow(dir, 200);
            grow_unix(dir);
            run("sync -f \"$F\"", dir);
            std::fs::create_dir(dir.join("sub")).unwrap();
            for n in 0..300 {
                let path = dir.join(format!("sub/new {n}"));
                std::fs::write(&path, format!("newest {n}\n").repeat(n * 20 + 1)).unwrap();
                std::fs::File::open(&path).unwrap().sync_all().unwrap();
            }
            (0..100).for_each(|n| std::fs::remove_file(dir.join(format!("many/file {n:05}.txt"))).unwrap());
            std::fs::rename(dir.join("text.log"), dir.join("sub/renamed")).unwrap();
            std::os::unix::fs::symlink("y/".repeat(300), dir.join("sub/link")).unwrap();
            run("mknod \"$F/sub/node\" c 5 1", dir);
        });
        let Some(made) = made else { return };
        let fs = open(&made.image());
        assert_eq!(fs.info().condition, Condition::Replayed, "{:?}", fs.info().missing);
        assert!(fs.info().missing.is_empty(), "{:?}", fs.info().missing);
        assert!(made.truth.contains_key(&b"sub/new 99"[..]));
        assert_same(&made.truth, &of_filesystem(&*fs, &[]));
    }
}

/// A version 4 that lost its power under Linux 6.1 after 300 files, a `sync`, some more of them, links, renames,
/// a truncation, `sync`, and 50 files of which the last was synced; and what Linux then showed of it: sort, mode,
/// time, size, MD5 (of a link with a newline behind it), path.
#[test]
fn xfs_of_version_4_with_a_log_to_replay() {
    let image = zstd::decode_all(&include_bytes!("../corpus/xfs4-dirty.zst")[..]).unwrap();
    let source: Source = Arc::new(Memory::new(image));
    let fs = disk::fs::open(&source).unwrap();
    assert_eq!((fs.info().condition, &fs.info().missing[..]), (Condition::Replayed, &[][..]));
    let (mut lines, mut left) = (BTreeSet::new(), vec![(fs.root(), ".".to_owned())]);
    while let Some((dir, path)) = left.pop() {
        let each = &mut |entry: disk::fs::DirEntry| {
            let path = format!("{path}/{}", String::from_utf8_lossy(&entry.name));
            let meta = fs.metadata(entry.node)?;
            let content = match meta.kind {
                FileKind::Symlink => [fs.read_link(entry.node)?, b"\n".to_vec()].concat(),
                FileKind::File => {
                    let mut bytes = vec![0; meta.size as usize];
                    fs.open(entry.node, None)?.read_at(0, &mut bytes)?;
                    bytes
                }
                _ => vec![],
            };
            let (size, digest) = match meta.kind {
                FileKind::File | FileKind::Symlink => (meta.size, md5(&content)),
                _ => (0, "-".to_owned()),
            };
            let (letter, mode, time) =
                (meta.kind.letter(), meta.mode.unwrap(), meta.modified.unwrap().seconds);
            if letter == 'd' {
                left.push((entry.node, path.clone()));
            }
            lines.insert(format!("{letter} {mode:o} {time} {size} {digest} {path}"));
            Ok(true)
        };
        fs.read_dir(dir, each).unwrap();
    }
    let truth: BTreeSet<_> = include_str!("../corpus/xfs4-dirty.txt").lines().map(str::to_owned).collect();
    let differ: Vec<_> = truth.symmetric_difference(&lines).take(6).collect();
    assert!(differ.is_empty() && truth.len() == 408, "{differ:#?}");
}

#[test]
fn xfs_whose_log_is_on_another_device_or_whose_names_have_no_case() {
    let test = "xfs_whose_log_is_on_another_device_or_whose_names_have_no_case";
    if !has(test, &["mkfs.xfs"]) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let image = dir.path().join("image");
    let list = "x\n1 1\nd--755 0 0\nUpper d--755 0 0\nFile ---644 0 0 /dev/null\n$\n$\n";
    std::fs::write(dir.path().join("list"), list).unwrap();
    let mkfs =
        format!("cd \"$(dirname \"$F\")\"; rm -f image log; truncate -s 320M image log; {MKFS} -p list");
    run(&format!("{mkfs} -l logdev=log,size=64m image 2>&1"), &image);
    let fs = open(&image);
    assert_eq!(fs.info().condition, Condition::Stale);
    assert!(
        fs.info().missing.iter().any(|words| words.contains("another device")),
        "{:?}",
        fs.info().missing
    );
    assert!(fs.lookup(fs.root(), b"uPPER").unwrap().is_none());

    run(&format!("{mkfs} -n version=ci image 2>&1"), &image);
    let fs = open(&image);
    assert_eq!(fs.info().case, disk::fs::Case::Insensitive);
    assert_eq!(find(&*fs, "uPPER/fILE"), find(&*fs, "Upper/File"));
}

fn md5(bytes: &[u8]) -> String {
    use md5::Digest as _;
    md5::Md5::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn xfs_whose_log_cannot_be_replayed() {
    let test = ("xfs_whose_log_cannot_be_replayed", &["mkfs.xfs", "xfs_io"][..]);
    let mkfs = format!("{MKFS} \"$F\"");
    let made = left(test, (320, &mkfs, "", "xfs_io -x -c 'shutdown -f' \"$F\""), |dir| {
        std::fs::write(dir.join("old"), b"old").unwrap();
        run("sync -f \"$F\"; xfs_freeze -f \"$F\"; xfs_freeze -u \"$F\"", dir);
        (0..500).for_each(|n| std::fs::write(dir.join(format!("new {n}")), b"new").unwrap());
    });
    let Some(made) = made else { return };
    // A record in the middle has another ID.
    let mut bytes = made.bytes();
    let records: Vec<_> =
        (0..bytes.len()).step_by(512).filter(|at| bytes[*at..].starts_with(b"\xFE\xED\xBA\xBE")).collect();
    let last = records.iter().copied().max_by_key(|at| bytes[at + 16..at + 24].to_vec()).unwrap();
    bytes[last + 304] ^= 1;
    let source: Source = Arc::new(Memory::new(bytes));
    let fs = disk::fs::open(&source).unwrap();
    assert_eq!(fs.info().condition, Condition::Stale);
    assert!(fs.info().missing.iter().any(|words| words.contains("log")), "{:?}", fs.info().missing);
    assert!(fs.lookup(fs.root(), b"old").unwrap().is_some());
}

#[test]
fn xfs_with_a_log_of_random_changes() {
    let test = ("xfs_with_a_log_of_random_changes", &["mkfs.xfs", "xfs_io", "setfattr"][..]);
    for seed in 0..seeds() {
        let options = ["", "-b size=1k -n size=4k", "-m rmapbt=1 -i size=1024"][seed as usize % 3];
        let stop =
            ["xfs_io -x -c shutdown \"$F\"", "xfs_io -x -c 'shutdown -f' \"$F\""][seed as usize / 3 % 2];
        let mkfs = format!("{MKFS} {options} \"$F\"");
        let made = left(test, (320, &mkfs, "", stop), |dir| {
            stress(dir, seed, 500);
            run("sync -f \"$F\"", dir);
            stress(dir, seed + 1000, 1500);
        });
        let Some(made) = made else { return };
        let fs = open(&made.image());
        assert_eq!(
            (fs.info().condition, &fs.info().missing[..]),
            (Condition::Replayed, &[][..]),
            "seed {seed}"
        );
        println!("seed {seed}: {} entries", made.truth.len());
        assert_same(&made.truth, &of_filesystem(&*fs, &[]));
    }
}

/// Seeds of random changes that are tried; more by hand.
pub(crate) fn seeds() -> u64 {
    std::env::var("SEEDS").ok().and_then(|seeds| seeds.parse().ok()).unwrap_or(3)
}

/// What is wrong comes as far as it can: the checksums are made right again. Also of the log.
#[test]
fn xfs_damaged_in_its_metadata() {
    let fill = |dir: &Path| {
        grow(dir, 60);
        grow_unix(dir);
        run("echo b > \"$F/many/x\"", dir);
        run("for n in $(seq 90); do setfattr -n user.n$n -v value$n \"$F/many/x\"; done", dir);
        let line = "i=0; while [ $i -lt 400 ]; do echo \"pwrite -S 9 $((i * 8192)) 4096\"; i=$((i + 1)); done \
                    | xfs_io -f \"$F/pieces\" > /dev/null";
        run(line, dir);
    };
    let test = ("xfs_damaged_in_its_metadata", &["mkfs.xfs", "xfs_io", "setfattr"][..]);
    let stop = "xfs_io -x -c 'shutdown -f' \"$F\"";
    let mkfs = format!("{MKFS} \"$F\"");
    let Some(clean) = made(test, (48, &mkfs, "", ""), fill) else { return };
    let Some(dirty) = left(test, (48, &mkfs, "", stop), fill) else { return };
    let log: &[&[u8]] = &[b"\xFE\xED\xBA\xBE", b"\0\0\0\x01"];
    for (made, magics, cases) in
        [(&clean, &[&b"XFSB"[..], b"IN", b"XDB3", b"XDD3", b"XSLM", b"BMA3"][..], 300), (&dirty, log, 100)]
    {
        let bytes = made.bytes();
        let places: Vec<_> = bytes
            .chunks(512)
            .enumerate()
            .filter(|(_, sector)| {
                // Leaves of names and attributes say so behind two pointers.
                let leaf =
                    [0x3DF1u16, 0x3BEE, 0x3EBE].iter().any(|magic| sector[8..10] == magic.to_be_bytes());
                leaf || magics.iter().any(|magic| sector.starts_with(magic))
            })
            .map(|(index, _)| index * 512..index * 512 + 512)
            .collect();
        assert!(places.len() > 20, "{}", places.len());
        assert_eq!(damage::walk_summed(&bytes, &places, cases, &summed).panics, 0);
    }
}

/// Makes the checksum right of the inode or block that a byte is in.
fn summed(image: &mut [u8], at: usize) {
    let sum = |bytes: &mut [u8], at: usize| {
        bytes[at..at + 4].fill(0);
        let crc = crc::Crc::<u32>::new(&crc::CRC_32_ISCSI).checksum(bytes);
        bytes[at..at + 4].copy_from_slice(&crc.to_le_bytes());
    };
    let (inode, block) = (at / 512 * 512, at / 4096 * 4096);
    let magic = image[block..block + 4].to_vec();
    match &magic[..] {
        b"XDB3" | b"XDD3" => sum(&mut image[block..block + 4096], 4),
        b"XSLM" => sum(&mut image[block..block + 4096], 12),
        b"BMA3" => sum(&mut image[block..block + 4096], 64),
        [b'I', b'N', ..] => sum(&mut image[inode..inode + 512], 100),
        _ if image[block + 8] == 0x3D || image[block + 8] == 0x3B || image[block + 8] == 0x3E => {
            sum(&mut image[block..block + 4096], 12);
        }
        _ => {}
    }
}
