//! What the verbs have in common that go into a filesystem.

use super::Tools;
use crate::ui::say;
use block::{Result, SectorSize};
use disk::fs::{Condition, FileSystem};
use engine::OpenOptions;
use engine::browse::{Locator, Volume, Volumes};
use std::ffi::OsStr;
use std::path::Path;
use std::sync::Arc;

/// A filesystem of a source.
pub(super) struct Opened {
    pub(super) volume: Volume,
    pub(super) fs: Arc<dyn FileSystem>,
}

/// Opens a source and looks at its table.
pub(super) fn volumes(tools: &Tools, source: &Path, sector: Option<SectorSize>) -> Result<Volumes> {
    let subject = tools.opener().open(source, OpenOptions { live: true, exclusive: false, sector })?;
    if subject.live {
        say("note: it is mounted, and may change while it is read");
    }
    Volumes::of(&subject)
}

/// Opens the filesystem that a locator names, and says what of it is not shown.
pub(super) fn open(volumes: &Volumes, locator: &Locator) -> Result<Opened> {
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
