//! What the verbs have in common that go into a filesystem.

use super::Tools;
use crate::ui::say;
use block::{Error, ErrorKind, Result, SectorSize};
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
    let fs = volume.open().map_err(|error| located(volumes, error))?;
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

/// With the sectors, where it was the disk that failed.
pub(super) fn located(volumes: &Volumes, error: Error) -> Error {
    let lost = volumes.noting().take();
    let from_disk = matches!(error.kind(), ErrorKind::Media | ErrorKind::Absent | ErrorKind::Corrupt);
    let Some(lost) = lost.filter(|_| from_disk) else { return error };
    let (first, last) = volumes.sectors(lost.range);
    let place = if first == last { format!("LBA {first}") } else { format!("LBA {first} to {last}") };
    Error::new(error.kind(), format!("{error}; {place} of the disk"))
}
