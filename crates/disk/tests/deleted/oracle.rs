//! What is true, and what The Sleuth Kit finds.

use super::made::Made;
use block::ReadAt;
use disk::deleted::DeletedFile;
use std::fs;
use std::path::PathBuf;

/// The digest of a file; `None` if it cannot be read.
pub(crate) fn digest(file: &dyn ReadAt) -> Option<[u8; 32]> {
    // Nothing that was written is larger; what is was made up.
    let len = usize::try_from(file.size()).ok().filter(|len| *len <= 64 << 20)?;
    let mut bytes = vec![0; len];
    file.read_at(0, &mut bytes).ok()?;
    Some(*blake3::hash(&bytes).as_bytes())
}

/// Is it the file of this path, as far as its name is known?
pub(crate) fn is_named(file: &DeletedFile, path: &str) -> bool {
    let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
    let same_name = file.name.as_deref().is_none_or(|known| known == name.as_bytes());
    let same_folder = file.folder.as_deref().is_none_or(|known| known == folder.as_bytes());
    same_name && same_folder
}

/// How many of the victims `tsk_recover` brings back, whatever name it gives them.
pub(crate) fn sleuthkit(made: &Made) -> Option<usize> {
    let there = testkit::tools::shell("command -v tsk_recover", &made.image).is_ok();
    if !there {
        return None;
    }
    let out = made.folder.path().join("recovered");
    let _said = testkit::tools::shell("tsk_recover $F \"$(dirname $F)/recovered\"", &made.image);
    let (mut left, mut digests): (Vec<PathBuf>, Vec<[u8; 32]>) = (vec![out], vec![]);
    while let Some(path) = left.pop() {
        if path.is_dir() {
            left.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        } else if let Ok(bytes) = fs::read(&path) {
            digests.push(*blake3::hash(&bytes).as_bytes());
        }
    }
    Some(made.victims.values().filter(|victim| digests.contains(victim)).count())
}
