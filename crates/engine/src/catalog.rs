//! The backups of a folder.

use block::{Error, Result};
use image::Manifest;
use std::path::{Path, PathBuf};

/// How far a backup is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// Finished. Its files were not looked at: `verify` does that.
    Whole,
    /// Being made, or interrupted.
    Unfinished,
    /// Its manifest cannot be used; why.
    Damaged(String),
}

/// A backup that was found.
#[derive(Clone, Debug)]
pub struct Listed {
    /// Where.
    pub folder: PathBuf,
    /// How far.
    pub state: State,
    /// What it says of itself; `None` if damaged.
    pub manifest: Option<Manifest>,
    /// Bytes of all its files.
    pub stored: u64,
}

/// The backups directly in `dir`, oldest first; or `dir` itself if it is one.
pub fn backups(dir: &Path) -> Result<Vec<Listed>> {
    if dir.join(image::MANIFEST).is_file() {
        return Ok(vec![listed(dir.to_owned())]);
    }
    let failed = |error| Error::io(error, format!("reading {}", dir.display()));
    let mut found = vec![];
    for entry in std::fs::read_dir(dir).map_err(failed)? {
        let folder = entry.map_err(failed)?.path();
        if folder.join(image::MANIFEST).is_file() {
            found.push(listed(folder));
        }
    }
    let started = |listed: &Listed| listed.manifest.as_ref().map(|manifest| manifest.started.clone());
    found.sort_by_key(|listed| (started(listed), listed.folder.clone()));
    Ok(found)
}

fn listed(folder: PathBuf) -> Listed {
    let stored = std::fs::read_dir(&folder)
        .map(|entries| {
            let sizes = entries.flatten().filter_map(|entry| entry.metadata().ok()).map(|data| data.len());
            sizes.fold(0, u64::saturating_add) // sparse files can claim anything
        })
        .unwrap_or(0);
    let (state, manifest) = match image::peek(&folder) {
        Err(error) => (State::Damaged(error.to_string()), None),
        Ok(manifest) if manifest.finished.is_none() || image::is_part(&folder) => {
            (State::Unfinished, Some(manifest))
        }
        Ok(manifest) => (State::Whole, Some(manifest)),
    };
    Listed { folder, state, manifest, stored }
}
