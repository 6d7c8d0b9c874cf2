//! What a word on the command line names: a device, a backup, an image file.

use crate::foreign::{Bridge, Detected, Format, detect};
use crate::vmdk::{self, Kept};
use block::{
    ByteRange, Concat, Error, ErrorKind, Files, Folder, Found, How, ReadAt, Result, SectorSize, Slice, Source,
};
use device::{FileSource, Monitor, Place, SourceOptions};
use image::{Backup, Store};
use std::ffi::OsStr;
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
    /// Where it is: the node of a device; of a file or folder without symbolic links.
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
    /// Who knows the devices and opens them.
    pub monitor: &'a dyn Monitor,
    /// Who opens files and folders.
    pub files: &'a dyn Files,
    /// Who reads the formats of other programs.
    pub bridge: &'a dyn Bridge,
}

impl Opener<'_> {
    /// A device (`sda`, `/dev/sda1`, a serial, an ID), a backup folder, or an image file. A word without
    /// a slash is a device if there is one of that name.
    pub fn open(&self, path: &Path, options: OpenOptions) -> Result<Subject> {
        // No device's name is other than UTF-8; a file's may be.
        let word = &*path.to_string_lossy();
        let for_files_only = || {
            let words = format!("{word} says itself how large its sectors are: that is for image files only");
            Error::new(ErrorKind::Usage, words)
        };
        let no_device = match self.monitor.find(word) {
            Ok(_) if options.sector.is_some() => return Err(for_files_only()),
            Ok(place) => return self.device(word, place, options),
            Err(no_device) if word.starts_with("/dev/") => return Err(no_device),
            Err(no_device) => no_device,
        };
        match self.files.find(path) {
            Ok(Found::Folder(_)) if options.sector.is_some() => Err(for_files_only()),
            Ok(Found::Folder(folder)) => self.backup(word, folder),
            Ok(Found::File(folder, name)) => {
                Ok(Subject { sector: options.sector, ..self.file(word, &*folder, &name)? })
            }
            Ok(Found::Nothing(..)) | Err(_) if !word.contains('/') => Err(no_device),
            Ok(Found::Nothing(..)) => {
                Err(Error::new(ErrorKind::NotFound, format!("no such file, folder or device: {word}")))
            }
            Err(error) => Err(Error::io(error, format!("no such file, folder or device: {word}"))),
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

    fn backup(&self, word: &str, folder: Arc<dyn Folder>) -> Result<Subject> {
        let path = folder.path().to_owned();
        not_of_clonezilla(word, &*folder)?;
        let backup = Arc::new(Backup::of(Store::of(folder))?);
        Ok(Subject {
            source: backup.disk()?,
            sector: SectorSize::new(backup.manifest().disk.sector_size),
            backup: Some(backup),
            ..Self::plain(word, path, Kind::Backup, Arc::new(block::Concat::new([])?))
        })
    }

    fn file(&self, word: &str, folder: &dyn Folder, name: &OsStr) -> Result<Subject> {
        let file = file_source(word, folder, name)?;
        let source = match detect(&*file, word)?.disk(Arc::clone(&file), self.bridge)? {
            Some(disk) => disk,
            None => self.described(word, folder, &*file)?,
        };
        Ok(Self::plain(word, folder.path().join(name), Kind::Image, source))
    }

    /// A VMDK that is kept in the files beside its description.
    fn described(&self, word: &str, folder: &dyn Folder, text: &dyn ReadAt) -> Result<Source> {
        /// A description is a page or two.
        const MAX_TEXT: u64 = 1 << 20;
        /// Each one takes a process.
        const MAX_SPARSE: usize = 64;
        let len = text.size().min(MAX_TEXT);
        let mut bytes = vec![0; usize::try_from(len).unwrap_or(0)];
        text.read_at(0, &mut bytes)?;
        let parts = vmdk::parse(&bytes, word)?;
        if parts.iter().filter(|part| matches!(part.kept, Kept::Sparse(_))).count() > MAX_SPARSE {
            let words = format!("{word}: a VMDK of more than {MAX_SPARSE} sparse files");
            return Err(Error::new(ErrorKind::Unsupported, words));
        }
        let mut sources: Vec<Source> = vec![];
        for part in parts {
            let (source, start): (Source, _) = match part.kept {
                Kept::Zero => (Arc::new(vmdk::Nothing(part.len)), 0),
                Kept::Flat(name, start) => (file_source(&name, folder, name.as_ref())?, start),
                Kept::Sparse(name) => {
                    let file = file_source(&name, folder, name.as_ref())?;
                    match detect(&*file, &name)? {
                        Detected::Foreign(Format::Vmdk) => {
                            (self.bridge.read(Format::Vmdk, vmdk::with_text(file, &name)?)?, 0)
                        }
                        _ => return Err(Error::new(ErrorKind::Corrupt, format!("{name} is no sparse VMDK"))),
                    }
                }
            };
            let range = ByteRange::within(source.size(), start, part.len).map_err(|_| {
                Error::new(ErrorKind::Corrupt, format!("{word}: a file of it is too short: it is not whole"))
            })?;
            sources.push(Arc::new(Slice::new(source, range)?));
        }
        Ok(Arc::new(Concat::new(sources)?))
    }

    fn plain(word: &str, path: PathBuf, kind: Kind, source: Source) -> Subject {
        let name = path.file_name().map_or_else(|| word.into(), |name| name.to_string_lossy().into_owned());
        Subject {
            word: word.to_owned(),
            name,
            path,
            kind,
            source,
            sector: None,
            place: None,
            backup: None,
            live: false,
        }
    }
}

/// A folder of another program is named before it is called a damaged backup.
fn not_of_clonezilla(word: &str, folder: &dyn Folder) -> Result<()> {
    if folder.has("clonezilla-img".as_ref()).unwrap_or(false) {
        let words = format!(
            "{word} is an image of Clonezilla; make partitions of it first, one by one: \
             cat sda1.*-ptcl-img.* | zstd -dc | partclone.restore --restore_raw_file -s - -o sda1.img"
        );
        return Err(Error::new(ErrorKind::Unsupported, words));
    }
    Ok(())
}

/// The bytes of a file, whatever they are.
fn file_source(word: &str, folder: &dyn Folder, name: &OsStr) -> Result<Source> {
    let path = folder.path().join(name);
    let file = folder.open(name, How::Read).map_err(|error| match error.raw_os_error() {
        Some(ENXIO) => Error::new(ErrorKind::Usage, format!("{word} is no regular file")),
        _ => Error::io(error, format!("opening {word}")),
    })?;
    Ok(Arc::new(FileSource::new(&path, file, folder.open(name, How::ReadDirect).ok())?))
}

/// What a folder answers where no regular file is: [`Folder::open`].
const ENXIO: i32 = 6;

/// Opens a folder that must be there. `what`: how it is called in the error.
pub fn folder(files: &dyn Files, path: &Path, what: &str) -> Result<Arc<dyn Folder>> {
    match files.find(path) {
        Ok(Found::Folder(folder)) => Ok(folder),
        Ok(_) => Err(Error::new(ErrorKind::NotFound, format!("no such {what}: {}", path.display()))),
        Err(error) => Err(Error::io(error, format!("no such {what}: {}", path.display()))),
    }
}
