//! What a save will do, decided and judged before anything is written: `--dry-run` stops here.

use crate::digest::Algorithm;
use crate::estimate::{self, Estimate};
use crate::names;
use crate::open::{Kind, Opener, Subject};
use crate::plan::Plan;
use crate::skip_free;
use crate::survey::{Survey, survey};
use block::{Error, ErrorKind, Files, Found, Region, Result, Role, Source};
use device::{Below, Hidden, Monitor};
use image::{Encoding, Hex, Level, Room};
use jiff::Timestamp;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// How a disk is to be kept.
#[derive(Clone, Debug)]
pub struct SaveOptions {
    /// Name of the machine, the beginning of all file names.
    pub name: Option<String>,
    /// Of all files but the preamble.
    pub format: Encoding,
    /// One file instead of one for each partition.
    pub whole: bool,
    /// How hard zstd works.
    pub level: Level,
    /// Serial digests of the disk and of each file.
    pub digests: Vec<Algorithm>,
    /// Only these partitions, and what makes the disk one.
    pub parts: Option<Vec<u32>>,
    /// Leave out what filesystems do not use.
    pub skip_free: bool,
    /// Most bytes of one file.
    pub split: Option<u64>,
    /// The user's words.
    pub note: Option<String>,
    /// Read back what was stored.
    pub check: bool,
    /// For the log.
    pub command_line: String,
    /// For the log.
    pub host: String,
}

/// A stored file to be.
#[derive(Clone, Debug)]
pub struct PlannedFile {
    /// Its name.
    pub name: String,
    /// Plain bytes.
    pub length: u64,
    /// How it is kept.
    pub encoding: Encoding,
}

/// What a save will do.
pub struct SavePlan {
    /// What is on the disk.
    pub survey: Survey,
    /// What each file's name begins with.
    pub base: String,
    /// Where the folder is made.
    pub dest: PathBuf,
    /// The folder's name, if nothing of that name is there.
    pub folder_name: String,
    /// The stored files.
    pub files: Vec<PlannedFile>,
    /// Bytes of the disk that are left out.
    pub left_out: u64,
    /// Bytes of what is kept that no filesystem uses, and that are left out too.
    pub free_left_out: u64,
    /// Bytes that the folder will need, about.
    pub need: u64,
    /// Bytes that are free where it is made.
    pub free: u64,
    /// What the user should know.
    pub notes: Vec<String>,
    /// Unfinished backups of the same disk in the same place.
    pub unfinished: Vec<PathBuf>,
    pub(crate) options: SaveOptions,
    pub(crate) plan: Plan,
    /// What is read: the subject's bytes, or those of them that are in use.
    pub(crate) source: Source,
    /// Of each volume, what became of its free space; `None` if nobody asked.
    pub(crate) free_space: Option<Vec<image::FreeInfo>>,
    pub(crate) backup_id: Hex<16>,
    pub(crate) disk_id: String,
    pub(crate) hidden: Vec<String>,
    pub(crate) boot_variables: Vec<(String, Vec<u8>)>,
}

/// Bytes under which `--split` makes no sense: every frame fits.
pub(crate) const MIN_SPLIT: u64 = 1 << 20;

/// Most files that a split may make: SHA256SUMS has room for twice as many (FORMAT 1), and a reader opens all of
/// them.
const MAX_PARTS: u64 = 4096;

impl SavePlan {
    /// Where frames begin, in bytes.
    pub fn grid(&self) -> u64 {
        image::grid_for(self.survey.layout.size)
    }
}

/// Looks at the disk and at the destination, and refuses what cannot end well. `dest` is made if its
/// parent is there.
pub fn plan_save(
    subject: &Subject,
    opener: &Opener<'_>,
    dest: &Path,
    mut options: SaveOptions,
) -> Result<SavePlan> {
    if subject.kind == Kind::Backup {
        let words = format!("{} is a backup already; to copy it, copy the folder", subject.word);
        return Err(Error::new(ErrorKind::Usage, words));
    }
    if subject.source.size() == 0 {
        return Err(Error::new(ErrorKind::Usage, format!("{} has no bytes", subject.word)));
    }
    if subject.source.size() > image::MAX_DISK {
        let words = format!("{} is larger than 256 TiB, more than a backup can hold", subject.word);
        return Err(Error::new(ErrorKind::Unsupported, words));
    }
    let mut notes = vec![];
    let room = room_at(subject, opener, dest, &mut notes)?;
    limit_files(&mut options, subject.source.size(), &room, &mut notes)?;
    let survey = survey(&subject.source, subject.sector, false)?;
    if let Some(why) = survey.layout.must_be_whole.as_ref().filter(|_| !options.whole) {
        if options.parts.is_some() {
            let words = format!("--part is not possible: {why}");
            return Err(Error::new(ErrorKind::Usage, words));
        }
        notes.push(format!("saved as a whole (--whole): {why}"));
        options.whole = true;
    }
    notes.extend(survey.advice());
    let Hidden { known, unknown } =
        subject.place.as_ref().map(|place| opener.monitor.hidden(place.disk.instance)).unwrap_or_default();
    notes.extend(known.iter().map(|what| format!("not saved, the drive keeps it apart: {what}")));
    let hidden = [known, unknown].concat();
    if subject.live {
        notes.push(
            "it is mounted read-write: the copy may hold a torn state, and its manifest says so".into(),
        );
    }
    let machine_name =
        options.name.clone().or_else(|| (subject.kind != Kind::Image).then(|| options.host.clone()));
    let disk_name = match subject.kind {
        Kind::Image => {
            Path::new(&subject.name).file_stem().unwrap_or_default().to_string_lossy().into_owned()
        }
        _ => subject.name.clone(),
    };
    let is_attached = subject.place.is_some();
    let base = names::base(machine_name.as_deref(), &disk_name);
    let (plan, files) = place(&survey, &base, &options)?;
    let disk_id = disk_id(subject, opener, &survey)?;
    let left_out = subject.source.size() - plan.bytes();
    let mut source = Arc::clone(&subject.source);
    let mut free_space = None;
    if options.skip_free {
        let skipping = skip_free::look(subject, &survey, &plan, image::grid_for(survey.layout.size))?;
        notes.extend(skipping.volumes.iter().map(skip_free::sentence));
        source = skipping.source;
        free_space = Some(skipping.volumes);
    }
    let Estimate { need, least } = estimate::estimate(&*source, &plan, &options)?;
    if least > room.free {
        let words = format!(
            "not enough room in {}: this needs about {need} bytes, {} are free",
            dest.display(),
            room.free
        );
        return Err(Error::new(ErrorKind::NoSpace, words));
    }
    Ok(SavePlan {
        unfinished: unfinished(opener.files, dest, &disk_id),
        folder_name: format!("{base}-{}", Timestamp::now().strftime("%Y%m%dT%H%M%SZ")),
        dest: dest.to_owned(),
        free: room.free,
        backup_id: image::random_id()?,
        survey,
        base,
        files,
        left_out,
        free_left_out: free_space.iter().flatten().map(|volume| volume.absent).sum(),
        need,
        notes,
        options,
        plan,
        source,
        free_space,
        disk_id,
        hidden,
        boot_variables: if is_attached { opener.monitor.boot_variables() } else { vec![] },
    })
}

/// The destination: it must not lie on what is saved, nor in memory that ends with the session.
fn room_at(subject: &Subject, opener: &Opener<'_>, dest: &Path, notes: &mut Vec<String>) -> Result<Room> {
    let there = match opener.files.find(dest) {
        Ok(Found::Folder(folder) | Found::Nothing(folder, _)) => folder,
        Ok(Found::File(..)) => {
            return Err(Error::new(ErrorKind::NotFound, format!("no such folder: {}", dest.display())));
        }
        Err(error) => return Err(Error::io(error, format!("no such folder: {}", dest.display()))),
    };
    if dest.starts_with("/dev") || dest.starts_with("/proc") || dest.starts_with("/sys") {
        let words = format!("{} is no place for a backup: it is in memory", dest.display());
        return Err(Error::new(ErrorKind::Refused, words));
    }
    let below: Below = opener.monitor.below(there.path())?;
    if is_below(subject, opener.monitor, &below)? {
        let name = subject.place.as_ref().map_or(&subject.name, |place| &place.disk.name);
        let words = format!(
            "{} lies on {name} itself, the disk that is to be saved: choose a folder on another disk",
            dest.display()
        );
        return Err(Error::new(ErrorKind::Refused, words));
    }
    let room = image::room(&*there)?;
    // ramfs has no size of its own: it takes memory until there is none.
    if below.live_root || room.filesystem == "ramfs" {
        let words = format!(
            "{} is only memory: it is gone at the next start. Mount a disk and choose a folder on it",
            dest.display()
        );
        return Err(Error::new(ErrorKind::Refused, words));
    }
    if below.memory {
        notes.push(format!("{} is in memory: the backup is gone at the next start", dest.display()));
    }
    Ok(room)
}

/// Does the destination lie on what is to be saved: the disk, or a loop device over the image file?
pub(crate) fn is_below(subject: &Subject, monitor: &dyn Monitor, below: &Below) -> Result<bool> {
    let lies_on = |disk: &device::Disk| below.disks.iter().any(|other| other.instance == disk.instance);
    if let Some(place) = &subject.place {
        return Ok(lies_on(&place.disk));
    }
    let shows_it = |disk: &device::Disk| disk.backing.as_deref().map(Path::new) == Some(&subject.path);
    Ok(monitor.disks()?.iter().any(|disk| shows_it(disk) && lies_on(disk)))
}

/// What the destination's filesystem cannot do.
fn limit_files(options: &mut SaveOptions, size: u64, room: &Room, notes: &mut Vec<String>) -> Result<()> {
    if options.split.is_some_and(|split| split < MIN_SPLIT) {
        return Err(Error::new(ErrorKind::Usage, format!("--split must be at least {MIN_SPLIT} bytes")));
    }
    if let Some(most) = room.max_file
        && options.split.is_none_or(|split| split > most)
    {
        options.split = Some(most);
        notes.push(format!(
            "{} keeps at most {most} bytes in a file: larger ones are split into .000, .001, ..",
            room.filesystem
        ));
    }
    if let Some(split) = options.split.filter(|split| size / split > MAX_PARTS) {
        let words = format!(
            "{split} bytes a file would make more than {MAX_PARTS} files: choose a larger --split, or a destination \
             without such a limit"
        );
        return Err(Error::new(ErrorKind::Usage, words));
    }
    if options.format == Encoding::Raw && !room.holes {
        notes.push(format!("{} knows no holes: zeroes take their full size", room.filesystem));
    }
    Ok(())
}

/// Which region is kept in which file.
fn place(survey: &Survey, base: &str, options: &SaveOptions) -> Result<(Plan, Vec<PlannedFile>)> {
    let layout = &survey.layout;
    let zst = options.format == Encoding::Zst;
    if let Some(parts) = &options.parts {
        let missing = parts.iter().find(|n| !layout.regions.iter().any(|r| r.role == Role::Partition(**n)));
        if let Some(number) = missing {
            let there: Vec<String> = layout
                .regions
                .iter()
                .filter_map(|r| if let Role::Partition(n) = r.role { Some(n.to_string()) } else { None })
                .collect();
            let words = format!("no partition {number} to save; there are: {}", there.join(", "));
            return Err(Error::new(ErrorKind::Usage, words));
        }
    }
    let mut files: Vec<PlannedFile> = vec![];
    let mut placed = vec![];
    let whole = [Region { range: block::ByteRange::span(0, layout.size), role: Role::Whole }];
    let regions = if options.whole { &whole[..] } else { &layout.regions[..] };
    for region in regions {
        let wanted = match (&options.parts, region.role) {
            (Some(parts), Role::Partition(number)) => parts.contains(&number),
            (Some(_), Role::Gap) => false,
            _ => true,
        };
        if !wanted {
            placed.push((*region, None));
            continue;
        }
        let content = survey.regions.iter().find(|s| s.region == *region).and_then(|s| s.content.as_ref());
        let word = content.map_or("img", |content| content.file_word());
        let name = names::stored_file(base, region.role, word, zst);
        let number = files.iter().position(|file| file.name == name).unwrap_or(files.len());
        if number == files.len() {
            let encoding = if region.role == Role::Preamble { Encoding::Raw } else { options.format };
            files.push(PlannedFile { name, length: 0, encoding });
        }
        files[number].length += region.range.len();
        placed.push((*region, Some(number)));
    }
    Ok((Plan::new(layout.size, placed)?, files))
}

/// The ten digits that `disks` prints, of a partition's disk too; of an image file by its bytes.
fn disk_id(subject: &Subject, opener: &Opener<'_>, survey: &Survey) -> Result<String> {
    if let Some(place) = &subject.place {
        return Ok(opener.monitor.disk_id(place.instance())?.to_string());
    }
    let identity = device::Identity {
        size: subject.source.size(),
        sector: u32::try_from(survey.layout.sector.bytes()).unwrap_or(512),
        ..device::Identity::default()
    };
    Ok(device::disk_id(&identity, &*subject.source)?.to_string())
}

fn unfinished(files: &dyn Files, dest: &Path, disk_id: &str) -> Vec<PathBuf> {
    let same = |listed: &crate::catalog::Listed| {
        listed.state == crate::catalog::State::Unfinished
            && listed.manifest.as_ref().is_some_and(|manifest| manifest.disk.id == disk_id)
    };
    let Ok(Found::Folder(folder)) = files.find(dest) else { return vec![] };
    let listed = crate::catalog::backups(&folder).unwrap_or_default();
    listed.into_iter().filter(same).map(|listed| listed.folder).collect()
}
