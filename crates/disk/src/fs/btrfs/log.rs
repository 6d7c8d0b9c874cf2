//! What was synced since the last commit of btrfs, as changes that lie over the subvolumes (kernel,
//! `fs/btrfs/tree-log.c`). Nothing is written.

use super::corrupt;
use super::file::{Piece, pieces};
use super::inode::{DIR_INDEX, EXTENT, INODE, INODE_EXTREF, INODE_REF, ROOT, XATTR, entries, references};
use super::tree::{self, Key, Root};
use super::volume::Volume;
use crate::fs::Xattr;
use block::field::{u32_at, u64_at};
use block::{ByteRange, Error, ErrorKind, Result};
use std::collections::{BTreeMap, BTreeSet};

/// The object under which the tree of logs keeps the log of each subvolume.
const LOGS: u64 = 0u64.wrapping_sub(6);
/// A range of a directory's places in which the log knows all names.
const KNOWN_RANGE: u8 = 72;
/// Bytes of items, more than a log has.
const MOST: usize = 64 << 20;

/// A file that a name leads to: inode, and what sort.
pub(super) type Target = (u64, u8);

/// Names by directory; `None` of one that is gone.
type Names = BTreeMap<(u64, Vec<u8>), Option<Target>>;

/// What is newer of one subvolume.
#[derive(Default)]
pub(super) struct Changes {
    pub(super) inodes: BTreeMap<u64, Logged>,
    pub(super) names: Names,
}

/// What is newer of one file.
#[derive(Default)]
pub(super) struct Logged {
    item: Vec<u8>,
    pub(super) xattrs: Vec<Xattr>,
    pieces: Vec<Piece>,
}

impl Logged {
    /// Was only noted that it exists, since something that was synced needs it?
    fn exists_only(&self) -> bool {
        u64_at(&self.item, 0) == Some(0)
    }

    fn mode(&self) -> u32 {
        u32_at(&self.item, 52).unwrap_or(0)
    }

    fn is_gone(&self) -> bool {
        u32_at(&self.item, 40) == Some(0)
    }

    /// What the inode is now.
    pub(super) fn item(&self, base: Option<Vec<u8>>) -> Vec<u8> {
        let Some(mut base) = base.filter(|_| self.exists_only()) else { return self.item.clone() };
        let is_file = self.mode() & 0o170_000 == 0o100_000;
        if let Some(size) = self.item.get(16..24).filter(|size| is_file && **size != [0; 8])
            && let Some(place) = base.get_mut(16..24)
        {
            place.copy_from_slice(size);
        }
        base
    }

    /// What its extents are now: those of before up to `size`, and over them those of the log.
    pub(super) fn pieces(&self, base: &[Piece], size: u64, sector: u64) -> Vec<Piece> {
        let end = size.checked_next_multiple_of(sector).unwrap_or(u64::MAX);
        let mut all = vec![];
        for piece in base {
            let mut at = piece.range.start();
            let first = self.pieces.partition_point(|over| over.range.end() <= at);
            let over =
                self.pieces.iter().skip(first).take_while(|over| over.range.start() < piece.range.end());
            let ends = over.map(|over| (over.range.start(), over.range.end())).chain([(u64::MAX, u64::MAX)]);
            for (start, behind) in ends {
                all.extend(piece.cut(ByteRange::span(at, start.min(end).max(at))));
                at = at.max(behind);
            }
        }
        all.extend(self.pieces.iter().cloned());
        all.sort_by_key(|piece| piece.range.start());
        all
    }
}

/// The changes of every subvolume that has some.
pub(super) fn changes(
    volume: &Volume,
    log: Root,
    subvolume: &dyn Fn(u64) -> Result<Root>,
) -> Result<BTreeMap<u64, Changes>> {
    let mut roots = vec![];
    tree::items(volume, log, (LOGS, ROOT), &mut |id, item| {
        roots.push((id, super::root_of(item).ok_or_else(|| corrupt("the root of a log"))?));
        Ok(true)
    })?;
    roots.into_iter().map(|(id, root)| Ok((id, of_subvolume(volume, root, subvolume(id)?)?))).collect()
}

/// The items of a log, sorted out.
#[derive(Default)]
struct Items {
    inodes: BTreeMap<u64, Logged>,
    /// By file and parent.
    references: BTreeMap<(u64, u64), BTreeSet<Vec<u8>>>,
    /// By directory and place.
    places: BTreeMap<(u64, u64), Vec<u8>>,
    ranges: Vec<(u64, u64, u64)>,
}

fn of_subvolume(volume: &Volume, log: Root, base: Root) -> Result<Changes> {
    let mut items = Items::default();
    let mut bytes = 0usize;
    let first = Key { object: 0, kind: 0, offset: 0 };
    tree::walk(volume, log, first, &mut |key, item| {
        bytes = bytes.saturating_add(item.len());
        if bytes > MOST {
            return Err(Error::new(ErrorKind::Unsupported, "it holds more than fits in memory"));
        }
        items.add(volume, key, item)?;
        Ok(true)
    })?;
    items.inodes.retain(|_, logged| !logged.item.is_empty());
    let names = items.names(volume, base)?;
    Ok(Changes { inodes: items.inodes, names })
}

impl Items {
    fn add(&mut self, volume: &Volume, key: Key, item: &[u8]) -> Result<()> {
        let wrong = || corrupt("an item of the log");
        match key.kind {
            INODE => self.inodes.entry(key.object).or_default().item = item.to_vec(),
            INODE_REF | INODE_EXTREF => {
                let found = references(key, item).ok_or_else(wrong)?.into_iter();
                // The topmost directory is in itself, as `..`, which is no name of a file.
                for (parent, name) in found.filter(|(parent, _)| *parent != key.object) {
                    self.references.entry((key.object, parent)).or_default().insert(name.to_vec());
                }
            }
            XATTR => {
                let found = entries(item).ok_or_else(wrong)?.into_iter();
                let found = found.map(|e| Xattr { name: e.name.to_vec(), value: e.value.to_vec() });
                self.inodes.entry(key.object).or_default().xattrs.extend(found);
            }
            KNOWN_RANGE => {
                self.ranges.push((key.object, key.offset, u64_at(item, 0).ok_or_else(wrong)?));
            }
            DIR_INDEX => {
                self.places.insert((key.object, key.offset), item.to_vec());
            }
            EXTENT => {
                let piece = Piece::parse(key.offset, item, volume.superblock.sector)?;
                let pieces = &mut self.inodes.entry(key.object).or_default().pieces;
                if pieces.last().is_some_and(|last| last.range.end() > key.offset) {
                    return Err(wrong());
                }
                pieces.push(piece);
            }
            _ => {}
        }
        Ok(())
    }

    /// Names that came and went.
    fn names(&self, volume: &Volume, base: Root) -> Result<Names> {
        let wrong = || corrupt("an item of the log");
        let mut names = Names::new();
        // A place that the log should know and does not is no longer taken.
        for (dir, start, end) in &self.ranges {
            let from = Key { object: *dir, kind: DIR_INDEX, offset: *start };
            tree::walk(volume, base, from, &mut |key, item| {
                if (key.object, key.kind) != (*dir, DIR_INDEX) || key.offset > *end {
                    return Ok(false);
                }
                if !self.places.contains_key(&(*dir, key.offset)) {
                    for entry in entries(item).ok_or_else(wrong)? {
                        names.insert((*dir, entry.name.to_vec()), None);
                    }
                }
                Ok(true)
            })?;
        }
        for ((dir, _), item) in &self.places {
            for entry in entries(item).ok_or_else(wrong)? {
                let inode = entry.location.object;
                if entry.location.kind == INODE && self.exists(volume, base, inode)? {
                    names.insert((*dir, entry.name.to_vec()), Some((inode, entry.sort)));
                }
            }
        }
        for ((inode, parent), new) in &self.references {
            let Some(logged) = self.inodes.get(inode).filter(|logged| !logged.is_gone()) else { continue };
            for name in new {
                names.insert((*parent, name.clone()), Some((*inode, sort_of(logged.mode()))));
            }
            for old in old_names(volume, base, *inode, *parent)? {
                if !new.contains(&old) {
                    names.entry((*parent, old)).or_insert(None);
                }
            }
        }
        Ok(names)
    }

    fn exists(&self, volume: &Volume, base: Root, inode: u64) -> Result<bool> {
        let key = Key { object: inode, kind: INODE, offset: 0 };
        Ok(self.inodes.contains_key(&inode) || tree::find(volume, base, key)?.is_some())
    }
}

/// Names that a file had in a directory.
fn old_names(volume: &Volume, base: Root, inode: u64, parent: u64) -> Result<Vec<Vec<u8>>> {
    let mut names = vec![];
    let from = Key { object: inode, kind: INODE_REF, offset: 0 };
    tree::walk(volume, base, from, &mut |key, item| {
        if key.object != inode || key.kind > INODE_EXTREF {
            return Ok(false);
        }
        let found = references(key, item).ok_or_else(|| corrupt("the names of a file"))?;
        names.extend(found.into_iter().filter(|(of, _)| *of == parent).map(|(_, name)| name.to_vec()));
        Ok(true)
    })?;
    Ok(names)
}

/// As directories say it.
fn sort_of(mode: u32) -> u8 {
    match mode & 0o170_000 {
        0o100_000 => 1,
        0o040_000 => 2,
        0o020_000 => 3,
        0o060_000 => 4,
        0o010_000 => 5,
        0o140_000 => 6,
        0o120_000 => 7,
        _ => 0,
    }
}

/// The extents of a file, with those of the log over them.
pub(super) fn merged(
    volume: &Volume,
    base: Root,
    inode: u64,
    logged: Option<&Logged>,
    size: u64,
) -> Result<Vec<Piece>> {
    let before = pieces(volume, base, inode)?;
    Ok(match logged.filter(|logged| !logged.exists_only()) {
        Some(logged) => logged.pieces(&before, size, volume.superblock.sector),
        None => before,
    })
}
