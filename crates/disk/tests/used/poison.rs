//! An image of nothing but what is in use, all else being poison: nobody must miss anything.

use super::made::{KINDS, Kind};
use super::map_of;
use disk::used::Exactness;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// A copy of an image whose free bytes are all 0xDEADBEEF.
pub(crate) fn poisoned(image: &Path) -> PathBuf {
    let map = map_of(image);
    let copy = image.with_extension("poisoned");
    testkit::tools::run(r#"cp --sparse=always "$F" "$F.poisoned""#, image);
    let file = std::fs::File::options().write(true).open(&copy).unwrap();
    let poison = [0xDE, 0xAD, 0xBE, 0xEF].repeat(1 << 18);
    for free in map.free(1) {
        for piece in free.pieces(poison.len() as u64) {
            file.write_all_at(&poison[..piece.len() as usize], piece.start()).unwrap();
        }
    }
    copy
}

fn survives(kind: &Kind) {
    let folder = tempfile::tempdir().unwrap();
    let image = kind.filled(folder.path());
    kind.fsck(&image);
    let map = map_of(&image);
    assert_eq!(*map.exactness(), Exactness::Exact, "{}", kind.name);
    assert!(map.free_bytes() > kind.size / 4, "{}: {} of {} free", kind.name, map.free_bytes(), kind.size);
    let copy = poisoned(&image);
    kind.fsck(&copy);
    assert_eq!(kind.list(&image), kind.list(&copy), "{}", kind.name);
    println!("{}: {} of {} bytes in use", kind.name, map.used_bytes(), kind.size);
}

/// All kinds whose name begins so.
fn all(test: &str, first: &str) {
    for kind in KINDS.iter().filter(|kind| kind.name.starts_with(first)) {
        if kind.can(test) {
            survives(kind);
        }
    }
}

#[test]
fn free_space_of_ext_may_be_poison() {
    all("free_space_of_ext_may_be_poison", "ext");
}

#[test]
fn free_space_of_xfs_may_be_poison() {
    all("free_space_of_xfs_may_be_poison", "XFS");
}

#[test]
fn free_space_of_btrfs_may_be_poison() {
    all("free_space_of_btrfs_may_be_poison", "btrfs");
}

#[test]
fn free_space_of_ntfs_may_be_poison() {
    all("free_space_of_ntfs_may_be_poison", "NTFS");
}

#[test]
fn free_space_of_fat_may_be_poison() {
    all("free_space_of_fat_may_be_poison", "FAT");
}

#[test]
fn free_space_of_exfat_may_be_poison() {
    all("free_space_of_exfat_may_be_poison", "exFAT");
}

#[test]
fn free_space_of_f2fs_may_be_poison() {
    let test = "free_space_of_f2fs_may_be_poison";
    if !testkit::tools::has(test, &["mkfs.f2fs", "sload.f2fs", "fsck.f2fs", "dump.f2fs"]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let image = folder.path().join("image");
    std::fs::File::create(&image).unwrap().set_len(128 << 20).unwrap();
    let tree = folder.path().join("tree");
    std::fs::create_dir(&tree).unwrap();
    testkit::tools::run(
        r#"cd "$F"; for n in $(seq 1 80); do head -c $((n * 3000)) /dev/urandom > f$n; done"#,
        &tree,
    );
    testkit::tools::run(r#"mkfs.f2fs -q "$F" && sload.f2fs -f "${F%/*}/tree" "$F""#, &image);
    let map = map_of(&image);
    assert_eq!(*map.exactness(), Exactness::Exact);
    assert!(map.free_bytes() > 64 << 20);
    let copy = poisoned(&image);
    let check = |image: &Path| {
        testkit::tools::run(r#"fsck.f2fs --dry-run -f "$F" | grep -v -e Info: -e Done:"#, image)
    };
    assert_eq!(check(&image), check(&copy));
}
