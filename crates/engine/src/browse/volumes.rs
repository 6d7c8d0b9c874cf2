//! What of a subject may hold files: its partitions, or all of it where it has no table, and the logical volumes and
//! arrays inside them. A disk image that lies in a filesystem is a disk again.

use super::{Locator, Noting};
use crate::{Bridge, Subject, foreign};
use block::{ByteRange, Concat, Error, ErrorKind, Result, SectorSize, Slice, Source};
use disk::fs::{self, FileSystem};
use disk::nested::{self, Nested};
use disk::probe::{self, Content, Usage};
use std::sync::Arc;

/// One of them.
pub struct Volume {
    /// As it is typed: `5`, `0`, `3:root`, `5/vms/win.img/1`.
    pub name: String,
    /// Where on its disk, in bytes; `None` of what is put together from pieces.
    pub range: Option<ByteRange>,
    /// Its bytes.
    pub source: Source,
    /// What it holds.
    pub content: Option<Content>,
    /// Why there is no way in: it is encrypted, other disks would be needed, it has volumes to choose from.
    closed: Option<Error>,
}

impl Volume {
    fn new(name: String, range: Option<ByteRange>, source: Source, closed: Option<Error>) -> Result<Self> {
        let content = probe::identify(&*source)?;
        Ok(Self { name, range, source, content, closed })
    }

    /// A partition, through the arrays that it is all of, and the volumes inside it.
    fn and_inside(name: String, range: ByteRange, source: Source) -> Result<Vec<Self>> {
        let (source, closed, inside) = match nested::look(&source) {
            Ok(Nested::Plain(inner)) => (inner, None, vec![]),
            Ok(Nested::Volumes(volumes)) => {
                let names: Vec<_> = volumes.iter().map(|volume| format!("{name}:{}", volume.name)).collect();
                let words = match names.is_empty() {
                    true => "it has no volumes".to_owned(),
                    false => format!("choose one of its volumes: {}", names.join(", ")),
                };
                (source, Some(Error::new(ErrorKind::Usage, words)), volumes)
            }
            Err(error) if matches!(error.kind(), ErrorKind::Unsupported | ErrorKind::Corrupt) => {
                (source, Some(error), vec![])
            }
            Err(error) => return Err(error),
        };
        let mut all = vec![Self::new(name.clone(), Some(range), source, closed)?];
        for volume in inside {
            let named = format!("{name}:{}", volume.name);
            let empty: Source = Arc::new(Concat::new([])?);
            let (source, closed) =
                volume.source.map_or_else(|error| (empty, Some(error)), |source| (source, None));
            all.push(Self::new(named, None, source, closed)?);
        }
        Ok(all)
    }

    /// Can files of it be listed?
    pub fn is_readable(&self) -> bool {
        self.closed.is_none() && self.content.as_ref().is_some_and(fs::is_readable)
    }

    /// Its filesystem. Fails with [`ErrorKind::Unsupported`] where it has none that can be read.
    pub fn open(&self) -> Result<Arc<dyn FileSystem>> {
        let named = |words: String| Error::new(ErrorKind::Unsupported, format!("{}: {words}", self.name));
        if let Some(closed) = &self.closed {
            return Err(Error::new(closed.kind(), format!("{}: {closed}", self.name)));
        }
        match &self.content {
            None => Err(named("nothing that is known to hold files".to_owned())),
            Some(content) if content.usage == Usage::Crypto => {
                Err(named(format!("{} is encrypted: without its key no file can be read", content.title)))
            }
            Some(content) if matches!(content.usage, Usage::Swap | Usage::Other) => {
                Err(named(format!("{} holds no files", content.title)))
            }
            Some(_) => fs::open(&self.source).map_err(|error| error.context(&self.name)),
        }
    }
}

/// All of them.
pub struct Volumes {
    /// What is typed before the number of a partition: of a disk image in a filesystem its path and a slash.
    prefix: String,
    disk: Source,
    /// The disk that all of it lies on.
    noting: Arc<Noting>,
    /// See [`parts`].
    parts: Vec<(u32, ByteRange)>,
    /// Bytes of a sector of that disk, for telling places.
    sector: u64,
}

impl Volumes {
    /// Reads the partition table.
    pub fn of(subject: &Subject) -> Result<Self> {
        let noting = Arc::new(Noting::new(Arc::clone(&subject.source)));
        let disk: Source = Arc::clone(&noting) as Source;
        let (parts, sector) = parts(&disk, subject.sector)?;
        Ok(Self { prefix: String::new(), disk, noting, parts, sector: sector.bytes() })
    }

    /// Those of the disk image that `file` is; it lies at `path` in the filesystem of `volume`, which is one of these.
    /// Fails with [`ErrorKind::NotFound`] where it is none.
    pub fn inside(&self, volume: &Volume, path: &[u8], file: Source, bridge: &dyn Bridge) -> Result<Self> {
        let word = format!("{}/{}", volume.name, String::from_utf8_lossy(path));
        let disk = foreign::detect(&*file, &word)?.disk(file, bridge)?.ok_or_else(|| {
            let words = format!("{word} is a VMDK that lies in other files: copy them all out first");
            Error::new(ErrorKind::Unsupported, words)
        })?;
        let none = || Error::new(ErrorKind::NotFound, format!("{word} is no folder, and no disk image"));
        let (parts, _) = parts(&disk, None).map_err(|error| match error.kind() {
            ErrorKind::Unsupported | ErrorKind::Corrupt => none(),
            _ => error.context(&word),
        })?;
        if parts.iter().all(|(number, _)| *number == 0) && probe::identify(&*disk)?.is_none() {
            return Err(none());
        }
        let noting = Arc::clone(&self.noting);
        Ok(Self { prefix: format!("{word}/"), disk, noting, parts, sector: self.sector })
    }

    /// Every one, in the order of their numbers.
    pub fn all(&self) -> Result<Vec<Volume>> {
        let parts = self.parts.iter().map(|(number, range)| self.part(*number, *range));
        Ok(parts.collect::<Result<Vec<_>>>()?.into_iter().flatten().collect())
    }

    /// The one that a locator names. Fails with [`ErrorKind::NotFound`] if there is none of that name and with
    /// [`ErrorKind::Usage`] if it names none; both say which there are.
    pub fn find(&self, locator: &Locator) -> Result<Volume> {
        let there = || {
            let there: Vec<_> = self.parts.iter().map(|(number, _)| number.to_string()).collect();
            if there.is_empty() { "none".to_owned() } else { there.join(", ") }
        };
        let Some(wanted) = locator.part else {
            let words = format!("say which partition: there are {}", there());
            return Err(Error::new(ErrorKind::Usage, words));
        };
        let known = self.parts.iter().find(|(number, _)| *number == wanted);
        let range = match known {
            Some((_, range)) => *range,
            None if wanted == 0 => ByteRange::span(0, self.disk.size()),
            None => {
                let words = format!("no partition {wanted}; there are: {}", there());
                return Err(Error::new(ErrorKind::NotFound, words));
            }
        };
        let mut there = self.part(wanted, range)?;
        let name = format!("{}{locator}", self.prefix);
        match there.iter().position(|volume| volume.name == name) {
            Some(place) => Ok(there.swap_remove(place)),
            None => {
                let volume = locator.volume.as_deref().unwrap_or_default();
                let mut words = format!("partition {wanted} holds no volume {volume}");
                if let Some(closed) = there.first().and_then(|part| part.closed.as_ref()) {
                    words = format!("{words}: {closed}");
                }
                Err(Error::new(ErrorKind::NotFound, words))
            }
        }
    }

    fn part(&self, number: u32, range: ByteRange) -> Result<Vec<Volume>> {
        let source = Arc::new(Slice::new(Arc::clone(&self.disk), range)?);
        Volume::and_inside(format!("{}{number}", self.prefix), range, source)
    }

    /// Where on the disk the last failed call failed, if it was there.
    pub fn noting(&self) -> &Noting {
        &self.noting
    }

    /// The error of a call that just failed, with the sectors, where it was the disk that failed.
    pub fn located(&self, error: Error) -> Error {
        let Some(lost) = self.noting.take().filter(|_| super::is_lost(&error)) else { return error };
        let (first, last) = self.sectors(lost.range);
        let place = if first == last { format!("LBA {first}") } else { format!("LBA {first} to {last}") };
        Error::new(error.kind(), format!("{error}; {place} of the disk"))
    }

    /// First and last sector of a place of the disk.
    pub fn sectors(&self, range: ByteRange) -> (u64, u64) {
        let last = range.end().saturating_sub(1).max(range.start());
        (range.start() / self.sector.max(1), last / self.sector.max(1))
    }
}

/// Partitions by number, without extended ones, in bytes; 0 alone, all of it, where there is no table.
fn parts(disk: &Source, sector: Option<SectorSize>) -> Result<(Vec<(u32, ByteRange)>, SectorSize)> {
    let layout = disk::layout::read(&**disk, sector)?;
    let whole = ByteRange::span(0, layout.size);
    let parts = layout.partitions.iter().filter(|part| !part.extended);
    let mut parts: Vec<_> = parts.map(|part| (part.number, part.range.intersect(whole))).collect();
    parts.retain(|(_, range)| !range.is_empty());
    if layout.partitions.is_empty() {
        parts.push((0, whole));
    }
    Ok((parts, layout.sector))
}
