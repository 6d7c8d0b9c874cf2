//! What the verbs have in common that go into a filesystem.

use super::Tools;
use crate::ui::say;
use block::{Error, ErrorKind, Result, SectorSize};
use disk::fs::{Condition, FileSystem};
use engine::OpenOptions;
use engine::browse::{Locator, Volume, Volumes, resolve_through};
use std::ffi::OsStr;
use std::path::Path;
use std::sync::Arc;

/// Disk images inside each other.
const MAX_IMAGES: usize = 8;

/// A filesystem of a source.
pub(super) struct Opened {
    pub(super) volume: Volume,
    pub(super) fs: Arc<dyn FileSystem>,
}

/// Where a locator leads, through disk images that lie in filesystems.
pub(super) struct Reached {
    /// Of the innermost disk.
    pub(super) volumes: Arc<Volumes>,
    /// On that disk; without a partition where only the disk was named.
    pub(super) locator: Locator,
    /// If it had to be opened on the way.
    opened: Option<Opened>,
}

impl Reached {
    /// The filesystem that the locator names.
    pub(super) fn open(&mut self) -> Result<Opened> {
        self.opened.take().map_or_else(|| open(&self.volumes, &self.locator), Ok)
    }
}

/// Opens a source and looks at its table.
pub(super) fn volumes(tools: &Tools, source: &Path, sector: Option<SectorSize>) -> Result<Arc<Volumes>> {
    let subject = tools.opener().open(source, OpenOptions { live: true, exclusive: false, sector })?;
    if subject.live {
        say("note: it is mounted, and may change while it is read");
    }
    Volumes::of(&subject).map(Arc::new)
}

/// Follows a locator: where a regular file is on its way, that file is a disk. `last` is what was opened for the
/// locator before, and serves again if it is the same.
pub(super) fn follow(
    tools: &Tools,
    volumes: &Arc<Volumes>,
    locator: Locator,
    last: Option<Opened>,
) -> Result<Reached> {
    let (mut volumes, mut locator) = (Arc::clone(volumes), locator);
    let mut last = last.filter(|last| last.volume.name == locator.to_string());
    for _ in 0..=MAX_IMAGES {
        // Where there is no path there is no image on it, and whether files can be read need not matter.
        if locator.part.is_none() || locator.path.is_empty() {
            return Ok(Reached { volumes, locator, opened: last });
        }
        let opened = last.take().map_or_else(|| open(&volumes, &locator), Ok)?;
        let through = resolve_through(&*opened.fs, &locator.path);
        let inner = through.and_then(|(file, rest)| Some((file, Locator::parse_bytes(&rest).ok()?)));
        let Some((file, rest)) = inner else {
            return Ok(Reached { volumes, locator, opened: Some(opened) });
        };
        let at_disk = |error| volumes.located(error);
        let content = opened.fs.open(file.node, None).map_err(at_disk)?;
        let inside = volumes.inside(&opened.volume, &file.path, content, &tools.monitor).map_err(at_disk)?;
        (volumes, locator) = (Arc::new(inside), rest);
    }
    let words = format!("more than {MAX_IMAGES} disk images inside each other");
    Err(Error::new(ErrorKind::Unsupported, words))
}

/// Opens the filesystem that a locator names, and says what of it is not shown.
fn open(volumes: &Volumes, locator: &Locator) -> Result<Opened> {
    volumes.noting().take();
    let volume = volumes.find(locator)?;
    let fs = volume.open().map_err(|error| volumes.located(error))?;
    let info = fs.info();
    if info.condition != Condition::Clean {
        say(&format!("note: {} ({}): {}", volume.name, info.type_name, info.condition));
    }
    for missing in &info.missing {
        say(&format!("note: {} ({}): {missing}", volume.name, info.type_name));
    }
    Ok(Opened { volume, fs })
}

/// Locators as typed, all of one filesystem or each of its own.
pub(super) fn locators<'a>(typed: impl IntoIterator<Item = &'a OsStr>) -> Result<Vec<Locator>> {
    typed.into_iter().map(Locator::parse).collect()
}
