//! Single things that a file can have.

use super::{NONE, Volume, hex, ready, set_reparse, utf16};
use crate::{open, tree};
use block::ErrorKind;
use disk::fs::{Condition, FileKind, FileSystem, NodeId};
use std::fs::{self, File};
use testkit::tools::run;

fn find(fs: &dyn FileSystem, name: &str) -> NodeId {
    fs.lookup(fs.root(), name.as_bytes()).unwrap().expect(name)
}

fn content(fs: &dyn FileSystem, node: NodeId, stream: Option<&[u8]>) -> Vec<u8> {
    let source = fs.open(node, stream).unwrap();
    let mut bytes = vec![0; usize::try_from(source.size()).unwrap()];
    source.read_at(0, &mut bytes).unwrap();
    bytes
}

#[test]
fn ntfs_streams() {
    if !ready("ntfs_streams", &["setfattr"]) {
        return;
    }
    let volume = Volume::new("32M", "");
    let large = testkit::pattern(300_000);
    volume.mounted("streams_interface=windows", |dir| {
        fs::write(dir.join("file"), b"main").unwrap();
        fs::write(dir.join("file:Zone.Identifier"), b"[ZoneTransfer]").unwrap();
        fs::write(dir.join("file:gr\u{fc}n"), &large).unwrap();
        fs::create_dir(dir.join("folder")).unwrap();
    });
    volume.mounted("streams_interface=xattr", |dir| {
        run("setfattr -n user.note -v 'of a folder' \"$F\"", &dir.join("folder"));
    });
    let fs = open(&volume.image());
    let file = find(&*fs, "file");
    let mut streams: Vec<_> = fs.streams(file).unwrap().into_iter().map(|s| (s.name, s.size)).collect();
    streams.sort();
    let want = [(b"Zone.Identifier".to_vec(), 14), ("gr\u{fc}n".as_bytes().to_vec(), 300_000)];
    assert_eq!(streams, want);
    assert_eq!(content(&*fs, file, None), b"main");
    assert_eq!(content(&*fs, file, Some(b"zone.identifier")), b"[ZoneTransfer]");
    assert_eq!(content(&*fs, file, Some("gr\u{fc}n".as_bytes())), large);
    for none in [&b"other"[..], b"", b"\xff"] {
        assert_eq!(fs.open(file, Some(none)).err().unwrap().kind(), ErrorKind::NotFound);
    }
    let folder = find(&*fs, "folder");
    assert_eq!(content(&*fs, folder, Some(b"note")), b"of a folder");
    assert_eq!(fs.open(folder, None).err().unwrap().kind(), ErrorKind::Usage);
    assert_eq!(fs.read_link(file).unwrap_err().kind(), ErrorKind::Usage);
    assert_eq!(fs.read_dir(file, &mut |_| Ok(true)).unwrap_err().kind(), ErrorKind::Usage);
}

/// Names for DOS are no names of their own, names that differ in case only are two here.
#[test]
fn ntfs_names() {
    if !ready("ntfs_names", &["setfattr"]) {
        return;
    }
    let volume = Volume::new("32M", "");
    volume.mounted("", |dir| {
        fs::write(dir.join("A long name.text"), b"long").unwrap();
        run("setfattr -n system.ntfs_dos_name -v ALONGN~1.TEX \"$F\"", &dir.join("A long name.text"));
        for name in ["same", "Same", "SAME"] {
            fs::write(dir.join(name), name).unwrap();
        }
    });
    let fs = open(&volume.image());
    assert_eq!(tree::of_filesystem(&*fs, NONE).len(), 4);
    let long = find(&*fs, "A long name.text");
    assert_eq!(fs.metadata(long).unwrap().links, 1);
    assert_eq!(find(&*fs, "alongn~1.tex"), long);
    for name in ["same", "Same", "SAME"] {
        assert_eq!(content(&*fs, find(&*fs, name), None), name.as_bytes());
    }
    assert!(["same", "Same", "SAME"].map(|name| find(&*fs, name)).contains(&find(&*fs, "sAmE")));
}

/// Of both names of a link the second is what people are shown.
fn names(substitute: &str, print: &str, flags: &[u8]) -> Vec<u8> {
    let (substitute, print) = (utf16(substitute), utf16(print));
    let (s, p) = (substitute.len() as u16, print.len() as u16);
    let head = [0, s, s, p].map(u16::to_le_bytes).concat();
    [&head, flags, &substitute, &print].concat()
}

#[test]
fn ntfs_links() {
    if !ready("ntfs_links", &["setfattr"]) {
        return;
    }
    let volume = Volume::new("32M", "");
    volume.mounted("", |dir| {
        let file = |name: &str| {
            File::create(dir.join(name)).unwrap();
            dir.join(name)
        };
        let folder = |name: &str| {
            fs::create_dir(dir.join(name)).unwrap();
            dir.join(name)
        };
        set_reparse(&folder("junction"), 0xA000_0003, &names("\\??\\C:\\Users", "C:\\Users", &[]));
        set_reparse(&file("link"), 0xA000_000C, &names("sub\\file", "sub\\file", &[1, 0, 0, 0]));
        set_reparse(&file("wsl"), 0xA000_001D, b"\x02\0\0\0/etc/passwd");
        set_reparse(&file("dedup"), 0x8000_0013, &[0; 16]);
        set_reparse(&file("app"), 0x8000_001B, &[0; 16]);
        set_reparse(&folder("cloud"), 0x9000_701A, &[0; 16]);
        fs::write(dir.join("here"), b"bytes that are here").unwrap();
        set_reparse(&dir.join("here"), 0x9000_101A, &[0; 16]);
    });
    let fs = open(&volume.image());
    for (name, target) in [("junction", "C:/Users"), ("link", "sub/file"), ("wsl", "/etc/passwd")] {
        let node = find(&*fs, name);
        let meta = fs.metadata(node).unwrap();
        assert_eq!((meta.kind, meta.size), (FileKind::Symlink, target.len() as u64));
        assert_eq!(fs.read_link(node).unwrap(), target.as_bytes());
    }
    for (name, kind) in [("dedup", FileKind::File), ("app", FileKind::Other)] {
        assert_eq!(fs.metadata(find(&*fs, name)).unwrap().kind, kind);
        assert_eq!(fs.open(find(&*fs, name), None).err().unwrap().kind(), ErrorKind::Unsupported);
    }
    assert_eq!(fs.metadata(find(&*fs, "cloud")).unwrap().kind, FileKind::Directory);
    assert_eq!(content(&*fs, find(&*fs, "here"), None), b"bytes that are here");
}

/// What ntfs-3g makes in the manner of WSL: reparse points and extended attributes.
#[test]
fn ntfs_wsl() {
    if !ready("ntfs_wsl", &["mknod", "mkfifo", "setfattr"]) {
        return;
    }
    let volume = Volume::new("32M", "");
    volume.mounted("special_files=wsl", |dir| {
        run(
            "mkfifo \"$F/pipe\"; mknod \"$F/null\" c 1 3; mknod \"$F/disk\" b 8 17; ln -s a/b \"$F/link\"",
            dir,
        );
        let entry = |name: &str, value: u32| {
            let mut bytes = 20_u32.to_le_bytes().to_vec();
            bytes.extend([0, name.len() as u8, 4, 0]);
            bytes.extend(name.as_bytes());
            bytes.push(0);
            bytes.extend(value.to_le_bytes());
            bytes.resize(bytes.len().next_multiple_of(4), 0);
            bytes
        };
        let all = [entry("$LXUID", 1000), entry("$LXGID", 100), entry("$LXMOD", 0o100_640)].concat();
        fs::write(dir.join("owned"), b"x").unwrap();
        run(&format!("setfattr -n system.ntfs_ea -v {} \"$F\"", hex(&all)), &dir.join("owned"));
    });
    let fs = open(&volume.image());
    let kind = |name| fs.metadata(find(&*fs, name)).unwrap().kind;
    assert_eq!(kind("pipe"), FileKind::Fifo);
    assert_eq!((kind("null"), kind("disk")), (FileKind::CharDevice(1, 3), FileKind::BlockDevice(8, 17)));
    assert_eq!(fs.read_link(find(&*fs, "link")).unwrap(), b"a/b");
    let owned = fs.metadata(find(&*fs, "owned")).unwrap();
    assert_eq!((owned.uid, owned.gid, owned.mode), (Some(1000), Some(100), Some(0o640)));
}

#[test]
fn ntfs_not_closed() {
    if !ready("ntfs_not_closed", &["ntfsfix", "ntfscp"]) {
        return;
    }
    let volume = Volume::new("32M", "");
    run("ntfsfix \"$F\"", &volume.image());
    assert_eq!(open(&volume.image()).info().condition, Condition::Stale);
    let volume = Volume::new("32M", "");
    run(
        "(printf hibr; head -c 8188 /dev/zero) > \"$F.s\"; ntfscp \"$F\" \"$F.s\" hiberfil.sys",
        &volume.image(),
    );
    let fs = open(&volume.image());
    assert_eq!(fs.info().condition, Condition::Stale);
    assert!(fs.info().missing.iter().any(|words| words.contains("hibernated")));
}

/// The first record of the table is lost; its copy leads to everything.
#[test]
fn ntfs_mirror() {
    if !ready("ntfs_mirror", &[]) {
        return;
    }
    let volume = Volume::new("32M", "-c 4096");
    volume.mounted("", |dir| tree::grow(dir, 20));
    let truth = tree::of_filesystem(&*open(&volume.image()), NONE);
    // Behind its magic, which is all that recognition looks at.
    run("printf XXXX | dd of=\"$F\" bs=1 seek=$((4 * 4096 + 510)) conv=notrunc 2>&1", &volume.image());
    let fs = open(&volume.image());
    tree::assert_same(&truth, &tree::of_filesystem(&*fs, NONE));
    assert!(fs.info().missing.iter().any(|words| words.contains("copy")));
}

/// What is encrypted is refused, and so is a stream of it; the rest is read.
#[test]
fn ntfs_encrypted() {
    if !ready("ntfs_encrypted", &[]) {
        return;
    }
    let volume = Volume::new("32M", "");
    volume.mounted("", |dir| {
        fs::write(dir.join("secret"), testkit::pattern(5000)).unwrap();
        fs::write(dir.join("open"), b"open").unwrap();
    });
    let node = find(&*open(&volume.image()), "secret");
    // The flag in the attribute's header, which the driver cannot set without making it so.
    let mut image = fs::read(volume.image()).unwrap();
    let record = 4 * 4096 + 1024 * usize::try_from(node.inode).unwrap();
    let mut at = record + 56;
    while image[at] != 0x80 {
        at += usize::from(image[at + 4]);
    }
    image[at + 13] |= 0x40;
    fs::write(volume.image(), &image).unwrap();
    let fs = open(&volume.image());
    let error = fs.open(node, None).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.to_string().contains("EFS"));
    assert_eq!(fs.metadata(node).unwrap().size, 5000);
    assert_eq!(content(&*fs, find(&*fs, "open"), None), b"open");
}
