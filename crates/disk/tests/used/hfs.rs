//! HFS+: no maker of this machine's distribution, no driver; fstool makes and reads it.

use super::map_of;
use super::poison::poisoned;
use disk::used::Exactness;
use fstool::block::FileBackend;
use fstool::fs::hfs_plus::{FormatOpts, HfsPlus};
use std::io::Read;
use std::path::Path;

/// Files in it.
const FILES: u32 = 120;

fn bytes(number: u32) -> Vec<u8> {
    testkit::pattern(number as usize * 1000 + 1)
}

fn make(image: &Path, journaled: bool) {
    let mut device = FileBackend::create(image, 64 << 20).unwrap();
    let mut options = FormatOpts::default();
    options.journaled = journaled;
    let mut volume = HfsPlus::format(&mut device, &options).unwrap();
    for number in 0..FILES {
        let bytes = bytes(number);
        let length = bytes.len() as u64;
        volume
            .create_file(&mut device, &format!("/f{number}"), &mut &bytes[..], length, 0o644, 0, 0, 1)
            .unwrap();
    }
    for number in (0..FILES).step_by(3) {
        volume.remove(&mut device, &format!("/f{number}")).unwrap();
    }
    volume.flush(&mut device).unwrap();
}

fn assert_files(image: &Path) {
    let mut device = FileBackend::open(image).unwrap();
    let volume = HfsPlus::open(&mut device).unwrap();
    for number in (0..FILES).filter(|number| number % 3 != 0) {
        let mut read = vec![];
        let mut file = volume.open_file_reader(&mut device, &format!("/f{number}")).unwrap();
        file.read_to_end(&mut read).unwrap();
        assert!(read == bytes(number), "{number}");
    }
}

#[test]
fn free_space_of_hfsplus_may_be_poison() {
    for journaled in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        let image = folder.path().join("image");
        make(&image, journaled);
        let map = map_of(&image);
        assert_eq!(*map.exactness(), Exactness::Exact);
        assert!(map.free_bytes() > 32 << 20);
        assert_files(&image);
        assert_files(&poisoned(&image));
    }
}
