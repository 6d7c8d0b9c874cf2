use super::answers::Answers;
use super::attr::attributes;
use super::tree::{IMAGES, TOP};
use super::*;
use block::{ByteRange, ErrorKind, Source};
use disk::fs::{
    Case, Condition, DirEntry, Each, FileKind, FileSystem, Info, Metadata, NodeId, Stream, Time, Xattr,
};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use testkit::Memory;

/// A root with a file `a` that has two names, one with a number that does not fit, and a link.
struct Fake(Info);

const ROOT: NodeId = NodeId::inode(5);
const A: NodeId = NodeId::inode(7);
const FAR: NodeId = NodeId { inode: 7, tree: 3 };
const HUGE: NodeId = NodeId::inode(u64::MAX);
/// Folders that are damaged: behind their first name, and wholly.
const DAMAGED: NodeId = NodeId::inode(9);
const LOST: NodeId = NodeId::inode(11);

impl FileSystem for Fake {
    fn info(&self) -> &Info {
        &self.0
    }

    fn root(&self) -> NodeId {
        ROOT
    }

    fn read_dir(&self, dir: NodeId, each: Each<'_>) -> Result<()> {
        if dir == DAMAGED {
            each(DirEntry { name: b"a".to_vec(), node: A, kind: None })?;
        }
        if dir != ROOT {
            return Err(Error::new(ErrorKind::Corrupt, "made so"));
        }
        for (name, node) in [("a", A), ("b", A), ("far", FAR), ("huge", HUGE)] {
            if !each(DirEntry { name: name.into(), node, kind: None })? {
                break;
            }
        }
        Ok(())
    }

    fn metadata(&self, node: NodeId) -> Result<Metadata> {
        let time = Some(Time { seconds: 1_000_000, nanos: 5 });
        let file = Metadata { modified: time, links: 2, ..Metadata::new(FileKind::File, 1000) };
        match node {
            ROOT => Ok(Metadata { mode: Some(0o1777), ..Metadata::new(FileKind::Directory, 1024) }),
            A => Ok(Metadata { uid: Some(1000), gid: Some(100), mode: Some(0o640), ..file }),
            FAR => Ok(file),
            _ => Err(Error::new(ErrorKind::Corrupt, "made so")),
        }
    }

    fn open(&self, _: NodeId, stream: Option<&[u8]>) -> Result<Source> {
        let len = if stream.is_some_and(|name| name == b"long") { 70_000 } else { 1000 };
        Ok(Arc::new(Memory::new(vec![7; len])))
    }

    fn read_link(&self, _: NodeId) -> Result<Vec<u8>> {
        Ok(b"../elsewhere".to_vec())
    }

    fn streams(&self, _: NodeId) -> Result<Vec<Stream>> {
        let named = |name: &str, size| Stream { name: name.into(), size };
        Ok(vec![named("short", 1000), named("long", 70_000)])
    }

    fn xattrs(&self, _: NodeId) -> Result<Vec<Xattr>> {
        Ok(vec![Xattr { name: b"user.mood".to_vec(), value: b"good".to_vec() }])
    }
}

fn fake() -> Arc<dyn FileSystem> {
    let (case, condition) = (Case::Sensitive, Condition::Clean);
    Arc::new(Fake(Info { type_name: "fake", engine: "fake", case, condition, missing: vec![] }))
}

fn tree() -> Tree {
    let disk: Source = Arc::new(Memory::new(vec![1; 4096]));
    let images = vec![Image { name: "disk.img".into(), source: disk }];
    let volumes = vec![Volume::new("5".into(), || Ok(fake()), |_| {})];
    Tree::new(volumes, images, 4096, Owner { uid: 12, gid: 34 })
}

#[test]
fn every_name_leads_to_a_number_that_leads_back() {
    let tree = tree();
    let volume = tree.lookup(TOP, b"5").unwrap();
    let [a, b, far, huge] =
        ["a", "b", "far", "huge"].map(|name| tree.lookup(volume, name.as_bytes()).unwrap());
    assert_eq!(a, b);
    assert_eq!(a, tree.number(volume, A));
    for (number, node) in [(volume, ROOT), (a, A), (far, FAR), (huge, HUGE)] {
        let tree::Node::File(_, found) = tree.node(number).unwrap() else { panic!("no file: {number}") };
        assert_eq!(found, node);
    }
    let all = [TOP, IMAGES, tree.lookup(IMAGES, b"disk.img").unwrap(), volume, a, far, huge];
    assert_eq!(std::collections::BTreeSet::from(all).len(), all.len());
    for (dir, name) in [(TOP, "6"), (IMAGES, "5"), (volume, "c"), (TOP, "..")] {
        assert_eq!(tree.lookup(dir, name.as_bytes()).unwrap_err().kind(), ErrorKind::NotFound);
    }
    for number in [0, 3, 17, 2 << 48, volume | 1 << 47 | 99] {
        assert!(tree.node(number).is_err(), "{number}");
    }
}

#[test]
fn attributes_are_those_of_the_filesystem_or_the_users() {
    let tree = tree();
    let volume = tree.lookup(TOP, b"5").unwrap();
    let of = |name: &str| attributes(&tree, tree.lookup(volume, name.as_bytes()).unwrap());
    let a = of("a").unwrap();
    assert_eq!((a.size, a.uid, a.gid, a.perm, a.nlink), (1000, 1000, 100, 0o640, 2));
    assert_eq!(a.mtime, std::time::UNIX_EPOCH + std::time::Duration::new(1_000_000, 5));
    let far = of("far").unwrap();
    assert_eq!((far.uid, far.gid, far.perm), (12, 34, 0o644));
    assert!(of("huge").is_err());
    let image = attributes(&tree, tree.lookup(IMAGES, b"disk.img").unwrap()).unwrap();
    assert_eq!((image.size, image.uid, image.perm), (4096, 12, 0o400));
}

#[test]
fn what_cannot_be_opened_is_an_empty_folder_and_said_once() {
    let said = Arc::new(AtomicUsize::new(0));
    let told = Arc::clone(&said);
    let broken = || Err(Error::new(ErrorKind::Corrupt, "made so"));
    let volume = Volume::new("1".into(), broken, move |_| {
        told.fetch_add(1, SeqCst);
    });
    let tree = Tree::new(vec![volume], vec![], 0, Owner { uid: 0, gid: 0 });
    assert_eq!(said.load(SeqCst), 0);
    let number = tree.lookup(TOP, b"1").unwrap();
    for _ in 0..3 {
        assert!(matches!(tree.node(number), Ok(tree::Node::Empty)));
        assert!(tree.lookup(number, b"a").is_err());
    }
    assert_eq!(said.load(SeqCst), 1);
}

#[test]
fn a_damaged_folder_shows_what_it_has_and_then_fails() {
    let tree = tree();
    let volume = tree.lookup(TOP, b"5").unwrap();
    let [damaged, lost] = [DAMAGED, LOST].map(|node| tree.number(volume, node));
    let answers = Answers::new(tree);
    assert!(answers.folder(lost).is_err());
    let handle = answers.hold(answers.folder(damaged).unwrap());
    let mut names = vec![];
    answers
        .listed(handle, 0, &mut |name, behind| {
            names.push((name.name.clone(), behind));
            false
        })
        .unwrap();
    assert_eq!(names, [(b".".to_vec(), 1), (b"..".to_vec(), 2), (b"a".to_vec(), 3)]);
    let mut more = |_: &_, _| panic!("there is no other name");
    assert_eq!(answers.listed(handle, 3, &mut more).unwrap_err().kind(), ErrorKind::Corrupt);
}

#[test]
fn streams_are_attributes_as_far_as_linux_takes_them() {
    let tree = tree();
    let a = tree.lookup(tree.lookup(TOP, b"5").unwrap(), b"a").unwrap();
    let answers = Answers::new(tree);
    let names = answers.xattr_names(a).unwrap();
    assert_eq!(names, b"user.mood\0user.stream.short\0user.stream.long\0");
    let value = |name: &str| answers.xattr(a, name.as_bytes()).unwrap();
    assert_eq!(value("user.mood"), Some(Ok(b"good".to_vec())));
    assert_eq!(value("user.stream.short"), Some(Ok(vec![7; 1000])));
    assert_eq!(value("user.stream.long"), Some(Err(fuser::Errno::E2BIG)));
    assert_eq!(value("user.stream.none"), None);
    assert_eq!(answers.xattr(IMAGES, b"user.mood").unwrap(), None);
}

#[test]
fn a_read_is_whole_or_an_error_and_ends_with_the_file() {
    let bad = ByteRange::span(2048, 2560);
    let disk = Memory::new(vec![9; 4000]).with(|disk| disk.bad = vec![bad]);
    assert_eq!(Answers::bytes(&disk, 3990, 100).unwrap(), [9; 10]);
    assert!(Answers::bytes(&disk, 5000, 100).unwrap().is_empty());
    assert!(Answers::bytes(&disk, 0, 4000).is_err());
    assert_eq!(Answers::bytes(&disk, 2560, 100).unwrap(), [9; 100]);
}

#[test]
fn data_and_holes_are_found() {
    let disk = Memory::new(vec![9; 4000]).with(|disk| disk.holes = vec![ByteRange::span(1000, 3000)]);
    let seek = |offset, data| Answers::seek(&disk, offset, data).unwrap();
    assert_eq!([seek(0, true), seek(1500, true), seek(3000, true)], [Some(0), Some(3000), Some(3000)]);
    assert_eq!([seek(0, false), seek(1500, false), seek(3000, false)], [Some(1000), Some(1500), Some(4000)]);
    assert_eq!([seek(4000, true), seek(4000, false)], [None, None]);
}
