//! A backup's folder: made, filled, published, and what it refuses.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use block::ErrorKind;
use image::{LocalFiles, Store, is_part, random_id};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;

fn folder() -> (tempfile::TempDir, Store) {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::create(&LocalFiles::default(), dir.path(), "sda").unwrap();
    (dir, store)
}

fn kind<T>(result: block::Result<T>) -> ErrorKind {
    result.map(drop).expect_err("refused").kind()
}

#[test]
fn a_new_folder_is_private_and_becomes_whole_by_its_name() {
    let dir = tempfile::tempdir().unwrap();
    let parent = dir.path().join("missing");
    let store = Store::create(&LocalFiles::default(), &parent, "sda").unwrap();
    assert!(store.is_part() && store.path().ends_with("missing/sda.part"));
    assert_eq!(store.path().metadata().unwrap().permissions().mode() & 0o777, 0o700);
    store.write_small("a", b"content").unwrap();
    let file = store.path().join("a").metadata().unwrap();
    assert_eq!((file.permissions().mode() & 0o777, file.len()), (0o600, 7));
    let path = store.publish().unwrap();
    assert_eq!(path, parent.canonicalize().unwrap().join("sda"));
    assert!(!is_part(&path) && !parent.join("sda.part").exists());
    assert_eq!(Store::open(&path).unwrap().read_small("a", 7).unwrap(), b"content");
}

#[test]
fn only_the_last_of_missing_folders_is_made() {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(
        kind(Store::create(&LocalFiles::default(), &dir.path().join("a/b"), "sda")),
        ErrorKind::NotFound
    );
}

#[test]
fn a_taken_name_gets_a_number() {
    let dir = tempfile::tempdir().unwrap();
    let name = |store: &Store| store.path().file_name().unwrap().to_str().unwrap().to_owned();
    let first = Store::create(&LocalFiles::default(), dir.path(), "sda").unwrap();
    let second = Store::create(&LocalFiles::default(), dir.path(), "sda").unwrap();
    assert_eq!([name(&first), name(&second)], ["sda.part", "sda-2.part"]);
    second.publish().unwrap();
    symlink("nowhere", dir.path().join("sda-3")).unwrap();
    assert_eq!(name(&Store::create(&LocalFiles::default(), dir.path(), "sda").unwrap()), "sda-4.part");
    assert_eq!(kind(Store::create(&LocalFiles::default(), dir.path(), "../sda")), ErrorKind::Usage);
}

#[test]
fn publishing_never_goes_over_something() {
    let (dir, store) = folder();
    std::fs::create_dir(dir.path().join("sda")).unwrap();
    assert_eq!(kind(store.publish()), ErrorKind::Refused);
    assert!(dir.path().join("sda.part").is_dir());
}

#[test]
fn the_folder_is_locked_while_it_is_made() {
    let (_dir, store) = folder();
    let other = std::fs::File::open(store.path()).unwrap();
    assert!(other.try_lock().is_err());
    drop(store);
    other.try_lock().unwrap();
}

#[test]
fn files_are_given_to_the_owner() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::create(&LocalFiles { owner: Some((12345, 23456)) }, dir.path(), "sda").unwrap();
    if dir.path().metadata().unwrap().uid() != 0 {
        println!("SKIPPED: files_are_given_to_the_owner: needs root");
        return;
    }
    store.write_small("a", b"x").unwrap();
    for path in [store.path().to_owned(), store.path().join("a")] {
        let found = path.metadata().unwrap();
        assert_eq!((found.uid(), found.gid()), (12345, 23456), "{}", path.display());
    }
}

#[test]
fn a_file_is_made_once_and_replaced_whole() {
    let (_dir, store) = folder();
    store.write_small("a", b"old and long").unwrap();
    assert!(store.write_small("a", b"x").is_err());
    assert!(store.append("a", 4096).is_err());
    store.write_small("a.new", b"left over").unwrap();
    store.replace_small("a", b"new").unwrap();
    store.replace_small("b", b"").unwrap();
    assert_eq!(store.names().unwrap(), [("a".to_owned(), 3), ("b".to_owned(), 0)]);
    assert_eq!(store.read_small("a", 3).unwrap(), b"new");
    assert_eq!(kind(store.read_small("a", 2)), ErrorKind::Corrupt);
}

#[test]
fn names_are_names_of_the_format() {
    let (_dir, store) = folder();
    for name in ["../a", ".a", "", "a/b"] {
        assert_eq!(kind(store.append(name, 1)), ErrorKind::Corrupt);
        assert_eq!(kind(store.open_read(name, false)), ErrorKind::Corrupt);
    }
    assert_eq!(kind(store.read_small("missing", 1)), ErrorKind::NotFound);
}

/// Each is refused by name, in a listing and when it is opened, and a FIFO stops nobody.
#[test]
fn only_regular_files() {
    let irregular: [fn(&Path); 4] = [
        |path| drop(std::os::unix::net::UnixListener::bind(path).unwrap()),
        |path| symlink("/etc/passwd", path).unwrap(),
        |path| std::fs::create_dir(path).unwrap(),
        |path| assert!(std::process::Command::new("mkfifo").arg(path).status().unwrap().success()),
    ];
    for make in irregular {
        let (_dir, store) = folder();
        make(&store.path().join("odd"));
        assert_eq!(kind(store.open_read("odd", true)), ErrorKind::Corrupt);
        let error = store.names().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt);
        assert!(error.to_string().contains("odd"), "{error}");
    }
}

#[test]
fn a_link_to_an_unfinished_folder_is_unfinished() {
    let (dir, store) = folder();
    symlink(store.path(), dir.path().join("whole")).unwrap();
    assert!(Store::open(&dir.path().join("whole")).unwrap().is_part());
}

#[test]
fn a_manifest_is_parsed_or_refused_in_any_folder() {
    let (_dir, store) = folder();
    assert_eq!(kind(store.peek()), ErrorKind::NotFound);
    store.write_small("manifest.json", b"{}").unwrap();
    let error = store.peek().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert!(error.to_string().contains("sda.part"), "{error}");
}

#[test]
fn ids_differ() {
    assert_ne!(random_id().unwrap(), random_id().unwrap());
}
