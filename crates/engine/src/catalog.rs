//! The backups of a folder.

use block::{Error, Folder, Result};
use image::{Manifest, Store};
use std::path::PathBuf;
use std::sync::Arc;

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
pub fn backups(dir: &Arc<dyn Folder>) -> Result<Vec<Listed>> {
    let failed = |error| Error::io(error, format!("reading {}", dir.path().display()));
    let entries = dir.list().map_err(failed)?;
    if let Some(backup) = listed(dir) {
        return Ok(vec![backup]);
    }
    let folders = entries.iter().filter(|entry| entry.size.is_none());
    let mut found: Vec<Listed> = folders.filter_map(|entry| listed(&dir.folder(&entry.name).ok()?)).collect();
    let started = |listed: &Listed| listed.manifest.as_ref().map(|manifest| manifest.started.clone());
    found.sort_by_key(|listed| (started(listed), listed.folder.clone()));
    Ok(found)
}

/// `None`: there is no backup in this folder.
fn listed(folder: &Arc<dyn Folder>) -> Option<Listed> {
    let entries = folder.list().ok()?;
    entries.iter().find(|entry| entry.name == image::MANIFEST && entry.size.is_some())?;
    // Sparse files can claim anything.
    let stored = entries.iter().filter_map(|entry| entry.size).fold(0, u64::saturating_add);
    let store = Store::of(Arc::clone(folder));
    let (state, manifest) = match store.peek() {
        Err(error) => (State::Damaged(error.to_string()), None),
        Ok(manifest) if manifest.finished.is_none() || store.is_part() => (State::Unfinished, Some(manifest)),
        Ok(manifest) => (State::Whole, Some(manifest)),
    };
    Some(Listed { folder: folder.path().to_owned(), state, manifest, stored })
}
