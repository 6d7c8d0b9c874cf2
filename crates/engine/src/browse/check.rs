//! Reads every file of every filesystem: can they be read, and which of them do lost sectors hit?

use super::noting::Lost;
use super::{Step, Volume, Volumes, Walk, is_lost, resolve};
use crate::{Context, Side};
use block::{ByteRange, Error, ErrorKind, Extent, ExtentKind, ReadAt, Result, extents};
use disk::fs::{FileKind, FileSystem, NodeId};
use std::time::{Duration, Instant};

/// Bytes that are read at once, and again after a failure.
const BUFFER: usize = 1 << 20;
const PIECE: usize = 4096;
/// Faults that are kept; all are counted.
const FAULTS: usize = 10_000;
/// Lost places that are kept.
const HITS: usize = 100_000;
/// How long a damaged file is tried.
const PATIENCE: Duration = Duration::from_secs(20);

/// What was looked at of one partition.
#[derive(Clone, Debug)]
pub struct PartChecked {
    /// As it is typed.
    pub name: String,
    /// The filesystem, as blkid calls it.
    pub type_name: Option<&'static str>,
    /// Why its files were not looked at.
    pub refused: Option<String>,
    /// Files.
    pub files: u64,
    /// Folders.
    pub folders: u64,
    /// Links, pipes and the like.
    pub others: u64,
    /// Bytes that were read.
    pub bytes: u64,
}

/// A file that cannot be read, or not all of it.
#[derive(Clone, Debug)]
pub struct FileFault {
    /// Of which partition.
    pub part: String,
    /// From the root of the filesystem.
    pub path: Vec<u8>,
    /// What failed.
    pub what: String,
    /// First and last sector of the first place, where it was the disk that failed.
    pub lba: Option<(u64, u64)>,
    /// Its bytes are not there: they were not read when the backup was made. Else they are wrong.
    pub lost: bool,
}

/// All of it.
#[derive(Clone, Debug, Default)]
pub struct FilesChecked {
    /// By number.
    pub parts: Vec<PartChecked>,
    /// The first of the faults.
    pub faults: Vec<FileFault>,
    /// All of them.
    pub failed: u64,
    /// Of those, files whose bytes are wrong.
    pub wrong: u64,
    /// Places of the disk that failed.
    hits: Vec<ByteRange>,
}

/// A check of one filesystem under way.
struct Check<'a> {
    volumes: &'a Volumes,
    volume: &'a Volume,
    fs: &'a dyn FileSystem,
    ctx: &'a Context,
    part: PartChecked,
    all: &'a mut FilesChecked,
    buf: Vec<u8>,
    /// The first place in the content of this file that failed.
    first: Option<Lost>,
}

/// Reads all files of those volumes that `wanted` says.
pub fn check_files(
    volumes: &Volumes,
    ctx: &Context,
    wanted: impl Fn(&Volume) -> bool,
) -> Result<FilesChecked> {
    let all: Vec<Volume> = volumes.all()?.into_iter().filter(|volume| wanted(volume)).collect();
    let bytes = all.iter().filter(|volume| volume.is_readable()).map(|volume| volume.source.size()).sum();
    ctx.expect(&[(bytes, crate::context::UNIT)]);
    ctx.phase("reading files", Side::Source, bytes, crate::context::UNIT);
    let mut checked = FilesChecked::default();
    for volume in &all {
        let mut part = PartChecked {
            name: volume.name.clone(),
            type_name: volume.content.as_ref().map(|content| content.type_name),
            refused: None,
            files: 0,
            folders: 0,
            others: 0,
            bytes: 0,
        };
        volumes.noting().take();
        match volume.open() {
            Err(error) => {
                part.refused = Some(error.to_string());
                // What is no filesystem is no fault; one that cannot be opened is.
                if volume.is_readable() && error.kind() != ErrorKind::Unsupported {
                    checked.fault(volumes, &volume.name, b"", error);
                }
                checked.parts.push(part);
            }
            Ok(fs) => {
                let buf = vec![0; BUFFER];
                let mut check =
                    Check { volumes, volume, fs: &*fs, ctx, part, all: &mut checked, buf, first: None };
                check.walk()?;
                let part = check.part;
                checked.parts.push(part);
            }
        }
    }
    Ok(checked)
}

impl FilesChecked {
    fn fault(&mut self, volumes: &Volumes, part: &str, path: &[u8], error: Error) {
        let place = volumes.noting().take();
        self.fault_at(volumes, part, path, error, place);
    }

    fn fault_at(&mut self, volumes: &Volumes, part: &str, path: &[u8], error: Error, place: Option<Lost>) {
        let place = place.filter(|_| is_lost(&error));
        let lost = matches!(error.kind(), ErrorKind::Media | ErrorKind::Absent);
        self.failed += 1;
        self.wrong += u64::from(!lost);
        if let Some(place) = place {
            self.hit(place.range);
        }
        if self.faults.len() < FAULTS {
            let lba = place.map(|place| volumes.sectors(place.range));
            let (part, path) = (part.to_owned(), path.to_vec());
            self.faults.push(FileFault { part, path, what: error.to_string(), lba, lost });
        }
    }

    fn hit(&mut self, range: ByteRange) {
        if self.hits.len() < HITS {
            self.hits.push(range);
        }
    }

    /// What of these places no file and no folder was seen to need: metadata that nobody asked for, or free space.
    pub fn without_files(&self, lost: &[ByteRange]) -> Vec<ByteRange> {
        let mut map = vec![];
        let mut hits = self.hits.clone();
        hits.sort_by_key(|hit| hit.start());
        for range in lost {
            let mut left = *range;
            for hit in &hits {
                if hit.end() <= left.start() {
                    continue;
                }
                if hit.start() >= left.end() || left.is_empty() {
                    break;
                }
                let [front, behind] = left.minus(*hit);
                Extent { range: front, kind: ExtentKind::Bad }.append(&mut map);
                left = behind;
            }
            Extent { range: left, kind: ExtentKind::Bad }.append(&mut map);
        }
        map.into_iter().map(|extent| extent.range).collect()
    }
}

impl Check<'_> {
    fn walk(&mut self) -> Result<()> {
        let root = match resolve(self.fs, b"", true) {
            Ok(root) => root,
            Err(error) => {
                self.fault(b"", error);
                return Ok(());
            }
        };
        let mut walk = Walk::new(self.fs, root);
        while let Some(step) = walk.next() {
            self.ctx.check_cancel()?;
            match step {
                Step::Leave => {}
                Step::Failed(error) => self.fault(walk.path(), error),
                Step::Entry { node, kind } => {
                    match kind {
                        FileKind::Directory => self.part.folders += 1,
                        FileKind::File => self.part.files += 1,
                        _ => self.part.others += 1,
                    }
                    if let Err(error) = self.file(node, kind) {
                        if error.kind() == ErrorKind::Cancelled {
                            return Err(error);
                        }
                        self.fault(walk.path(), error);
                    }
                }
            }
        }
        Ok(())
    }

    fn fault(&mut self, path: &[u8], error: Error) {
        let place = self.first.take().or_else(|| self.volumes.noting().take());
        self.all.fault_at(self.volumes, &self.volume.name, path, error, place);
    }

    /// All that there is of a file. The first failure, when all of it was tried.
    fn file(&mut self, node: NodeId, kind: FileKind) -> Result<()> {
        self.volumes.noting().take();
        self.first = None;
        self.fs.metadata(node)?;
        self.fs.xattrs(node)?;
        if kind == FileKind::Symlink {
            self.fs.read_link(node)?;
        }
        let mut first = None;
        if kind == FileKind::File {
            let content = self.fs.open(node, None)?;
            first = self.read(&*content)?;
        }
        for stream in self.fs.streams(node)? {
            let content = self.fs.open(node, Some(&stream.name))?;
            let failed = self.read(&*content)?;
            first = first.or(failed);
        }
        first.map_or(Ok(()), Err)
    }

    fn read(&mut self, content: &dyn ReadAt) -> Result<Option<Error>> {
        let (mut first, mut failing) = (None, Duration::ZERO);
        for extent in extents(content, ByteRange::span(0, content.size())) {
            let extent = extent?;
            if extent.kind == ExtentKind::Zero {
                continue;
            }
            let (mut at, end) = (extent.range.start(), extent.range.end());
            while at < end {
                self.ctx.check_cancel()?;
                let len = usize::try_from(end - at).unwrap_or(BUFFER).min(BUFFER);
                match content.read_at(at, &mut self.buf[..len]) {
                    Ok(()) => self.part.bytes += len as u64,
                    Err(error) if !is_lost(&error) => return Err(error),
                    Err(error) => {
                        // Every place that is lost, so that what is left over is known.
                        let mut noted = self.volumes.noting().take();
                        let mut from = 0;
                        while from < len && failing < PATIENCE {
                            let piece = PIECE.min(len - from);
                            let began = Instant::now();
                            let read = content.read_at(at + from as u64, &mut self.buf[..piece]);
                            if let Err(failed) = read {
                                failing += began.elapsed();
                                let place = self.volumes.noting().take();
                                if let Some(place) = place.filter(|_| is_lost(&failed)) {
                                    self.all.hit(place.range);
                                    noted = noted.or(Some(place));
                                }
                            }
                            from += piece;
                        }
                        if first.is_none() {
                            self.first = self.first.take().or(noted);
                            first = Some(error);
                        }
                        if failing >= PATIENCE {
                            return Ok(first);
                        }
                    }
                }
                self.ctx.advance(len as u64);
                at += len as u64;
            }
        }
        Ok(first)
    }
}
