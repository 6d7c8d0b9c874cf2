//! What a word on the command line names: a device, a backup, an image file.

use block::{Error, ErrorKind, Result, SectorSize, Source};
use device::{FileSource, Machine, Monitor, Place, SourceOptions};
use image::Backup;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What sort of thing is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A whole disk.
    Disk,
    /// One partition of one.
    Partition,
    /// LVM, md, device mapper.
    Volume,
    /// An image file.
    Image,
    /// A backup folder.
    Backup,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Disk => "disk",
            Self::Partition => "partition",
            Self::Volume => "volume",
            Self::Image => "image",
            Self::Backup => "backup",
        })
    }
}

/// Something opened for reading.
pub struct Subject {
    /// As typed.
    pub word: String,
    /// How it is called: `sda`, `old.img`, the folder's name.
    pub name: String,
    /// Where it is.
    pub path: PathBuf,
    /// What it is.
    pub kind: Kind,
    /// Its bytes.
    pub source: Source,
    /// Bytes of a sector, where something says so: the device, the backup.
    pub sector: Option<SectorSize>,
    /// The device.
    pub place: Option<Place>,
    /// The backup.
    pub backup: Option<Arc<Backup>>,
    /// It was mounted read-write and is read all the same.
    pub live: bool,
}

/// How something is opened.
#[derive(Clone, Copy, Debug, Default)]
pub struct OpenOptions {
    /// Also what is mounted read-write.
    pub live: bool,
    /// Held so that nothing mounts it meanwhile. Without it nothing is held, for a look.
    pub exclusive: bool,
    /// Bytes of a sector of an image file, where its user knows better than what it shows. Only for those:
    /// devices and backups say it themselves.
    pub sector: Option<SectorSize>,
}

/// Finds and opens what words name.
pub struct Opener<'a> {
    /// Where devices are looked up.
    pub machine: &'a Machine,
    /// Who opens them.
    pub monitor: &'a dyn Monitor,
}

impl Opener<'_> {
    /// A device (`sda`, `/dev/sda1`, a serial, an ID), a backup folder, or an image file. A word without
    /// a slash is a device if there is one of that name.
    pub fn open(&self, path: &Path, options: OpenOptions) -> Result<Subject> {
        // No device's name is other than UTF-8; a file's may be.
        let word = &*path.to_string_lossy();
        let device = self.machine.find(word);
        if options.sector.is_some() && (device.is_ok() || path.is_dir()) {
            let words = format!("{word} says itself how large its sectors are: that is for image files only");
            return Err(Error::new(ErrorKind::Usage, words));
        }
        match device {
            Ok(place) => self.device(word, place, options),
            Err(no_device) if word.starts_with("/dev/") || !path.exists() => Err(match word.contains('/') {
                true if !word.starts_with("/dev/") => {
                    Error::new(ErrorKind::NotFound, format!("no such file, folder or device: {word}"))
                }
                _ => no_device,
            }),
            Err(_) if path.is_dir() => self.backup(word, path),
            Err(_) => Ok(Subject { sector: options.sector, ..self.file(word, path)? }),
        }
    }

    fn device(&self, word: &str, place: Place, options: OpenOptions) -> Result<Subject> {
        let how = SourceOptions { live: options.live, exclusive: options.exclusive };
        let source = self.monitor.open_source(place.instance(), how)?;
        let kind = match (place.partition, place.disk.is_volume()) {
            (Some(_), _) => Kind::Partition,
            (None, true) => Kind::Volume,
            (None, false) => Kind::Disk,
        };
        Ok(Subject {
            word: word.to_owned(),
            name: place.name(),
            path: place.path.clone(),
            kind,
            source: source.source,
            sector: SectorSize::new(place.disk.identity.sector),
            place: Some(place),
            backup: None,
            live: source.live,
        })
    }

    fn backup(&self, word: &str, path: &Path) -> Result<Subject> {
        let backup = Arc::new(Backup::open(path)?);
        Ok(Subject {
            source: backup.disk()?,
            sector: SectorSize::new(backup.manifest().disk.sector_size),
            backup: Some(backup),
            ..Self::plain(word, path, Kind::Backup, Arc::new(block::Concat::new([])?))
        })
    }

    fn file(&self, word: &str, path: &Path) -> Result<Subject> {
        Ok(Self::plain(word, path, Kind::Image, Arc::new(FileSource::open(path)?)))
    }

    fn plain(word: &str, path: &Path, kind: Kind, source: Source) -> Subject {
        let whole = path.canonicalize().unwrap_or_else(|_| path.to_owned());
        let name = whole.file_name().map_or_else(|| word.into(), |name| name.to_string_lossy().into_owned());
        Subject {
            word: word.to_owned(),
            name,
            path: path.to_owned(),
            kind,
            source,
            sector: None,
            place: None,
            backup: None,
            live: false,
        }
    }
}
