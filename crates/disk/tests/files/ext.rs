//! ext2, ext3 and ext4, made by `mke2fs -d` and by the kernel.

use crate::tree::{self, Tree, assert_same, of_filesystem, of_folder};
use crate::{find, open, source};
use block::{ByteRange, ErrorKind, ExtentKind, extents};
use disk::fs::{Condition, FileKind, FileSystem};
use std::fs;
use std::path::{Path, PathBuf};
use testkit::tools::{has, run, shell};

/// Names that the maker puts at the root.
const SKIP: &[&str] = &["lost+found"];

/// A folder with everything, `count` files in one directory, and the image that `mke2fs` makes of it.
fn made(count: usize, size: &str, options: &str) -> (tempfile::TempDir, PathBuf, Tree) {
    let dir = tempfile::tempdir().unwrap();
    let (tree, image) = (dir.path().join("tree"), dir.path().join("image"));
    fs::create_dir(&tree).unwrap();
    tree::grow(&tree, count);
    tree::grow_unix(&tree);
    let line = format!("mke2fs -q -F {options} -d \"$(dirname \"$F\")/tree\" \"$F\" {size}");
    run(&line, &image);
    let truth = of_folder(&tree);
    (dir, image, truth)
}

/// A mounted image, unmounted when it is dropped.
struct Mounted(PathBuf);

impl Mounted {
    fn new(image: &Path, options: &str) -> Option<Self> {
        let dir = image.with_extension("mounted");
        fs::create_dir_all(&dir).unwrap();
        match shell(&format!("mount -o loop{options} \"$F\" {}", dir.display()), image) {
            Ok(_) => Some(Self(dir)),
            Err(error) => {
                let thread = std::thread::current();
                let test =
                    thread.name().and_then(|path| path.rsplit("::").next()).unwrap_or("test").to_owned();
                println!("SKIPPED: {test}: needs mount: {error}");
                None
            }
        }
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _done = shell("umount \"$F\"", &self.0);
    }
}

#[test]
fn five_thousand_entries_of_ext4() {
    if !has("five_thousand_entries_of_ext4", &["mke2fs"]) {
        return;
    }
    let (_dir, image, truth) = made(5000, "256M", "-t ext4 -b 4096");
    let fs = open(&image);
    assert_eq!((fs.info().type_name, fs.info().condition), ("ext4", Condition::Clean));
    assert!(fs.info().missing.is_empty(), "{:?}", fs.info().missing);
    assert!(truth.len() > 5000);
    assert_same(&truth, &of_filesystem(&*fs, SKIP));
    let names = ["unix/one", "unix/two"].map(|path| find(&*fs, path));
    assert_eq!(names[0], names[1]);
    assert_eq!(fs.metadata(names[0]).unwrap().links, 2);
}

#[test]
fn every_variant_that_mke2fs_makes() {
    if !has("every_variant_that_mke2fs_makes", &["mke2fs"]) {
        return;
    }
    for (kind, options) in [
        ("ext2", "-t ext2 -b 1024"),
        ("ext2", "-t ext2 -b 4096 -O ^resize_inode,^dir_index,^sparse_super,^filetype"),
        ("ext2", "-t ext2 -b 1024 -r 0 -O none"),
        ("ext3", "-t ext3 -b 1024 -I 128"),
        ("ext3", "-t ext3 -b 4096"),
        ("ext4", "-t ext4 -b 1024"),
        ("ext4", "-t ext4 -b 2048 -O ^64bit"),
        ("ext4", "-t ext4 -b 65536"),
        ("ext4", "-t ext4 -O ^metadata_csum"),
        ("ext4", "-t ext4 -O ^metadata_csum,uninit_bg"),
        ("ext4", "-t ext4 -I 128 -O ^extra_isize"),
        ("ext4", "-t ext4 -O ^has_journal,^extent,^64bit"),
        ("ext4", "-t ext4 -b 1024 -g 1024 -O meta_bg,^resize_inode"),
        ("ext4", "-t ext4 -b 1024 -g 1024 -O meta_bg,^resize_inode,^64bit,sparse_super2"),
        ("ext4", "-t ext4 -O bigalloc -C 65536"),
        ("ext4", "-t ext4 -b 1024 -O bigalloc -C 16384"),
        ("ext4", "-t ext4 -O inline_data"),
        ("ext4", "-t ext4 -b 1024 -I 512 -O inline_data"),
        ("ext4", "-t ext4 -O large_dir,ea_inode,mmp"),
        ("ext4", "-t ext4 -O encrypt,verity,stable_inodes"),
        ("ext4", "-t ext4 -O casefold,metadata_csum_seed,quota,project,orphan_file"),
    ] {
        let (_dir, image, mut truth) = made(300, "64M", options);
        let fs = open(&image);
        assert_eq!(fs.info().type_name, kind, "{options}");
        println!("{options}: {} entries", truth.len());
        let mut shown = of_filesystem(&*fs, SKIP);
        if options.contains("inline_data") {
            // This `mke2fs` forgets the hole at its end.
            let name = &b"unix/sparse"[..];
            assert!(truth.remove(name).is_some() && shown.remove(name).is_some());
        }
        assert_same(&truth, &shown);
        assert_eq!(fs.info().missing.is_empty(), !options.contains("encrypt"), "{options}");
    }
}

/// What only a driver makes: devices, attributes of all sorts, unwritten space, holes that were punched, times
/// before 1970 and after 2038.
#[test]
fn what_the_kernel_wrote() {
    if !has("what_the_kernel_wrote", &["mke2fs", "mount", "setfattr", "setfacl", "python3"]) {
        return;
    }
    let lines = [
        "mknod zero c 1 5; mknod disk b 259 70000; mknod old b 8 17",
        "mkdir tiny; for n in 1 2 3 4 5 6 7 8; do echo $n > tiny/file-number-$n; done; ln -s where tiny/link",
        "printf '%0100d' 7 > tiny/hundred; touch -d '1950-01-02 03:04:05.678901234' tiny/hundred",
        "touch -d '2030-01-02 03:04:05.5' tiny/link -h; chown 70000:80000 tiny/hundred; chmod 4751 tiny/hundred",
        "setfattr -n user.small -v value tiny/hundred; setfattr -n user.empty tiny/hundred",
        "setfattr -n trusted.t -v x tiny; setfattr -n security.s -v y tiny; setfacl -m u:7:rwx,g:9:r tiny/hundred",
        "setfacl -d -m u:7:rwx tiny; setfattr -h -n trusted.onlink -v l tiny/link",
        "n=0; while [ $n -lt 400 ]; do printf %04096d $n | dd of=frag bs=4096 seek=$((n * 2)) conv=notrunc status=none; \
         n=$((n + 1)); done",
        "head -c 5000000 /dev/urandom > holes; sync; fallocate -p -o 1000000 -l 3000000 holes || true",
    ];
    let newer = [
        "fallocate -l 3000000 unwritten; printf middle | dd of=unwritten bs=1 seek=1500000 conv=notrunc status=none",
        "touch -d '2100-01-02 03:04:05.123456789' tiny/file-number-1",
    ];
    let large = ["python3 -c 'import os; os.setxattr(\"holes\", \"trusted.big\", b\"w\" * 60000)'"];
    for (options, more) in [
        ("-t ext4", &newer[..]),
        ("-t ext4 -O inline_data -I 512", &newer),
        ("-t ext4 -O ea_inode,large_dir", &large),
        ("-t ext4 -I 128 -O ^extra_isize", &[]),
        ("-t ext4 -O bigalloc", &newer),
        ("-t ext2", &[]),
        ("-t ext3", &[]),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let image = dir.path().join("image");
        run(&format!("mke2fs -q -F {options} \"$F\" 128M"), &image);
        let Some(mounted) = Mounted::new(&image, "") else { return };
        tree::grow(&mounted.0, 300);
        tree::grow_unix(&mounted.0);
        for line in lines.iter().chain(more) {
            run(&format!("cd \"$F\"; {line}"), &mounted.0);
        }
        drop(mounted);
        let mounted = Mounted::new(&image, ",ro").unwrap();
        let mut truth = of_folder(&mounted.0);
        truth.retain(|name, _| !name.starts_with(b"lost+found"));
        truth.get_mut(&b"disk"[..]).unwrap().letter = 'b';
        truth.get_mut(&b"old"[..]).unwrap().letter = 'b';
        let fs = open(&image);
        assert_eq!(fs.info().condition, Condition::Clean);
        println!("{options}: {} entries", truth.len());
        assert_same(&truth, &of_filesystem(&*fs, SKIP));
        same_in_detail(&*fs, &mounted.0, options.contains("inline"));
    }
}

/// Owners, links, sizes on disk, nanoseconds, devices and attributes, as the kernel says them.
fn same_in_detail(fs: &dyn FileSystem, mounted: &Path, inline: bool) {
    let script = r"import os,sys
for root,dirs,files in os.walk(b'.'):
  for name in [b'.']+dirs+files if root==b'.' else dirs+files:
    p=os.path.join(root,name); s=os.lstat(p)
    x=sorted((n,os.getxattr(p,n,follow_symlinks=False).hex()) for n in os.listxattr(p,follow_symlinks=False))
    print(os.path.normpath(p).hex(),s.st_uid,s.st_gid,s.st_nlink,s.st_blocks*512,s.st_mtime_ns,s.st_ctime_ns,
      os.major(s.st_rdev),os.minor(s.st_rdev),' '.join(n+'='+v for n,v in x))";
    let truth = run(&format!("cd \"$F\"; python3 -c \"{script}\""), mounted);
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let (mut left, mut lines) = (vec![(fs.root(), b".".to_vec())], vec![]);
    while let Some((node, path)) = left.pop() {
        let meta = fs.metadata(node).unwrap();
        if meta.kind == FileKind::Directory {
            fs.read_dir(node, &mut |entry| {
                let path = if path == b"." { entry.name } else { [&path[..], b"/", &entry.name].concat() };
                left.push((entry.node, path));
                Ok(true)
            })
            .unwrap();
        }
        let (major, minor) = match meta.kind {
            FileKind::CharDevice(major, minor) | FileKind::BlockDevice(major, minor) => (major, minor),
            _ => (0, 0),
        };
        let nanos = |time: Option<disk::fs::Time>| {
            let time = time.unwrap();
            i128::from(time.seconds) * 1_000_000_000 + i128::from(time.nanos)
        };
        let mut attributes = fs.xattrs(node).unwrap();
        attributes.sort_by(|a, b| a.name.cmp(&b.name));
        let attributes: Vec<_> = attributes
            .iter()
            .map(|x| format!("{}={}", String::from_utf8_lossy(&x.name), hex(&x.value)))
            .collect();
        let (modified, changed) = (nanos(meta.modified), nanos(meta.changed));
        let (uid, gid) = (meta.uid.unwrap(), meta.gid.unwrap());
        // The kernel pretends that what lies in the inode takes sectors, for the sake of old programs.
        let allocated = match meta.allocated.unwrap() {
            0 if inline && meta.kind == FileKind::File => meta.size.div_ceil(512) * 512,
            allocated => allocated,
        };
        let head = format!("{} {uid} {gid} {} {allocated} {modified} {changed}", hex(&path), meta.links);
        lines.push(format!("{head} {major} {minor} {}", attributes.join(" ")));
    }
    let mut truth: Vec<_> = truth.lines().collect();
    truth.sort_unstable();
    lines.sort_unstable();
    for (truth, line) in truth.iter().zip(&lines) {
        assert_eq!(truth, line);
    }
    assert_eq!(truth.len(), lines.len());
}

/// A file of 1 TB with two blocks in it is not read through.
#[test]
fn a_terabyte_of_nothing() {
    if !has("a_terabyte_of_nothing", &["mke2fs"]) {
        return;
    }
    for options in ["-t ext4 -b 4096", "-t ext4 -b 4096 -O ^extent,^64bit"] {
        let dir = tempfile::tempdir().unwrap();
        let image = dir.path().join("image");
        run(&format!("mke2fs -q -F {options} \"$F\" 64M"), &image);
        let Some(mounted) = Mounted::new(&image, "") else { return };
        let line = "cd \"$F\"; truncate -s 1T huge; for at in 0 500000000000; do printf 'here' | dd of=huge bs=1 \
                    seek=$at conv=notrunc status=none; done";
        run(line, &mounted.0);
        drop(mounted);
        let fs = open(&image);
        let file = fs.open(find(&*fs, "huge"), None).unwrap();
        assert_eq!(file.size(), 1 << 40);
        let all: Vec<_> = extents(&*file, ByteRange::span(0, file.size())).map(Result::unwrap).collect();
        let data: u64 = all.iter().filter(|e| e.kind == ExtentKind::Data).map(|e| e.range.len()).sum();
        assert!(data <= 8192 && all.len() < 4000, "{data} bytes, {} extents", all.len());
        let mut buf = [1; 6];
        file.read_at(500_000_000_000 - 1, &mut buf).unwrap();
        assert_eq!(&buf, b"\0here\0");
    }
}

/// The backing file is copied while the filesystem is mounted and synced: the newest files are in the journal only.
#[test]
fn a_journal_is_replayed() {
    if !has("a_journal_is_replayed", &["mke2fs", "mount"]) {
        return;
    }
    for options in ["-t ext4 -b 4096", "-t ext3 -b 4096", "-t ext4 -b 1024 -O ^metadata_csum,^64bit"] {
        let (dir, image, copy, truth) = left_mounted(options, "128M", 200);
        let Some(truth) = truth else { return };
        let fs = open(&copy);
        assert_eq!(fs.info().condition, Condition::Replayed, "{options}: {:?}", fs.info().missing);
        assert!(fs.info().missing.is_empty());
        println!("{options}: {} entries", truth.len());
        assert_same(&truth, &of_filesystem(&*fs, SKIP));
        drop((dir, image));
    }
}

/// An image as a crash leaves it, and what was in it.
pub(crate) fn left_mounted(
    options: &str,
    size: &str,
    count: usize,
) -> (tempfile::TempDir, PathBuf, PathBuf, Option<Tree>) {
    let dir = tempfile::tempdir().unwrap();
    let (image, copy) = (dir.path().join("image"), dir.path().join("copy"));
    run(&format!("mke2fs -q -F {options} \"$F\" {size}"), &image);
    let Some(mounted) = Mounted::new(&image, "") else { return (dir, image, copy, None) };
    tree::grow(&mounted.0, count);
    run("sync -f \"$F\"", &mounted.0);
    run("cd \"$F\"; mkdir new; cp -r many new/; mv sizes renamed; rm -r deep; sync -f .", &mounted.0);
    let line = "cd \"$F\"; for n in 1 2 3 4 5 6 7 8 9; do echo $n > new/last$n; sync new/last$n; done";
    run(line, &mounted.0);
    let mut truth = of_folder(&mounted.0);
    truth.retain(|name, _| !name.starts_with(b"lost+found"));
    run("cp --sparse=always \"$F\" \"$F.copy\"; mv \"$F.copy\" \"$(dirname \"$F\")/copy\"", &image);
    drop(mounted);
    (dir, image, copy, Some(truth))
}

/// What a journal that cannot be replayed means is said, and the files are shown as they lie there.
#[test]
fn a_journal_that_cannot_be_replayed() {
    if !has("a_journal_that_cannot_be_replayed", &["mke2fs", "mount", "debugfs"]) {
        return;
    }
    for (options, damage) in
        [("-t ext4 -b 4096", true), ("-t ext4 -O fast_commit", false), ("-t ext4 -O bigalloc", false)]
    {
        let (dir, _image, copy, truth) = left_mounted(options, "128M", 200);
        if truth.is_none() {
            return;
        }
        if damage {
            // The journal's own superblock.
            let block = run("debugfs -R 'bmap <8> 0' \"$F\" 2> /dev/null", &copy);
            let line =
                format!("dd if=/dev/zero of=\"$F\" bs=4096 seek={} count=1 conv=notrunc", block.trim());
            run(&line, &copy);
        }
        let fs = open(&copy);
        assert_eq!(fs.info().condition, Condition::Stale, "{options}");
        assert_eq!(fs.info().missing.len(), 1, "{options}: {:?}", fs.info().missing);
        assert!(fs.info().missing[0].contains("journal"), "{:?}", fs.info().missing);
        let mut names = 0;
        fs.read_dir(fs.root(), &mut |_| {
            names += 1;
            Ok(true)
        })
        .unwrap();
        assert!(names > 3, "{options}");
        drop(dir);
    }
}

/// Features that change the format and are not known here are refused by name.
#[test]
fn unknown_features_are_refused() {
    if !has("unknown_features_are_refused", &["mke2fs", "debugfs"]) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let image = dir.path().join("image");
    run("mke2fs -q -F -t ext4 -O ^metadata_csum \"$F\" 8M", &image);
    run("debugfs -w -R 'ssv feature_incompat 0x800012c3' \"$F\"", &image);
    let error = disk::fs::open(&source(&image)).map(|_| ()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
    assert!(error.to_string().contains("dirdata, 0x80000000"), "{error}");
}

/// What was changed behind the filesystem's back is an error of that file, and of none beside it; a block of
/// descriptors that nobody has is there a second time.
#[test]
fn damage_is_noticed_where_it_is() {
    if !has("damage_is_noticed_where_it_is", &["mke2fs", "debugfs"]) {
        return;
    }
    let (_dir, image, truth) = made(300, "200M", "-t ext4 -b 1024");
    let mut bytes = fs::read(&image).unwrap();
    // A name, which is then another one.
    let name = b"file 00123.txt";
    let at = bytes.windows(name.len()).position(|window| window == name).unwrap();
    bytes[at + 8] = b'x';
    // The size of a file, in its inode.
    let imap = run("debugfs -R 'imap /sizes/4097' \"$F\" 2> /dev/null", &image);
    let (block, offset) = imap.split_once("located at block ").unwrap().1.split_once(", offset 0x").unwrap();
    let at = block.parse::<usize>().unwrap() * 1024 + usize::from_str_radix(offset.trim(), 16).unwrap();
    bytes[at + 4] ^= 1;
    let disk = testkit::Memory::new(bytes).with(|disk| disk.bad = vec![ByteRange::span(2048, 4096)]);
    let fs = disk::fs::open(&(std::sync::Arc::new(disk) as block::Source)).unwrap();
    let many = find(&*fs, "large.bin");
    assert_eq!(fs.metadata(many).unwrap().size, 3 << 20);
    let mut names = vec![];
    let listed = fs.read_dir(find(&*fs, "many"), &mut |entry| {
        names.push(entry.name);
        Ok(true)
    });
    assert_eq!((listed.unwrap_err().kind(), names.len()), (ErrorKind::Corrupt, 300));
    assert!(names.contains(&b"file 001x3.txt".to_vec()));
    let sizes = find(&*fs, "sizes");
    let damaged = fs.lookup(sizes, b"4097").unwrap().unwrap();
    assert_eq!(fs.metadata(damaged).unwrap_err().kind(), ErrorKind::Corrupt);
    assert!(fs.open(fs.lookup(sizes, b"4096").unwrap().unwrap(), None).is_ok());
    assert!(truth.len() > 300);
}
