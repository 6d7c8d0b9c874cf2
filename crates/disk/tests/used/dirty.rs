//! Filesystems that nobody closed: their backing file is copied while they are mounted, right after files were
//! written and synced one by one.

use super::made::{Kind, Mounted};
use super::map_of;
use super::poison::poisoned;
use disk::used::Exactness;
use std::path::{Path, PathBuf};
use testkit::tools::run;

/// Files that are durable by their own fsync, where others were before.
const CHANGE: &str = r#"cd "$F"; for n in $(seq 2 4 120); do rm many/file$n; done; rm large
for n in $(seq 1 60); do dd if=/dev/urandom of=new$n bs=$((n * 400)) count=1 conv=fsync status=none; done"#;

/// A copy of a filesystem as it is in the middle of things.
fn unclosed(kind: &Kind, folder: &Path) -> PathBuf {
    let image = kind.filled(folder);
    let mounted = Mounted::new(kind.driver, &image, "rw");
    run(CHANGE, mounted.path());
    run(r#"cp --sparse=always "$F" "${F%/*}/unclosed""#, &image);
    folder.join("unclosed")
}

/// Mounts it, so that its driver replays what waits, and lists it.
fn replayed(kind: &Kind, image: &Path) -> String {
    drop(Mounted::new(kind.driver, image, "rw"));
    kind.fsck(image);
    kind.list(image)
}

fn survives(test: &str, name: &str, exactness: impl Fn(&Exactness) -> bool) {
    let kind = Kind::find(name);
    if !kind.can(test) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let image = unclosed(&kind, folder.path());
    let map = map_of(&image);
    assert!(exactness(map.exactness()), "{name}: {:?}", map.exactness());
    assert!(map.free_bytes() > kind.size / 4, "{name}");
    let copy = poisoned(&image);
    let shown = replayed(&kind, &copy);
    assert_eq!(replayed(&kind, &image), shown, "{name}");
    let new = shown.lines().filter(|line| line.contains("./new")).count();
    assert_eq!(new, 60, "{name}");
}

#[test]
fn what_waits_in_a_journal_of_ext_is_in_use() {
    let conservative = |exactness: &Exactness| matches!(exactness, Exactness::Conservative(_));
    for name in ["ext4", "ext3", "ext4 without sums, 1 KiB", "ext4 bigalloc"] {
        survives("what_waits_in_a_journal_of_ext_is_in_use", name, conservative);
    }
}

#[test]
fn what_waits_in_a_log_of_btrfs_is_in_use() {
    for name in ["btrfs", "btrfs, xxhash"] {
        survives("what_waits_in_a_log_of_btrfs_is_in_use", name, |exactness| *exactness == Exactness::Exact);
    }
}

#[test]
fn unclosed_ones_that_nobody_replays_are_whole() {
    for name in ["XFS", "ext2, 1 KiB"] {
        let kind = Kind::find(name);
        if !kind.can("unclosed_ones_that_nobody_replays_are_whole") {
            continue;
        }
        let folder = tempfile::tempdir().unwrap();
        let map = map_of(&unclosed(&kind, folder.path()));
        assert!(matches!(map.exactness(), Exactness::Unknown(_)), "{name}: {:?}", map.exactness());
        assert_eq!(map.free_bytes(), 0, "{name}");
    }
}

#[test]
fn unclosed_ntfs_says_nothing_and_misses_nothing() {
    // ntfs-3g marks nothing while it is mounted.
    survives("unclosed_ntfs_says_nothing_and_misses_nothing", "NTFS", |_| true);
}
