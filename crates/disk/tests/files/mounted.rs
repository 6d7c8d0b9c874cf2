//! What the kernel shows of an image, where it knows the filesystem.

use std::path::{Path, PathBuf};

/// A folder with an image mounted on it, until it is dropped.
pub(crate) struct Mounted(PathBuf);

impl Mounted {
    /// Read-only. `None` where the kernel does not mount it, or only root may.
    pub(crate) fn new(image: &Path, type_name: &str, on: &Path) -> Option<Self> {
        std::fs::create_dir_all(on).unwrap();
        let line = format!("mount -t {type_name} -o loop,ro \"$F\" '{}'", on.display());
        match testkit::tools::shell(&line, image) {
            Ok(_) => Some(Self(on.to_owned())),
            Err(error) => {
                println!("SKIPPED: beside the kernel: needs mount -t {type_name}: {}", error.trim());
                None
            }
        }
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = testkit::tools::shell("umount \"$F\"", &self.0);
    }
}
