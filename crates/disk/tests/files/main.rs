//! Readers of filesystems against trees that are known: made by the real makers and, where this kernel has
//! them, the real drivers.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]
#![allow(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::cast_possible_truncation)]
#![allow(clippy::disallowed_methods, dead_code, unreachable_pub)]

mod apfs;
mod btrfs;
mod damage;
mod exfat;
mod ext;
mod fat;
mod hfsplus;
mod hostile;
mod iso;
mod made;
mod mounted;
mod ntfs;
mod squashfs;
mod stress;
mod tree;
mod udf;
mod xfs;

use block::Source;
use disk::fs::{FileSystem, NodeId};
use std::path::Path;
use std::sync::Arc;

/// Opens the filesystem in an image file.
fn open(image: &Path) -> Arc<dyn FileSystem> {
    disk::fs::open(&source(image)).unwrap()
}

/// An image file.
fn source(image: &Path) -> Source {
    let size = std::fs::metadata(image).unwrap().len();
    Arc::new(testkit::ImageFile::open(image, size).unwrap())
}

/// A file by its path.
fn find(fs: &dyn FileSystem, path: &str) -> NodeId {
    let step =
        |dir, name: &str| fs.lookup(dir, name.as_bytes()).unwrap().unwrap_or_else(|| panic!("no {name}"));
    path.split('/').fold(fs.root(), step)
}
