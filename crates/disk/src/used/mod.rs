//! Which bytes of a filesystem are in use, and which of those are its journal: one table, `MAPPERS`, one row and
//! one file a filesystem.
//!
//! What is not in use is left out of a backup where that was asked for, so every doubt is answered with "in
//! use": a filesystem that was not closed properly and whose journal is not understood, a feature that is not
//! known, a number that contradicts another. So is what may be no journal.

mod btrfs;
mod btrfs_tree;
mod exfat;
mod ext;
mod ext_journal;
mod f2fs;
mod fat;
mod hfsplus;
mod ntfs;
mod runs;
mod volume;
mod xfs;

use crate::probe::{Content, StateKind};
use block::{ByteRange, Error, ErrorKind, ReadAt, Result};
use runs::Runs;
use volume::{Volume, corrupt};

/// How much a map is worth.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Exactness {
    /// As the filesystem itself counts.
    Exact,
    /// Some of what is in use by the map may be free, and why.
    Conservative(String),
    /// All of it counts as used, and why.
    Unknown(String),
}

/// Which bytes of a volume are in use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsedMap {
    used: Vec<ByteRange>,
    size: u64,
    exactness: Exactness,
}

impl UsedMap {
    /// All of `size` bytes, and why.
    pub fn whole(size: u64, why: impl Into<String>) -> Self {
        Self { used: vec![ByteRange::span(0, size)], size, exactness: Exactness::Unknown(why.into()) }
    }

    /// The runs in use: ascending, not empty, apart from each other, inside the volume.
    pub fn used(&self) -> &[ByteRange] {
        &self.used
    }

    /// What lies between them, in order: free runs of at least `shortest` bytes.
    pub fn free(&self, shortest: u64) -> impl Iterator<Item = ByteRange> + '_ {
        let ends = std::iter::once(0).chain(self.used.iter().map(|run| run.end()));
        let starts = self.used.iter().map(|run| run.start()).chain([self.size]);
        let gaps = ends.zip(starts).map(|(end, start)| ByteRange::span(end, start));
        gaps.filter(move |gap| gap.len() >= shortest.max(1))
    }

    /// Bytes in use.
    pub fn used_bytes(&self) -> u64 {
        self.used.iter().fold(0, |sum, run| sum.saturating_add(run.len()))
    }

    /// Bytes that are free.
    pub fn free_bytes(&self) -> u64 {
        self.size.saturating_sub(self.used_bytes())
    }

    /// What it is worth.
    pub fn exactness(&self) -> &Exactness {
        &self.exactness
    }
}

/// What a mapper found.
struct Mapped {
    used: Runs,
    /// The byte behind its last: what follows belongs to somebody else, and is in use.
    end: u64,
    /// Why some of what is used may be free.
    more: Option<String>,
}

/// How a filesystem shows that it was closed properly.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Closed {
    /// It is said to be clean.
    Said,
    /// Nothing is said against it.
    NotDenied,
    /// Nothing is said against it, or its journal has something to replay, which the mapper looks at.
    Replays,
}

/// Finds what is in use.
type FindUsed = fn(&Volume<'_>, &Content) -> Result<Mapped>;
/// Finds where the journal lies, in any order.
type FindJournal = fn(&Volume<'_>) -> Result<Vec<ByteRange>>;

/// A row: whose map is made how.
struct Mapper {
    /// As blkid calls them.
    types: &'static [&'static str],
    closed: Closed,
    map: FindUsed,
    /// `None`: of a kind that has no journal in a place of its own.
    journal: Option<FindJournal>,
    /// Where the superblock lies that a mount changes.
    superblock: Option<ByteRange>,
}

impl Mapper {
    /// Of a kind whose journal and superblock are not told apart from its other blocks.
    const fn plain(types: &'static [&'static str], closed: Closed, map: FindUsed) -> Self {
        Self { types, closed, map, journal: None, superblock: None }
    }

    fn of(content: &Content) -> Option<&'static Self> {
        MAPPERS.iter().find(|mapper| mapper.types.contains(&content.type_name))
    }
}

/// Every mapper.
const MAPPERS: &[Mapper] = &[
    Mapper {
        journal: Some(ext::journal),
        superblock: Some(ByteRange::span(1024, 2048)),
        ..Mapper::plain(&["ext2", "ext3", "ext4"], Closed::Replays, ext::map)
    },
    Mapper::plain(&["vfat"], Closed::NotDenied, fat::map),
    Mapper::plain(&["exfat"], Closed::Said, exfat::map),
    Mapper { journal: Some(ntfs::journal), ..Mapper::plain(&["ntfs"], Closed::Said, ntfs::map) },
    Mapper {
        journal: Some(xfs::journal),
        superblock: Some(ByteRange::span(0, 512)),
        ..Mapper::plain(&["xfs"], Closed::Said, xfs::map)
    },
    Mapper::plain(&["btrfs"], Closed::Replays, btrfs::map),
    Mapper::plain(&["f2fs"], Closed::Said, f2fs::map),
    Mapper::plain(&["hfsplus"], Closed::Said, hfsplus::map),
];

/// Which bytes of `source`, a partition or volume by itself, are in use; `content` is what was recognised in
/// it. What cannot be told or contradicts itself counts as used, with the reason; only failures that are not
/// of these bytes (the device is gone, the user stopped it) are errors.
pub fn used(source: &dyn ReadAt, content: &Content) -> Result<UsedMap> {
    let size = source.size();
    let Some(mapper) = Mapper::of(content) else {
        return Ok(UsedMap::whole(size, format!("there is no map of {}", content.title)));
    };
    if let Some(why) = not_closed(mapper.closed, content) {
        return Ok(UsedMap::whole(size, why));
    }
    match (mapper.map)(&Volume::new(source), content).and_then(|mapped| finish(mapped, size)) {
        Ok(map) => Ok(map),
        Err(error) if is_of_the_bytes(&error) => Ok(UsedMap::whole(size, error.to_string())),
        Err(error) => Err(error.context("reading which blocks are in use")),
    }
}

/// Where the journal or log of a filesystem lies: runs of bytes of `source`, ascending, not empty, apart from
/// each other. None where it has none, where it is on another device, of a kind whose journal is not known here
/// (ext3, ext4, XFS and NTFS are), and where what leads to it is damaged. `content` and errors as of [`used`].
pub fn journal(source: &dyn ReadAt, content: &Content) -> Result<Vec<ByteRange>> {
    let find = Mapper::of(content).filter(|_| content.also.is_empty()).and_then(|mapper| mapper.journal);
    let Some(find) = find else { return Ok(vec![]) };
    let inside = |runs: &Runs| runs.list().last().is_none_or(|last| last.end() <= source.size());
    match find(&Volume::new(source)).and_then(Runs::from_unsorted) {
        Ok(runs) if inside(&runs) => Ok(runs.into_list()),
        Ok(_) => Ok(vec![]),
        Err(error) if is_of_the_bytes(&error) => Ok(vec![]),
        Err(error) => Err(error.context("looking for the journal")),
    }
}

/// The superblock that drivers write when they mount a filesystem, in bytes of its volume: for ext2, ext3 and
/// ext4 bytes 1024 to 2047, for XFS the first 512. It holds no file's content. `None`: another kind.
pub fn superblock(content: &Content) -> Option<ByteRange> {
    Mapper::of(content).filter(|_| content.also.is_empty()).and_then(|mapper| mapper.superblock)
}

/// A failure that these bytes or their medium cause, whoever reads them.
fn is_of_the_bytes(error: &Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::Corrupt
            | ErrorKind::Unsupported
            | ErrorKind::OutOfRange
            | ErrorKind::Media
            | ErrorKind::Absent
    )
}

/// Why the bytes of a filesystem are not complete as they are.
fn not_closed(closed: Closed, content: &Content) -> Option<String> {
    if let Some(other) = content.also.first() {
        return Some(format!("it may also be {other}"));
    }
    let fine =
        |kind| kind == StateKind::Clean || kind == StateKind::JournalReplay && closed == Closed::Replays;
    if let Some(state) = content.states.iter().find(|state| !fine(state.kind)) {
        return Some(state.text.clone());
    }
    let said = content.states.iter().any(|state| state.kind == StateKind::Clean);
    (closed == Closed::Said && !said).then(|| "it does not say whether it was closed properly".to_owned())
}

/// Checks what a mapper found, and adds what lies behind the filesystem.
fn finish(Mapped { used, end, more }: Mapped, size: u64) -> Result<UsedMap> {
    if end > size || used.list().last().is_some_and(|last| last.end() > size) {
        return Err(corrupt("it is larger than the place where it lies"));
    }
    let pieces = used.gap() > 0;
    let mut list = used.into_list();
    list.push(ByteRange::span(end, size));
    let used = Runs::from_unsorted(list)?;
    if !used.cover(ByteRange::span(0, size.min(512))) {
        return Err(corrupt("its first sector is free by its own count"));
    }
    let pieces = (pieces || used.gap() > 0)
        .then(|| "its free space lies in very many pieces; the shorter ones count as used".to_owned());
    let exactness = more.or(pieces).map_or(Exactness::Exact, Exactness::Conservative);
    Ok(UsedMap { used: used.into_list(), size, exactness })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn free_is_what_lies_between() {
        let r = ByteRange::span;
        let map = UsedMap { used: vec![r(0, 10), r(20, 30)], size: 35, exactness: Exactness::Exact };
        assert_eq!(map.free(1).collect::<Vec<_>>(), [r(10, 20), r(30, 35)]);
        assert_eq!(map.free(6).collect::<Vec<_>>(), [r(10, 20)]);
        assert_eq!((map.used_bytes(), map.free_bytes()), (20, 15));
        assert_eq!(UsedMap::whole(9, "").free(0).count(), 0);
    }

    #[test]
    fn what_lies_behind_is_used_and_what_leaves_the_volume_is_no_map() {
        let mapped = |runs: &[(u64, u64)], end| {
            let mut used = Runs::default();
            runs.iter().try_for_each(|(from, to)| used.add(ByteRange::span(*from, *to))).unwrap();
            Mapped { used, end, more: None }
        };
        let map = finish(mapped(&[(0, 1024)], 4096), 5000).unwrap();
        assert_eq!(map.used(), [ByteRange::span(0, 1024), ByteRange::span(4096, 5000)]);
        assert_eq!(finish(mapped(&[(0, 4608)], 4096), 5000).unwrap().used_bytes(), 5000);
        assert!(finish(mapped(&[(0, 1024)], 5001), 5000).is_err());
        assert!(finish(mapped(&[(0, 5001)], 4096), 5000).is_err());
        assert!(finish(mapped(&[(256, 1024)], 4096), 5000).is_err());
    }
}
