//! Deleted files of FAT12, FAT16 and FAT32. Deleting one frees its clusters and forgets their order: what is left
//! is the entry, with its name, its size and its first cluster, and the guess that the rest lay behind.

use super::claims::Tally;
use super::content::{Place, push};
use super::evidence::{Evidence, Seen, Trace};
use super::fat_entry::{self, ENTRY, Entry};
use super::names::join;
use super::reads::Reads;
use super::{Chance, Content, DeletedFile, Found};
use crate::fat::{Fat, Width};
use block::field::{u16_at, u32_at};
use block::{ByteRange, Error, ErrorKind, Result};
use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::sync::Arc;

/// Bytes of the table that are read at once: whole entries of each width.
const PIECE: u64 = 12 << 10;
/// Bytes of one folder: 65536 entries.
const FOLDER: u64 = 2 << 20;
/// Folders in folders.
const DEPTH: usize = 64;
/// Clusters of deleted files that are looked at in all.
const STEPS: u64 = 100_000_000;

/// A volume.
struct Volume<'a> {
    reads: &'a Reads,
    shape: Fat<'a>,
    /// A piece of the table, by its number.
    piece: RefCell<Option<(u64, Vec<u8>)>>,
    /// Clusters of deleted files that may still be looked at.
    steps: Cell<u64>,
}

impl Volume<'_> {
    /// What the table says of a cluster; `None` if it cannot be read.
    fn entry(&self, cluster: u32) -> Result<Option<u32>> {
        let number = u64::from(cluster);
        let at = match self.shape.width {
            Width::Fat12 => number.saturating_add(number / 2),
            Width::Fat16 => number.saturating_mul(2),
            Width::Fat32 => number.saturating_mul(4),
        };
        let (piece, inside) = (at / PIECE, usize::try_from(at % PIECE).unwrap_or(usize::MAX));
        let mut kept = self.piece.borrow_mut();
        if kept.as_ref().is_none_or(|(number, _)| *number != piece) {
            let start = piece.saturating_mul(PIECE);
            let len = PIECE.min(self.shape.table.len().saturating_sub(start));
            let bytes = self.reads.get(self.shape.table.start().saturating_add(start), len)?;
            *kept = Some((piece, bytes.unwrap_or_default()));
        }
        let bytes = kept.as_ref().map_or(&[][..], |(_, bytes)| bytes);
        Ok(match self.shape.width {
            Width::Fat12 => {
                let pair = u16_at(bytes, inside);
                pair.map(|pair| u32::from(if cluster % 2 == 1 { pair >> 4 } else { pair & 0x0FFF }))
            }
            Width::Fat16 => u16_at(bytes, inside).map(u32::from),
            Width::Fat32 => u32_at(bytes, inside).map(|entry| entry & 0x0FFF_FFFF),
        })
    }

    fn is_free(&self, cluster: u32) -> Result<bool> {
        Ok(self.shape.place(cluster).is_some() && self.entry(cluster)? == Some(0))
    }

    /// Where the bytes of a folder are, each place once in all folders. `is_gone`: its clusters are free, and are
    /// guessed to lie behind each other as long as they look like entries.
    fn folder(
        &self,
        first: u32,
        is_gone: bool,
        seen: &mut HashSet<u32>,
    ) -> Result<Vec<(ByteRange, Vec<u8>)>> {
        let (mut pieces, mut at, mut len) = (vec![], first, 0u64);
        while let Some(place) = self.shape.place(at).filter(|_| len < FOLDER) {
            if is_gone && !self.is_free(at)? || !seen.insert(at) {
                break;
            }
            let Some(bytes) = self.reads.get(place.start(), place.len())? else { break };
            if is_gone && !looks_like_entries(&bytes, (at == first).then_some(first)) {
                break;
            }
            let ends = bytes.as_chunks::<ENTRY>().0.iter().any(|entry| entry.first() == Some(&0));
            len = len.saturating_add(place.len());
            pieces.push((place, bytes));
            if ends {
                break;
            }
            let next = if is_gone { at.checked_add(1) } else { self.entry(at)? };
            let Some(next) = next else { break };
            at = next;
        }
        Ok(pieces)
    }

    /// The clusters of a file of so many bytes from this one on. They lay behind each other, or those between
    /// that are in use now were in use then. `true`: nothing had to be passed over.
    fn guess(&self, first: u32, size: u64) -> Result<(Content, Tally, bool)> {
        let (mut runs, mut tally, mut left, mut whole) = (vec![], Tally::default(), size, true);
        let starts_free = self.is_free(first)?;
        let mut at = first;
        while left > 0 {
            let Some(place) = self.shape.place(at) else { break };
            let Some(steps) = self.steps.get().checked_sub(1) else { break };
            self.steps.set(steps);
            let free = self.is_free(at)?;
            if free || !starts_free {
                push(&mut runs, place.len().min(left), Place::At(place.start()));
                left = left.saturating_sub(place.len());
                tally.add(!free);
            } else {
                whole = false;
            }
            let Some(next) = at.checked_add(1) else { break };
            at = next;
        }
        if left > 0 {
            tally.add(true);
        }
        Ok((Content::Runs(runs.into()), tally, whole))
    }

    /// Is there a free cluster below this one that no entry ever had, as far as is known?
    fn has_gap(&self, files: &[DeletedFile], below: u32) -> Result<bool> {
        let mut claims: Vec<ByteRange> =
            files.iter().flat_map(|file| file.content.places(file.size)).collect();
        claims.sort_unstable();
        let mut claims = claims.into_iter().peekable();
        for cluster in 2..below {
            let Some(place) = self.shape.place(cluster) else { break };
            while claims.next_if(|claim| claim.end() <= place.start()).is_some() {}
            let claimed = claims.peek().is_some_and(|claim| claim.start() <= place.start());
            // What cannot be read may be free.
            if !claimed && matches!(self.entry(cluster)?, None | Some(0)) {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// Nothing but entries; in the first cluster of a folder the first one is of itself.
fn looks_like_entries(bytes: &[u8], own: Option<u32>) -> bool {
    let entries = bytes.as_chunks::<ENTRY>().0;
    if let Some(own) = own {
        let Some(first) = entries.first() else { return false };
        let low = u16_at(first, 26).map(u32::from);
        return first.starts_with(b".          ") && low == Some(own & 0xFFFF);
    }
    let sane =
        |entry: &[u8; ENTRY]| entry.first() == Some(&0) || entry.get(11).is_some_and(|attr| attr & 0xC0 == 0);
    entries.iter().all(sane)
}

/// A folder that is still to be looked through.
struct Folder {
    pieces: Vec<(ByteRange, Vec<u8>)>,
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
    seen: HashSet<u32>,
    left: Vec<Folder>,
    runs: usize,
    /// Some deleted entry has an upper half of its first cluster; some entry that is there needs one.
    keeps_high: bool,
    needs_high: bool,
}

impl Search<'_> {
    fn look(&mut self, folder: &Folder) -> Result<()> {
        let bytes: Vec<u8> = folder.pieces.iter().flat_map(|(_, bytes)| bytes).copied().collect();
        let mut entries = fat_entry::entries(&bytes);
        for entry in &mut entries {
            if self.volume.shape.width != Width::Fat32 {
                entry.high = 0; // other things are kept there
            }
            if entry.is_gone && entry.high != 0 {
                self.keeps_high = true;
            }
            self.needs_high |= !entry.is_gone && entry.high != 0;
            entry.is_gone |= folder.is_gone;
        }
        let seen = |entry: &Entry| Seen {
            born: entry.created.or(entry.modified),
            cluster: cluster(entry),
            is_gone: entry.is_gone,
        };
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
        let first = cluster(entry);
        let depth = folder.depth.saturating_add(1);
        if depth > DEPTH || self.seen.contains(&first) {
            return Ok(());
        }
        let pieces = self.volume.folder(first, entry.is_gone, &mut self.seen)?;
        if pieces.is_empty() && entry.is_gone {
            self.evidence.lost_folder();
        }
        let path = join(&folder.path, &entry.name);
        self.left.push(Folder { pieces, path, number: first.into(), is_gone: entry.is_gone, depth });
        Ok(())
    }

    fn add(&mut self, folder: &Folder, entry: &Entry) -> Result<()> {
        let Some(id) = position(&folder.pieces, entry.slot) else { return Ok(()) };
        let (first, size) = (cluster(entry), u64::from(entry.size));
        let mut file = if size == 0 {
            DeletedFile::new(id, 0, Content::Bytes(Arc::new([])))
        } else {
            let (content, tally, whole) = self.volume.guess(first, size)?;
            let mut file = DeletedFile::new(id, size, content);
            tally.worsen(&mut file, "some of its place is in use now", "all of its place is in use now");
            if !whole {
                file.worsen(Chance::Partial, "it was not in one piece, and where the others are is a guess");
            }
            file
        };
        if self.found.is_full(file.content.runs().len(), &mut self.runs) {
            return Ok(());
        }
        file = DeletedFile {
            name: Some(entry.name.clone()),
            folder: Some(folder.path.clone()),
            modified: entry.modified,
            accessed: entry.accessed,
            created: entry.created,
            ..file
        };
        let last = entry.modified.max(entry.created);
        self.found.files.push(file);
        self.traces.push(Trace { folder: folder.number, last, cluster: first });
        Ok(())
    }

    fn finish(mut self) -> Result<Found> {
        let has_gap = self.volume.has_gap(&self.found.files, self.evidence.last_cluster())?;
        self.evidence.settle(&mut self.found.files, &self.traces, has_gap);
        // Windows clears the upper half: the first cluster is then one of several.
        if self.needs_high && !self.keeps_high {
            for (file, trace) in self.found.files.iter_mut().zip(&self.traces) {
                if file.size > 0 && trace.cluster < 1 << 16 {
                    file.worsen(
                        Chance::Partial,
                        "half of the number of its first cluster may have been cleared",
                    );
                }
            }
            let words = "Where deleted files begin may have been cleared in part, as Windows does on FAT32.";
            self.found.missing.push(words.to_owned());
        }
        Ok(self.found)
    }
}

fn cluster(entry: &Entry) -> u32 {
    u32::from(entry.high) << 16 | u32::from(entry.low)
}

/// The byte of the volume where an entry of a folder is.
fn position(pieces: &[(ByteRange, Vec<u8>)], slot: usize) -> Option<u64> {
    let mut at = u64::try_from(slot.checked_mul(ENTRY)?).ok()?;
    for (place, _) in pieces {
        if at < place.len() {
            return place.start().checked_add(at);
        }
        at = at.checked_sub(place.len())?;
    }
    None
}

pub(super) fn find(reads: &Reads, type_name: &'static str) -> Result<Found> {
    let bad = || Error::new(ErrorKind::Corrupt, "a boot sector of FAT that makes no sense");
    let shape = Fat::open(&**reads.source())?.ok_or_else(bad)?;
    let volume = Volume { reads, shape, piece: RefCell::new(None), steps: Cell::new(STEPS) };
    let mut seen = HashSet::new();
    let pieces = if volume.shape.width == Width::Fat32 {
        volume.folder(volume.shape.root_cluster, false, &mut seen)?
    } else {
        let place = volume.shape.root;
        reads.get(place.start(), place.len().min(FOLDER))?.map(|bytes| (place, bytes)).into_iter().collect()
    };
    let root = Folder { pieces, path: vec![], number: 0, is_gone: false, depth: 0 };
    let mut search = Search {
        volume,
        found: Found::new(type_name),
        traces: vec![],
        evidence: Evidence::default(),
        seen,
        left: vec![root],
        runs: 0,
        keeps_high: false,
        needs_high: false,
    };
    while let Some(folder) = search.left.pop() {
        search.look(&folder)?;
    }
    search.found.missing.push(
        "FAT forgets where the parts of a deleted file were: each is taken to have been in one piece."
            .to_owned(),
    );
    search.found.missing.push("Folders whose own entry is gone too are not looked for.".to_owned());
    search.finish()
}
