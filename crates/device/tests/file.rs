//! Image files: every offset and length, holes, locks, and files that shrink.
#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

use block::{Buf, ErrorKind, ExtentKind, ReadAt};
use device::FileSource;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use testkit::pattern;

/// On the filesystem of the build, where O_DIRECT works, and in memory, where it did not before Linux 6.6.
fn folders() -> Vec<tempfile::TempDir> {
    let places = [env!("CARGO_TARGET_TMPDIR"), "/dev/shm"].map(PathBuf::from);
    places.iter().filter(|dir| dir.is_dir()).map(|dir| tempfile::tempdir_in(dir).unwrap()).collect()
}

#[test]
fn any_piece_of_a_file_is_what_was_written() {
    let bytes = pattern((3 << 20) + 1234);
    for folder in folders() {
        let path = folder.path().join("disk.img");
        std::fs::write(&path, &bytes).unwrap();
        let source = FileSource::open(&path).unwrap();
        assert_eq!(source.size(), bytes.len() as u64);
        let pieces = [(0, bytes.len()), (4096, 8192), (4096, 5000), (1, 4096), (63 * 512, 1 << 20), (7, 3)];
        for skip in [0, 1, 512] {
            for (offset, len) in pieces.into_iter().chain([(bytes.len() - 5, 5), (bytes.len(), 0)]) {
                let mut buf = Buf::with_capacity(skip + len);
                let memory = &mut buf.grow(skip + len).unwrap()[skip..];
                source.read_at(offset as u64, memory).unwrap();
                assert!(memory == &bytes[offset..offset + len], "{offset} {len} {skip}");
            }
        }
        let beyond = source.read_at(bytes.len() as u64 - 1, &mut [0; 2]).unwrap_err();
        assert_eq!(beyond.kind(), ErrorKind::OutOfRange);
    }
}

#[test]
fn holes_are_zero_and_the_rest_is_data() {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let path = folder.path().join("disk.img");
    let file = File::create(&path).unwrap();
    file.set_len(8 << 20).unwrap();
    file.write_all_at(&[1; 1 << 20], 2 << 20).unwrap();
    file.sync_all().unwrap();
    let source = FileSource::open(&path).unwrap();
    let mut at = 0;
    let mut extents = vec![];
    while at < source.size() {
        let extent = source.extent_at(at).unwrap();
        assert_eq!(extent.range.start(), at);
        at = extent.range.end();
        extents.push((extent.kind, extent.range.len() >> 20));
    }
    use ExtentKind::{Data, Zero};
    assert_eq!(extents, [(Zero, 2), (Data, 1), (Zero, 5)]);
    assert_eq!(source.extent_at((2 << 20) + 100).unwrap().range.end(), 3 << 20);
    assert_eq!(source.extent_at(8 << 20).unwrap_err().kind(), ErrorKind::OutOfRange);

    file.set_len(4 << 20).unwrap();
    assert_eq!(source.extent_at(5 << 20).unwrap_err().kind(), ErrorKind::Gone, "a lost end is no hole");
    assert_eq!(source.extent_at(3 << 20).unwrap_err().kind(), ErrorKind::Gone);
}

#[test]
fn a_file_that_shrinks_is_gone() {
    for folder in folders() {
        let path = folder.path().join("disk.img");
        std::fs::write(&path, pattern(2 << 20)).unwrap();
        let source = FileSource::open(&path).unwrap();
        File::options().write(true).open(&path).unwrap().set_len((1 << 20) + 100).unwrap();
        let mut buf = Buf::with_capacity(2 << 20);
        let error = source.read_at(0, buf.grow(2 << 20).unwrap()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Gone, "{error}");
        assert!(error.range().unwrap().start() <= (1 << 20) + 100);
        assert!(error.to_string().contains("was truncated while it was read"), "{error}");
    }
}

#[test]
fn a_file_that_another_writes_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("disk.img");
    let writer = File::create(&path).unwrap();
    writer.lock().unwrap();
    assert_eq!(FileSource::open(&path).err().unwrap().kind(), ErrorKind::Refused);
    writer.unlock().unwrap();
    let (one, two) = (FileSource::open(&path).unwrap(), FileSource::open(&path).unwrap());
    assert!(writer.try_lock().is_err(), "readers hold their lock");
    drop((one, two));
    writer.try_lock().unwrap();
}

#[test]
fn only_regular_files() {
    for (path, kind) in [
        ("/dev/null", ErrorKind::Usage),
        ("/", ErrorKind::Usage),
        ("/nonexistent/image", ErrorKind::NotFound),
    ] {
        assert_eq!(FileSource::open(path).err().unwrap().kind(), kind, "{path}");
    }
}
