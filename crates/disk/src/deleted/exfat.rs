//! Deleted files of exFAT: their entries are all there. Where a file was in one piece, as nearly all are, its place
//! is exact; else its chain may still be in the table.

use super::bits::Bitmap;
use super::claims::Tally;
use super::content::{Place, Run, Runs, push, written_to};
use super::evidence::{Evidence, Seen, Trace};
use super::exfat_entry::{self, ENTRY, Entry};
use super::names::join;
use super::reads::Reads;
use super::{Chance, Content, DeletedFile, Found};
use block::field::{bytes_at, u32_at, u64_at};
use block::{ByteRange, Error, ErrorKind, ReadAt, Result, Source};
use std::collections::HashSet;
use std::sync::Arc;

/// Bytes of one folder that are looked at; it may have 256 MiB.
const FOLDER: u64 = 32 << 20;
/// Bytes of a folder that are read at once.
const PIECE: u64 = 1 << 20;
/// Folders in folders.
const DEPTH: usize = 64;
/// Clusters of one file that are followed.
const CHAIN: u64 = 1 << 20;

/// A volume.
struct Volume<'a> {
    reads: &'a Reads,
    /// Bytes of a cluster.
    cluster: u64,
    /// Clusters there are; they count from 2.
    clusters: u32,
    /// Where cluster 2 begins.
    heap: u64,
    table: ByteRange,
    root: u32,
    bitmap: Bitmap,
}

impl<'a> Volume<'a> {
    fn open(reads: &'a Reads) -> Result<Self> {
        let bad = || Error::new(ErrorKind::Corrupt, "a boot sector of exFAT that makes no sense");
        let boot = reads.get(0, 512)?.ok_or_else(bad)?;
        let mut volume = Self::parse(reads, &boot).ok_or_else(bad)?;
        // The bitmap is named in the root folder.
        let root = volume.chain(volume.root, FOLDER)?;
        let file = Runs::new(reads.source(), &root, root.iter().map(|run| run.len).sum());
        let size = file.size().min(PIECE);
        let bytes = reads.get_of(&file, 0, size)?.unwrap_or_default();
        let entry = bytes.as_chunks::<ENTRY>().0.iter().find(|entry| entry.starts_with(&[0x81, 0]));
        if let Some((first, size)) = entry.and_then(|entry| u32_at(entry, 20).zip(u64_at(entry, 24))) {
            let runs = volume.chain(first, size)?;
            volume.bitmap.file =
                Arc::new(Runs::new(reads.source(), &runs, size.min(u64::from(volume.clusters).div_ceil(8))));
        }
        Ok(volume)
    }

    fn parse(reads: &'a Reads, boot: &[u8]) -> Option<Self> {
        let [bytes_per_sector_shift, sectors_per_cluster_shift] = bytes_at(boot, 108)?;
        if bytes_at(boot, 3)? != *b"EXFAT   " || !(9..=12).contains(&bytes_per_sector_shift) {
            return None;
        }
        let sector = 1u64.checked_shl(bytes_per_sector_shift.into())?;
        let cluster = sector.checked_mul(1u64.checked_shl(sectors_per_cluster_shift.into())?)?;
        let place = |at| u64::from(u32_at(boot, at)?).checked_mul(sector);
        let (heap, table) = (place(88)?, ByteRange::new(place(80)?, place(84)?)?);
        let there = reads.size().checked_sub(heap)?.checked_div(cluster).filter(|_| cluster <= 32 << 20)?;
        let clusters = u32_at(boot, 92)?.min(u32::try_from(there).unwrap_or(u32::MAX)).min(0xFFFF_FFF5);
        let none: Source = Arc::new(Runs::new(reads.source(), &[], 0));
        let bitmap = Bitmap { file: none, units: clusters.into() };
        Some(Self { reads, cluster, clusters, heap, table, root: u32_at(boot, 96)?, bitmap })
    }

    /// The bytes of a cluster; `None` if there is no such one.
    fn place(&self, cluster: u32) -> Option<ByteRange> {
        let index = cluster.checked_sub(2).filter(|index| *index < self.clusters)?;
        ByteRange::new(self.heap.checked_add(u64::from(index).checked_mul(self.cluster)?)?, self.cluster)
    }

    /// The cluster behind this one; `None` if the table does not say.
    fn next(&self, cluster: u32) -> Result<Option<u32>> {
        let at = self.table.start().saturating_add(u64::from(cluster).saturating_mul(4));
        if !self.table.contains(at.saturating_add(3)) {
            return Ok(None);
        }
        Ok(self.reads.get(at, 4)?.and_then(|entry| u32_at(&entry, 0)))
    }

    /// The runs of a chain, up to `size` bytes.
    fn chain(&self, first: u32, size: u64) -> Result<Vec<Run>> {
        let (mut runs, mut at, mut left) = (vec![], first, size.min(CHAIN.saturating_mul(self.cluster)));
        while let Some(place) = self.place(at).filter(|_| left > 0) {
            push(&mut runs, place.len(), Place::At(place.start()));
            left = left.saturating_sub(place.len());
            let Some(next) = self.next(at)? else { break };
            at = next;
        }
        Ok(runs)
    }

    /// Runs of one piece.
    fn piece(&self, first: u32, size: u64) -> Vec<Run> {
        let Some(place) = self.place(first) else { return vec![] };
        let end = self.heap.saturating_add(u64::from(self.clusters).saturating_mul(self.cluster));
        let len = size.checked_next_multiple_of(self.cluster).unwrap_or(u64::MAX);
        let mut runs = vec![];
        push(&mut runs, len.min(end.saturating_sub(place.start())), Place::At(place.start()));
        runs
    }

    /// The chain of a deleted file, if the table still has all of it.
    fn old_chain(&self, first: u32, size: u64) -> Result<Option<Vec<Run>>> {
        const END: u32 = 0xFFFF_FFFF;
        let count = size.div_ceil(self.cluster);
        let (mut runs, mut at) = (vec![], first);
        if count > CHAIN {
            return Ok(None);
        }
        for number in 1..=count {
            let (Some(place), Some(next)) = (self.place(at), self.next(at)?) else { return Ok(None) };
            push(&mut runs, place.len(), Place::At(place.start()));
            if (next == END) != (number == count) {
                return Ok(None);
            }
            at = next;
        }
        Ok(Some(runs))
    }

    /// What of these bytes is in use now.
    fn tally(&self, places: impl Iterator<Item = ByteRange>) -> Result<Tally> {
        let mut tally = Tally::default();
        for place in places {
            let first = place.start().saturating_sub(self.heap).checked_div(self.cluster).unwrap_or(0);
            let end = place.end().saturating_sub(self.heap).div_ceil(self.cluster);
            self.bitmap.tally(self.reads, first, end.saturating_sub(first), &mut tally)?;
        }
        Ok(tally)
    }

    /// Is there a free cluster below this one that no entry ever had, as far as is known?
    fn has_gaps(&self, files: &[DeletedFile], below: u32) -> Result<bool> {
        let mut claims: Vec<ByteRange> =
            files.iter().flat_map(|file| file.content.places(file.size)).collect();
        claims.sort_unstable();
        let mut claims = claims.into_iter().peekable();
        let end = u64::from(below).saturating_sub(2);
        self.bitmap.has_gap(self.reads, end, |unit| {
            let place = self.heap.saturating_add(unit.saturating_mul(self.cluster));
            while claims.next_if(|claim| claim.end() <= place).is_some() {}
            claims.peek().is_some_and(|claim| claim.start() <= place)
        })
    }
}

/// A folder that is still to be looked through.
struct Folder {
    runs: Vec<Run>,
    path: Vec<u8>,
    /// A number of its own: where it begins.
    number: u64,
    is_gone: bool,
    depth: usize,
}

/// All of it as it is found.
struct Search<'a> {
    volume: Volume<'a>,
    found: Found,
    traces: Vec<Trace>,
    evidence: Evidence,
    /// First bytes of runs of folders, each looked at once.
    seen: HashSet<u64>,
    left: Vec<Folder>,
    runs: usize,
}

impl Search<'_> {
    /// The bytes of a folder, up to its end.
    fn bytes(&self, folder: &Folder) -> Result<Vec<u8>> {
        let size: u64 = folder.runs.iter().fold(0, |sum, run| run.len.saturating_add(sum));
        let file = Runs::new(self.volume.reads.source(), &folder.runs, size.min(FOLDER));
        let mut all = vec![];
        for piece in ByteRange::span(0, file.size()).pieces(PIECE) {
            let Some(bytes) = self.volume.reads.get_of(&file, piece.start(), piece.len())? else { break };
            let ends = bytes.as_chunks::<ENTRY>().0.iter().any(|entry| entry.first() == Some(&0));
            all.extend(bytes);
            if ends {
                break;
            }
        }
        Ok(all)
    }

    fn look(&mut self, folder: &Folder) -> Result<()> {
        let mut entries = exfat_entry::entries(&self.bytes(folder)?);
        if entries.is_empty() && folder.is_gone {
            self.evidence.lost_folder();
        }
        for entry in &mut entries {
            entry.is_gone |= folder.is_gone;
        }
        let seen =
            |entry: &Entry| Seen { born: entry.created, cluster: entry.cluster, is_gone: entry.is_gone };
        self.evidence.folder(folder.number, &entries.iter().map(seen).collect::<Vec<_>>());
        for entry in &entries {
            if entry.is_folder {
                self.enter(folder, entry)?;
            } else if entry.is_gone {
                self.add(folder, entry)?;
            }
        }
        Ok(())
    }

    fn enter(&mut self, folder: &Folder, entry: &Entry) -> Result<()> {
        let size = entry.size.min(FOLDER);
        let runs = if entry.is_one_piece || entry.is_gone {
            self.volume.piece(entry.cluster, size)
        } else {
            self.volume.chain(entry.cluster, size)?
        };
        let places = Content::Runs(runs.clone().into());
        // A deleted one whose clusters are others' now is not one any more.
        let taken = entry.is_gone && self.volume.tally(places.places(size))?.any_gone();
        if taken {
            self.evidence.lost_folder();
        }
        let depth = folder.depth.saturating_add(1);
        let is_new = places.places(size).next().is_some_and(|place| self.seen.insert(place.start()));
        if !taken && is_new && depth <= DEPTH {
            let path = join(&folder.path, &entry.name);
            let number = entry.cluster.into();
            self.left.push(Folder { runs, path, number, is_gone: entry.is_gone, depth });
        }
        Ok(())
    }

    fn add(&mut self, folder: &Folder, entry: &Entry) -> Result<()> {
        let at = u64::try_from(entry.slot.saturating_mul(ENTRY)).unwrap_or(u64::MAX);
        let Some(id) = position(&folder.runs, at) else { return Ok(()) };
        let mut is_guess = false;
        let content = if entry.size == 0 {
            Content::Bytes(Arc::new([]))
        } else {
            let old = match entry.is_one_piece {
                true => None,
                false => self.volume.old_chain(entry.cluster, entry.size)?,
            };
            is_guess = !entry.is_one_piece && old.is_none();
            let runs = old.unwrap_or_else(|| self.volume.piece(entry.cluster, entry.size));
            Content::Runs(written_to(&runs, entry.written).into())
        };
        let mut file = DeletedFile::new(id, entry.size, content);
        let mut tally = self.volume.tally(file.content.places(file.size))?;
        let reach = file.content.runs().iter().fold(0u64, |sum, run| run.len.saturating_add(sum));
        if reach < file.size {
            tally.add(true);
        }
        tally.worsen(&mut file, "some of its place is in use now", "all of its place is in use now");
        if is_guess && entry.size > self.volume.cluster {
            file.worsen(Chance::Partial, "it was not in one piece, and where the others are is a guess");
        }
        if self.found.is_full(file.content.runs().len(), &mut self.runs) {
            return Ok(());
        }
        self.found.files.push(DeletedFile {
            name: Some(entry.name.clone()),
            folder: Some(folder.path.clone()),
            modified: entry.modified,
            accessed: entry.accessed,
            created: entry.created,
            ..file
        });
        let last = entry.modified.max(entry.created);
        self.traces.push(Trace { folder: folder.number, last, cluster: entry.cluster });
        Ok(())
    }
}

/// The byte of the volume where byte `at` of a folder is.
fn position(runs: &[Run], mut at: u64) -> Option<u64> {
    for run in runs {
        match run.place {
            Place::At(start) if at < run.len => return start.checked_add(at),
            _ => at = at.checked_sub(run.len)?,
        }
    }
    None
}

pub(super) fn find(reads: &Reads, type_name: &'static str) -> Result<Found> {
    let volume = Volume::open(reads)?;
    let runs = volume.chain(volume.root, FOLDER)?;
    let root = Folder { runs, path: vec![], number: 0, is_gone: false, depth: 0 };
    let mut search = Search {
        volume,
        found: Found::new(type_name),
        traces: vec![],
        evidence: Evidence::default(),
        seen: HashSet::new(),
        left: vec![root],
        runs: 0,
    };
    while let Some(folder) = search.left.pop() {
        search.look(&folder)?;
    }
    let Search { volume, mut found, traces, evidence, .. } = search;
    let gaps = volume.has_gaps(&found.files, evidence.last_cluster())?;
    evidence.settle(&mut found.files, &traces, gaps);
    found.missing.push("Folders whose own entry is gone too are not looked for.".to_owned());
    Ok(found)
}
