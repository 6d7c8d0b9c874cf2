//! What a file is: its sort, its times, where it leads, and where its bytes are.

use super::attribute::Attribute;
use super::content::Resident;
use super::corrupt;
use super::extended::{EXTENDED_MAX, Wsl};
use super::file::File;
use super::names::{FileName, units};
use super::reparse::{INTERIX_MAX, REPARSE_MAX, Reparse, interix, is_away};
use super::wof::{self, Algorithm, Wof};
use crate::fs::{FileKind, Metadata, Time};
use block::field::{u32_at, u64_at};
use block::{Error, ErrorKind, Result, Source};
use std::sync::Arc;

/// Attributes of Windows that decide something here.
const HIDDEN: u32 = 0x2;
pub(super) const SYSTEM: u32 = 0x4;
const DIRECTORY: u32 = 0x10;
pub(super) const REPARSE: u32 = 0x400;

/// A file, understood.
pub(super) struct Node<'a> {
    pub(super) file: File<'a>,
    /// Of STANDARD_INFORMATION.
    standard: Vec<u8>,
    attributes: u32,
    reparse: Option<Reparse>,
    kind: FileKind,
    /// Of a link.
    pub(super) target: Option<Vec<u8>>,
    wsl: Wsl,
}

impl<'a> Node<'a> {
    pub(super) fn of(file: File<'a>) -> Result<Self> {
        let mut standard = vec![];
        file.values(Attribute::STANDARD_INFORMATION, &mut |value| standard = value.to_vec())?;
        let attributes = u32_at(&standard, 32).unwrap_or(0);
        let reparse = match attributes & REPARSE {
            0 => None,
            _ => file.value(Attribute::REPARSE_POINT, &[], REPARSE_MAX)?,
        };
        let reparse =
            reparse.map(|value| Reparse::parse(&value).ok_or_else(|| corrupt("what it leads to is damaged")));
        let reparse = reparse.transpose()?;
        let wsl = file.value(Attribute::EA, &[], EXTENDED_MAX)?;
        let wsl = wsl.map(|value| Wsl::parse(&value)).unwrap_or_default();
        let (kind, target) = kind(&file, attributes, reparse.as_ref(), &wsl)?;
        Ok(Self { file, standard, attributes, reparse, kind, target, wsl })
    }

    pub(super) fn metadata(&self) -> Result<Metadata> {
        let sizes = match self.kind {
            FileKind::Directory => self.file.all(Attribute::INDEX_ALLOCATION)?.into_iter().next(),
            FileKind::File => self.file.head(Attribute::DATA, &[])?,
            _ => None,
        };
        let sizes = sizes.map(|head| head.sizes).unwrap_or_default();
        let size = match &self.target {
            Some(target) => u64::try_from(target.len()).unwrap_or(u64::MAX),
            None => sizes.data,
        };
        let allocated = match self.holder() {
            Some(name) => self.file.head(Attribute::DATA, &name)?.map_or(0, |head| head.sizes.allocated),
            None => sizes.allocated,
        };
        let mut names = 0_u32;
        self.file.values(Attribute::FILE_NAME, &mut |value| {
            if FileName::parse(value).is_some_and(|name| !name.is_dos) {
                names = names.saturating_add(1);
            }
        })?;
        let directory = if self.kind == FileKind::Directory { DIRECTORY } else { 0 };
        let time = |at: usize| u64_at(&self.standard, at).and_then(Time::of_filetime);
        Ok(Metadata {
            allocated: Some(allocated),
            links: names.max(1),
            mode: self.wsl.mode.and_then(|mode| u16::try_from(mode & 0o7777).ok()),
            uid: self.wsl.uid,
            gid: self.wsl.gid,
            attributes: Some(self.attributes | directory),
            created: time(0),
            modified: time(8),
            changed: time(16),
            accessed: time(24),
            ..Metadata::new(self.kind, size)
        })
    }

    /// Its bytes. Fails with [`ErrorKind::Unsupported`] where they are not here or not to be understood.
    pub(super) fn content(&self) -> Result<Source> {
        let unsupported = |words: String| Err(Error::new(ErrorKind::Unsupported, words));
        if self.kind != FileKind::File {
            return match self.reparse {
                Some(Reparse::Other(tag, _)) => {
                    unsupported(format!("it is a reparse point of kind {tag:#010X}"))
                }
                _ => Err(Error::new(ErrorKind::Usage, "it is no file of bytes")),
            };
        }
        match &self.reparse {
            Some(Reparse::Dedup) => {
                return unsupported("its bytes are shared by deduplication of Windows".into());
            }
            Some(Reparse::Cloud) if is_away(self.attributes) => {
                return unsupported("its bytes are in the cloud, not on this volume".into());
            }
            Some(Reparse::Wof(how)) => {
                if let Some(holder) = self.holder() {
                    let head = self.file.head(Attribute::DATA, &[])?;
                    let size = head.map_or(0, |head| head.sizes.data);
                    let packed = self.file.stream(Attribute::DATA, &holder)?;
                    let packed = packed.ok_or_else(|| corrupt("what Windows compressed is not there"))?;
                    return Ok(Arc::new(Wof::new(packed, Algorithm::of(how)?, size)));
                }
                // Elsewhere, or of a kind that has no such stream.
                Algorithm::of(how)?;
                return Err(corrupt("what Windows compressed is not there"));
            }
            _ => {}
        }
        // Without any attribute it is empty.
        Ok(self.file.stream(Attribute::DATA, &[])?.unwrap_or_else(|| Arc::new(Resident(vec![]))))
    }

    /// The stream that the content is kept in, in UTF-16, if it is not the one without a name.
    fn holder(&self) -> Option<Vec<u8>> {
        let heads = match self.reparse {
            Some(Reparse::Wof(_)) => self.file.all(Attribute::DATA).ok()?,
            _ => return None,
        };
        let name =
            |head: &super::file::Head| units(&head.name).eq(wof::STREAM.iter().copied().map(u16::from));
        heads.into_iter().find(name).map(|head| head.name)
    }

    /// Is this the stream that the content is kept in?
    pub(super) fn is_holder(&self, name: &[u8]) -> bool {
        matches!(self.reparse, Some(Reparse::Wof(_))) && name == wof::STREAM
    }
}

/// The sort of a file, and where it leads if it is a link.
fn kind(
    file: &File,
    attributes: u32,
    reparse: Option<&Reparse>,
    wsl: &Wsl,
) -> Result<(FileKind, Option<Vec<u8>>)> {
    let directory = file.record.is_directory();
    let kind = match reparse {
        Some(Reparse::Link(target)) => return Ok((FileKind::Symlink, Some(target.clone()))),
        Some(Reparse::Special(kind)) => match (kind, wsl.device.unwrap_or((0, 0))) {
            (FileKind::CharDevice(..), (major, minor)) => FileKind::CharDevice(major, minor),
            (FileKind::BlockDevice(..), (major, minor)) => FileKind::BlockDevice(major, minor),
            (kind, _) => *kind,
        },
        Some(Reparse::Other(_, instead)) if !directory || *instead => FileKind::Other,
        _ if directory => FileKind::Directory,
        None if attributes & SYSTEM != 0 => {
            let special = special(file, attributes)?;
            let Some((kind, target)) = special else { return Ok((FileKind::File, None)) };
            return Ok((kind, (kind == FileKind::Symlink).then_some(target)));
        }
        _ => FileKind::File,
    };
    Ok((kind, None))
}

/// What a system file is to Interix.
fn special(file: &File, attributes: u32) -> Result<Option<(FileKind, Vec<u8>)>> {
    let Some(head) = file.head(Attribute::DATA, &[])? else { return Ok(None) };
    if head.sizes.data > INTERIX_MAX || head.flags & Attribute::ENCRYPTED != 0 {
        return Ok(None);
    }
    let Some(source) = file.stream(Attribute::DATA, &[])? else { return Ok(None) };
    let mut content = vec![0; usize::try_from(source.size().min(INTERIX_MAX)).unwrap_or(0)];
    // One that cannot be read is a file that cannot be read.
    if source.read_at(0, &mut content).is_err() {
        return Ok(None);
    }
    Ok(interix(&content, source.size(), attributes & HIDDEN != 0))
}
