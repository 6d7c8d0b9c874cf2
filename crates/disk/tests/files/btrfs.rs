//! btrfs, filled and shown by the kernel.

use crate::made::{Made, Mounted, left, made};
use crate::stress::stress;
use crate::tree::{assert_same, grow, grow_unix, of_filesystem};
use crate::xfs::{attributes, seeds};
use crate::{damage, open};
use block::{ErrorKind, ExtentKind, Source, extents};
use disk::fs::{Condition, FileSystem, NodeId};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use testkit::Memory;
use testkit::tools::run;

const MKFS: &str = "mkfs.btrfs -q -m single -d single";

fn find(fs: &dyn FileSystem, path: &str) -> NodeId {
    let step = |dir, name: &str| fs.lookup(dir, name.as_bytes()).unwrap().unwrap_or_else(|| panic!("{name}"));
    path.split('/').fold(fs.root(), step)
}

/// A tree as the kernel shows it, and the same from us.
fn same(test: &str, options: (&str, &str), fill: impl FnOnce(&Path)) -> Option<Made> {
    let (mkfs, mount) = (format!("{} \"$F\"", options.0), options.1);
    let made = made((test, &["mkfs.btrfs", "btrfs"]), (256, &mkfs, mount, ""), fill)?;
    let fs = open(&made.image());
    assert_eq!((fs.info().type_name, fs.info().condition), ("btrfs", Condition::Clean));
    assert_same(&made.truth, &of_filesystem(&*fs, &[]));
    Some(made)
}

#[test]
fn btrfs_of_five_thousand() {
    let made = same("btrfs_of_five_thousand", (MKFS, ""), |dir| {
        grow(dir, 5000);
        grow_unix(dir);
        // More names of one file than an item takes.
        run("cd \"$F/unix\"; for n in $(seq 300); do ln one \"$(printf '%0200d' $n)\"; done", dir);
        run("xfs_io -f -c 'falloc 0 1m' -c 'pwrite -S 7 300000 5000' \"$F/unwritten\" > /dev/null", dir);
        run("cp --reflink=always \"$F/large.bin\" \"$F/shared\"", dir);
        run("xfs_io -c 'pwrite -S 1 8192 100' -c 'fpunch 1m 64k' \"$F/shared\" > /dev/null", dir);
    });
    let Some(made) = made else { return };
    let fs = open(&made.image());
    assert!(made.truth.len() > 5300 && fs.info().missing.is_empty());
    let [one, two] = ["unix/one", "unix/two"].map(|path| find(&*fs, path));
    assert_eq!((one, fs.metadata(one).unwrap().links), (two, 302));
    let sparse = fs.open(find(&*fs, "unix/sparse"), None).unwrap();
    let holes = extents(&*sparse, block::ByteRange::span(0, sparse.size())).map(Result::unwrap);
    let holes: u64 = holes.filter(|e| e.kind == ExtentKind::Zero).map(|e| e.range.len()).sum();
    assert!(holes > 79 << 20, "{holes}");
    assert!(fs.lookup(fs.root(), b"no such name").unwrap().is_none());
}

#[test]
fn btrfs_of_every_variant() {
    let test = "btrfs_of_every_variant";
    for options in [
        (MKFS, ",compress-force=lzo"),
        (MKFS, ",compress-force=zlib"),
        (MKFS, ",compress-force=zstd:15"),
        (MKFS, ",max_inline=0,nodatasum"),
        ("mkfs.btrfs -q -m dup -d single --csum xxhash", ",compress=zstd"),
        ("mkfs.btrfs -q -m dup -d dup --csum sha256", ",compress=lzo"),
        ("mkfs.btrfs -q --csum blake2", ""),
        ("mkfs.btrfs -q -M", ",compress=zlib"),
        ("mkfs.btrfs -q -n 4096 -M -O ^no-holes,^extref", ""),
        ("mkfs.btrfs -q -n 65536", ",compress=zstd"),
    ] {
        let made = same(test, options, |dir| {
            grow(dir, 300);
            grow_unix(dir);
            // Written piece by piece, so that extents end inside others.
            let line = "for n in $(seq 200); do printf 'pwrite -S %d %d %d\\n' $((n % 256)) $((n * 7919 % 900000)) \
                        $((n * 131)); done | xfs_io -f \"$F/pieces\" > /dev/null; sync -f \"$F\"; \
                        echo 'pwrite -S 9 40000 50000' | xfs_io \"$F/text.log\" > /dev/null; \
                        truncate -s 1000000 \"$F/text.log\"";
            run(line, dir);
        });
        let Some(made) = made else { return };
        let said = open(&made.image()).info().missing.clone();
        assert_eq!(said.len(), usize::from(options.0.contains("blake2")), "{said:?}");
    }
}

#[test]
fn btrfs_of_subvolumes_and_snapshots() {
    let test = "btrfs_of_subvolumes_and_snapshots";
    let fill = |dir: &Path| {
        run("btrfs -q subvolume create \"$F/sub\"; mkdir \"$F/dir\"", dir);
        grow(&dir.join("sub"), 500);
        run("btrfs -q subvolume create \"$F/sub/inner\"; echo deep > \"$F/sub/inner/deep\"", dir);
        run("btrfs -q subvolume snapshot \"$F/sub/inner\" \"$F/dir/copy\"", dir);
        run("echo new > \"$F/dir/copy/new\"; echo changed > \"$F/sub/inner/deep\"", dir);
        run("btrfs -q subvolume snapshot -r \"$F/sub\" \"$F/dir/frozen\"; rm -r \"$F/sub/deep\"", dir);
        run("btrfs -q subvolume delete -c \"$F/sub/inner\"; btrfs -q subvolume create \"$F/gone\"", dir);
        run("btrfs -q subvolume delete -c \"$F/gone\"", dir);
    };
    let mkfs = format!("{MKFS} \"$F\"");
    let Some(mut made) = made((test, &["mkfs.btrfs", "btrfs"]), (256, &mkfs, ",compress=zstd", ""), fill)
    else {
        return;
    };
    let image = made.image();
    let fs = open(&image);
    // The snapshot has a directory where the inner subvolume was; its time is when it is looked at.
    let instead = made.truth.get_mut(&b"dir/frozen/inner"[..]).unwrap();
    assert_eq!(instead.letter, 'd');
    instead.modified = None;
    assert!(made.truth.len() > 1000);
    assert_same(&made.truth, &of_filesystem(&*fs, &[]));
    assert_ne!(fs.root().tree, find(&*fs, "sub").tree);
    // Another one is shown by default.
    let Some(mounted) = Mounted::new(test, &image, "loop") else { return };
    run("btrfs subvolume set-default $(btrfs inspect-internal rootid \"$F/sub\") \"$F\"", mounted.path());
    drop(mounted);
    let Some(mounted) = Mounted::new(test, &image, "loop,ro") else { return };
    let truth = crate::tree::of_folder(mounted.path());
    let fs = open(&image);
    assert_eq!(fs.info().missing.len(), 1);
    assert_same(&truth, &of_filesystem(&*fs, &[]));
}

#[test]
fn btrfs_attributes() {
    let test = "btrfs_attributes";
    let mkfs = format!("{MKFS} \"$F\"");
    let programs = &["mkfs.btrfs", "getfattr", "setfattr", "setfacl"];
    let made = made((test, programs), (256, &mkfs, "", ""), |dir| {
        run("echo a > \"$F/few\"; echo b > \"$F/many\"; ln -s x \"$F/link\"", dir);
        run("setfattr -n user.comment -v short \"$F/few\"; setfattr -n trusted.t -v t \"$F/few\"", dir);
        run("setfattr -n user.empty \"$F/few\"; setfattr -n security.some -v s \"$F/link\" -h", dir);
        run("for n in $(seq 400); do setfattr -n user.number$n -v value$n \"$F/many\"; done", dir);
        run("setfacl -m u:1234:rw,g:77:r \"$F/few\"", dir);
    });
    let Some(made) = made else { return };
    let image = made.image();
    let Some(mounted) = Mounted::new(test, &image, "loop,ro") else { return };
    let fs = open(&image);
    for name in ["few", "many", "link"] {
        let shown = fs.xattrs(find(&*fs, name)).unwrap().into_iter();
        let shown: BTreeMap<_, _> = shown.map(|x| (String::from_utf8(x.name).unwrap(), x.value)).collect();
        assert_eq!(shown, attributes(&mounted.path().join(name)), "{name}");
    }
}

/// What was synced after the last commit is in a tree of its own.
#[test]
fn btrfs_with_a_log_to_replay() {
    let test = "btrfs_with_a_log_to_replay";
    for options in [",commit=3000", ",commit=3000,compress=zstd"] {
        let mkfs = format!("{MKFS} \"$F\"");
        let made = left((test, &["mkfs.btrfs", "xfs_io", "setfattr"]), (256, &mkfs, options, ":"), |dir| {
            grow(dir, 200);
            grow_unix(dir);
            std::fs::create_dir(dir.join("sub")).unwrap();
            for n in 0..20 {
                std::fs::write(dir.join(format!("sub/before {n}")), vec![7; 100_000]).unwrap();
            }
            run("setfattr -n user.old -v old \"$F/sub/before 3\"; sync -f \"$F\"", dir);
            let sync = |name: &str| std::fs::File::open(dir.join(name)).unwrap().sync_all().unwrap();
            for n in 0..60 {
                let path = dir.join(format!("sub/new {n}"));
                std::fs::write(&path, format!("newest {n}\n").repeat(n * 400 + 1)).unwrap();
                sync(&format!("sub/new {n}"));
            }
            let edit = |line: &str| run(&format!("xfs_io {line} > /dev/null"), dir);
            edit("-c 'pwrite -S 1 50000 8000' -c fsync \"$F/sub/before 0\"");
            edit("-c 'truncate 10000' -c fsync \"$F/sub/before 1\"");
            edit("-c 'fpunch 4096 16384' -c fsync \"$F/sub/before 2\"");
            edit("-c 'pwrite -S 2 400000 100' -c fsync \"$F/sub/before 4\"");
            edit("-c 'falloc 0 1m' -c fsync \"$F/sub/before 5\"");
            // Names: gone, renamed, more of one, in another directory.
            std::fs::remove_file(dir.join("sub/before 6")).unwrap();
            std::fs::rename(dir.join("sub/before 7"), dir.join("sub/renamed")).unwrap();
            sync("sub/renamed");
            std::fs::hard_link(dir.join("sub/before 8"), dir.join("sub/linked")).unwrap();
            sync("sub/before 8");
            sync("sub");
            std::fs::create_dir_all(dir.join("sub/x/y")).unwrap();
            std::fs::write(dir.join("sub/x/y/z"), b"in new directories").unwrap();
            sync("sub/x/y/z");
            run("setfattr -n user.new -v new \"$F/sub/before 9\"", dir);
            sync("sub/before 9");
        });
        let Some(made) = made else { return };
        let fs = open(&made.image());
        assert_eq!(fs.info().condition, Condition::Replayed, "{:?}", fs.info().missing);
        assert!(made.truth.contains_key(&b"sub/new 59"[..]), "the log was not in the copy");
        assert_same(&made.truth, &of_filesystem(&*fs, &[]));
        for (name, attribute) in [("sub/before 3", "user.old"), ("sub/before 9", "user.new")] {
            let xattrs = fs.xattrs(find(&*fs, name)).unwrap();
            assert!(xattrs.iter().any(|xattr| xattr.name == attribute.as_bytes()), "{xattrs:?}");
        }
    }
}

#[test]
fn btrfs_with_a_log_of_random_changes() {
    let test = ("btrfs_with_a_log_of_random_changes", &["mkfs.btrfs", "setfattr"][..]);
    for seed in 0..seeds() {
        let options = [",commit=3000", ",commit=3000,compress=zstd"][seed as usize % 2];
        let mkfs = format!("{MKFS} \"$F\"");
        let made = left(test, (256, &mkfs, options, ":"), |dir| {
            stress(dir, seed, 500);
            run("sync -f \"$F\"", dir);
            stress(dir, seed + 1000, 300);
        });
        let Some(made) = made else { return };
        let fs = open(&made.image());
        assert_ne!(fs.info().condition, Condition::Stale, "{:?}", fs.info().missing);
        println!("seed {seed}: {} entries, {}", made.truth.len(), fs.info().condition);
        assert_same(&made.truth, &of_filesystem(&*fs, &[]));
    }
}

/// A feature is switched on in the superblock, which is then right in itself.
#[test]
fn btrfs_features_that_are_not_read_are_named() {
    let test = ("btrfs_features_that_are_not_read_are_named", &["mkfs.btrfs"][..]);
    let mkfs = format!("{MKFS} \"$F\"");
    let Some(made) = made(test, (128, &mkfs, "", ""), |_| ()) else { return };
    let bytes = made.bytes();
    for (bit, words) in [(12, "zones"), (14, "stripes"), (40, "0x10000000000")] {
        let mut bytes = bytes.clone();
        for place in [64 << 10, 64 << 20] {
            let sb = &mut bytes[place..place + 4096];
            sb[0xBC + bit / 8] |= 1 << (bit % 8);
            let sum = crc::Crc::<u32>::new(&crc::CRC_32_ISCSI).checksum(&sb[32..]);
            sb[..4].copy_from_slice(&sum.to_le_bytes());
        }
        let source: Source = Arc::new(Memory::new(bytes));
        let Err(error) = disk::fs::open(&source) else { panic!("{words}: it was opened") };
        assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
        assert!(error.to_string().contains(words), "{error}");
    }
    // The first copy of the superblock is gone: the second one is as good.
    let mut bytes = bytes;
    bytes[0x1_0000 + 200] ^= 1;
    let source: Source = Arc::new(Memory::new(bytes));
    assert!(disk::fs::open(&source).is_ok());
}

#[test]
fn btrfs_of_several_devices_is_named() {
    let test = "btrfs_of_several_devices_is_named";
    if !testkit::tools::has(test, &["mkfs.btrfs"]) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let image = dir.path().join("image");
    run("truncate -s 128M \"$F\" \"$F.2\"; mkfs.btrfs -q -d raid0 -m raid1 \"$F\" \"$F.2\"", &image);
    let Err(error) = disk::fs::open(&crate::source(&image)) else { panic!("it was opened") };
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.to_string().contains("2 devices"), "{error}");
}

/// Metadata with their checksums made right again, so that what is wrong comes as far as it can; then data whose
/// checksums are wrong, of which there are two copies and of which there is one.
#[test]
fn btrfs_damaged() {
    let test = "btrfs_damaged";
    let fill = |dir: &Path| {
        grow(dir, 60);
        grow_unix(dir);
        run("for n in $(seq 40); do setfattr -n user.n$n -v value$n \"$F/text.log\"; done", dir);
    };
    let programs = &["mkfs.btrfs", "setfattr"];
    let mixed = "mkfs.btrfs -q -M -n 4096 -m single -d single \"$F\"";
    let Some(one) = made((test, programs), (32, mixed, ",compress=zstd", ""), fill) else { return };
    let bytes = one.bytes();
    let fsid = bytes[0x1_0020..0x1_0030].to_vec();
    let is_node = |sector: &[u8]| sector[32..48] == fsid[..] && sector[..4] != [0; 4];
    let nodes: Vec<_> = (0..bytes.len() / 4096)
        .map(|index| index * 4096..index * 4096 + 4096)
        .filter(|range| is_node(&bytes[range.clone()]))
        .collect();
    assert!(nodes.len() > 20, "{}", nodes.len());
    let summed = |image: &mut [u8], at: usize| {
        let block = &mut image[at / 4096 * 4096..][..4096];
        let sum = crc::Crc::<u32>::new(&crc::CRC_32_ISCSI).checksum(&block[32..]);
        block[..4].copy_from_slice(&sum.to_le_bytes());
    };
    assert_eq!(damage::walk_summed(&bytes, &nodes, 300, &summed).panics, 0);

    let stop = |dir: &Path| {
        std::fs::write(dir.join("plain"), vec![0x5A; 400_000]).unwrap();
    };
    for (kind, copies) in [("single", 1), ("dup", 2)] {
        let mkfs = format!("mkfs.btrfs -q -m dup -d {kind} \"$F\"");
        let Some(made) = made((test, programs), (256, &mkfs, "", ""), stop) else { return };
        let bytes = made.bytes();
        let places: Vec<_> =
            (0..bytes.len() / 4096).filter(|n| bytes[n * 4096..][..4096] == [0x5A; 4096]).collect();
        let read = |bytes: Vec<u8>| {
            let source: Source = Arc::new(Memory::new(bytes));
            let fs = disk::fs::open(&source).unwrap();
            let file = fs.open(find(&*fs, "plain"), None).unwrap();
            let mut content = vec![0; 400_000];
            file.read_at(0, &mut content).map(|()| content == [0x5A; 400_000])
        };
        let mut wrong = bytes.clone();
        wrong[places[5] * 4096 + 100] ^= 1;
        match copies {
            1 => assert_eq!(read(wrong.clone()).unwrap_err().kind(), ErrorKind::Corrupt),
            _ => assert!(read(wrong.clone()).unwrap()),
        }
        // The same sector of the other copy.
        if copies == 2 {
            wrong[places[5 + places.len() / 2] * 4096 + 100] ^= 1;
            assert_eq!(read(wrong).unwrap_err().kind(), ErrorKind::Corrupt);
        }
    }
}
