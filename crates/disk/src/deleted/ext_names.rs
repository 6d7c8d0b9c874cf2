//! Names of deleted inodes of ext: in older copies of folders, and in what is left between the entries of newer
//! ones.

use super::ext::Volume;
use super::ext_log::{Candidate, Inodes};
use super::ext_map::Mapped;
use super::jbd2::Log;
use super::names::{is_name, join};
use block::Result;
use block::field::{bytes_at, u16_at, u32_at};
use std::collections::{HashMap, HashSet};

/// Inode of the root.
const ROOT: u64 = 2;
/// Folders in folders.
const DEPTH: usize = 64;
/// Of those that had an inode in turn, the last ones are named.
const TURNS: usize = 64;
/// Blocks of one folder that are searched.
const BLOCKS: u64 = 16 << 10;

/// A name in a block of a folder.
struct Entry<'a> {
    inode: u64,
    name: &'a [u8],
    /// In the list, not between its entries.
    is_listed: bool,
}

/// The best name of a candidate so far.
struct Named {
    rank: (u8, u32),
    name: Vec<u8>,
    /// The block that it is in, and the folder if the block says so.
    block: u64,
    folder: Option<u64>,
}

/// Name and folder, as far as they are known.
type Known = (Option<Vec<u8>>, Option<Vec<u8>>);

/// Names and folders of candidates.
pub(super) struct Names<'a> {
    volume: &'a Volume<'a>,
    log: &'a Log,
    gone: &'a [Candidate],
    named: Vec<Option<Named>>,
    /// Blocks of folders: first, behind the last, the folder.
    blocks: Vec<(u64, u64, u64)>,
    /// Paths that are known.
    paths: HashMap<u64, Option<Vec<u8>>>,
}

impl<'a> Names<'a> {
    /// Looks through all copies of folders.
    pub(super) fn read(volume: &'a Volume<'a>, log: &'a Log, inodes: &'a Inodes) -> Result<Self> {
        let named = inodes.gone.iter().map(|_| None).collect();
        let (blocks, paths) = (vec![], HashMap::new());
        let mut names = Self { volume, log, gone: &inodes.gone, named, blocks, paths };
        names.blocks = names.folder_blocks(&inodes.folders)?;
        let mut bitmaps = HashSet::new();
        for group in &volume.groups {
            bitmaps.extend([group.block_bitmap, group.inode_bitmap]);
        }
        let tables: HashSet<u64> = volume.groups.iter().map(|group| group.inode_table).collect();
        for copy in log.copies.iter().filter(|copy| !bitmaps.contains(&copy.block)) {
            if tables.contains(&copy.block) {
                continue;
            }
            if let Some(bytes) = log.bytes(volume.reads, copy)? {
                names.look(copy.block, copy.sequence, &bytes);
            }
        }
        // What folders are now still has names between its entries.
        let ranges: Vec<_> = names.blocks.iter().map(|(first, end, _)| *first..*end).collect();
        for block in ranges.into_iter().flatten().take(usize::try_from(BLOCKS).unwrap_or(usize::MAX)) {
            if let Some(bytes) = volume.on_disk(block)? {
                names.look(block, u32::MAX, &bytes);
            }
        }
        Ok(names)
    }

    /// Name and folder of the candidate with this index.
    pub(super) fn of(&mut self, index: usize) -> Result<Known> {
        self.of_within(index, DEPTH)
    }

    fn of_within(&mut self, index: usize, depth: usize) -> Result<Known> {
        let Some(Some(named)) = self.named.get(index) else { return Ok((None, None)) };
        let name = named.name.clone();
        let folder = named.folder.or_else(|| {
            let at = self.blocks.partition_point(|(first, ..)| *first <= named.block).checked_sub(1)?;
            self.blocks.get(at).filter(|(_, end, _)| named.block < *end).map(|(.., folder)| *folder)
        });
        let folder = match folder {
            Some(folder) => self.path(folder, depth)?,
            None => None,
        };
        Ok((Some(name), folder))
    }

    /// Where the blocks of folders are.
    fn folder_blocks(&self, there: &[(u64, Vec<u8>)]) -> Result<Vec<(u64, u64, u64)>> {
        let mut blocks = vec![];
        let gone = self.gone.iter().filter(|gone| gone.is_folder()).map(|gone| (gone.inode, &gone.raw));
        for (inode, raw) in there.iter().map(|(inode, raw)| (*inode, raw)).chain(gone) {
            for range in self.ranges(raw)? {
                blocks.push((range.start, range.end, inode));
            }
        }
        blocks.sort_unstable();
        Ok(blocks)
    }

    /// The blocks of a folder.
    fn ranges(&self, raw: &[u8]) -> Result<Vec<std::ops::Range<u64>>> {
        let newest = |block: u64| match self.log.of_block(block).last() {
            Some(copy) => self.log.bytes(self.volume.reads, copy),
            None => self.volume.on_disk(block),
        };
        let size = u32_at(raw, 4).map_or(0, u64::from).min(BLOCKS.saturating_mul(self.volume.block));
        let Some(mapped) = Mapped::of(self.volume, raw, size, &newest)? else { return Ok(vec![]) };
        let content = super::Content::Runs(mapped.runs.into());
        let block = |at: u64| at.checked_div(self.volume.block).unwrap_or(0);
        Ok(content.places(size).map(|place| block(place.start())..block(place.end())).collect())
    }

    /// Takes the names of a block if it is one of a folder.
    fn look(&mut self, block: u64, sequence: u32, bytes: &[u8]) {
        let Some(entries) = entries(bytes, self.volume.inodes) else { return };
        let folder =
            entries.iter().find(|entry| entry.is_listed && entry.name == b".").map(|entry| entry.inode);
        for entry in &entries {
            let to = self.gone.partition_point(|gone| gone.inode <= entry.inode);
            let from =
                self.gone.partition_point(|gone| gone.inode < entry.inode).max(to.saturating_sub(TURNS));
            // Of those that had the inode in turn, only those that had it then.
            let mut born = 0;
            for index in from..to {
                let Some(gone) = self.gone.get(index) else { break };
                let end = gone.gone.unwrap_or(gone.seen.saturating_add(1));
                let rank = match entry.is_listed {
                    true if (born..end).contains(&sequence) => (2, sequence),
                    // What is left of a name between others may be that of whoever had the inode before: it
                    // counts where it was left by the deletion itself, or where nobody else had the inode.
                    false if gone.gone == Some(sequence) => (1, 1),
                    false if sequence == u32::MAX && to.saturating_sub(from) == 1 => (1, 0),
                    _ => (0, 0),
                };
                born = end;
                let Some(best) = self.named.get_mut(index).filter(|_| rank.0 > 0 && is_name(entry.name))
                else {
                    continue;
                };
                if best.as_ref().is_none_or(|best| best.rank < rank) {
                    *best = Some(Named { rank, name: entry.name.to_vec(), block, folder });
                }
            }
        }
    }

    /// The path of a folder, there or not.
    fn path(&mut self, folder: u64, depth: usize) -> Result<Option<Vec<u8>>> {
        if folder == ROOT {
            return Ok(Some(vec![]));
        }
        if let Some(known) = self.paths.get(&folder) {
            return Ok(known.clone());
        }
        let Some(depth) = depth.checked_sub(1) else { return Ok(None) };
        // A folder that leads back to itself has no path.
        self.paths.insert(folder, None);
        let path = match self.name_now(folder)? {
            Some((parent, name)) => self.path(parent, depth)?.map(|above| join(&above, &name)),
            None => match self.gone.iter().rposition(|gone| gone.inode == folder && gone.is_folder()) {
                Some(index) => match self.of_within(index, depth)? {
                    (Some(name), Some(above)) => Some(join(&above, &name)),
                    _ => None,
                },
                None => None,
            },
        };
        self.paths.insert(folder, path.clone());
        Ok(path)
    }

    /// The folder above, and the name there, of a folder that is there now.
    fn name_now(&self, folder: u64) -> Result<Option<(u64, Vec<u8>)>> {
        let above = self.find_in(folder, |entry| entry.name == b"..")?;
        let Some((parent, _)) = above else { return Ok(None) };
        let found = self.find_in(parent, |entry| entry.inode == folder && is_name(entry.name))?;
        Ok(found.map(|(_, name)| (parent, name)))
    }

    /// The first entry of a folder that is this one.
    fn find_in(&self, folder: u64, is_it: impl Fn(&Entry<'_>) -> bool) -> Result<Option<(u64, Vec<u8>)>> {
        let Some(raw) = self.volume.inode(folder)? else { return Ok(None) };
        let is_folder = u16_at(&raw, 0).is_some_and(|mode| mode & 0xF000 == 0x4000);
        if !is_folder || u16_at(&raw, 0x1A) == Some(0) {
            return Ok(None);
        }
        for block in self.ranges(&raw)?.into_iter().flatten() {
            let Some(bytes) = self.volume.on_disk(block)? else { continue };
            let entries = entries(&bytes, self.volume.inodes).unwrap_or_default();
            if let Some(entry) = entries.iter().find(|entry| entry.is_listed && is_it(entry)) {
                return Ok(Some((entry.inode, entry.name.to_vec())));
            }
        }
        Ok(None)
    }
}

/// The entries of a block of a folder; `None` if it is none.
fn entries(block: &[u8], inodes: u64) -> Option<Vec<Entry<'_>>> {
    let (mut found, mut at) = (vec![], 0usize);
    while at < block.len() {
        let rec_len = usize::from(u16_at(block, at.checked_add(4)?)?);
        let end = at.checked_add(rec_len)?;
        if rec_len < 8 || rec_len % 4 != 0 || end > block.len() {
            return None;
        }
        let entry = entry(block, at, end, true);
        // The first and the last may be without an inode: removed, or a checksum.
        let inode = u32_at(block, at)?;
        if u64::from(inode) > inodes || (inode != 0 && entry.is_none()) {
            return None;
        }
        let used = entry.as_ref().map_or(8, |entry| entry.name.len().saturating_add(8));
        found.extend(entry);
        let mut hidden = at.checked_add(used)?.next_multiple_of(4);
        if inode == 0 {
            hidden = at;
        }
        while hidden.checked_add(12)? <= end {
            let left = self::entry(block, hidden, end, false).filter(|left| left.inode <= inodes);
            let step = left.as_ref().map_or(4, |left| left.name.len().saturating_add(8));
            hidden = hidden.checked_add(step)?.next_multiple_of(4);
            found.extend(left);
        }
        at = end;
    }
    Some(found)
}

/// An entry that ends before `end`.
fn entry(block: &[u8], at: usize, end: usize, is_listed: bool) -> Option<Entry<'_>> {
    let inode = u64::from(u32_at(block, at)?);
    let [name_len, file_type] = bytes_at(block, at.checked_add(6)?)?;
    let start = at.checked_add(8)?;
    let name = block.get(start..start.checked_add(name_len.into())?)?;
    let fits = start.checked_add(name_len.into())? <= end;
    let sane = inode != 0 && name_len != 0 && file_type <= 7 && fits;
    (sane && !name.iter().any(|byte| matches!(byte, 0 | b'/'))).then_some(Entry { inode, name, is_listed })
}

#[cfg(test)]
#[allow(clippy::indexing_slicing, clippy::arithmetic_side_effects)]
mod tests {
    use super::*;

    /// Entries of a block of 128 bytes: inode, length, name.
    fn block(parts: &[(u32, u16, &str)]) -> Vec<u8> {
        let (mut block, mut at) = (vec![0; 128], 0);
        for (inode, rec_len, name) in parts {
            block[at..at + 4].copy_from_slice(&inode.to_le_bytes());
            block[at + 4..at + 6].copy_from_slice(&rec_len.to_le_bytes());
            (block[at + 6], block[at + 7]) = (u8::try_from(name.len()).unwrap(), 1);
            block[at + 8..at + 8 + name.len()].copy_from_slice(name.as_bytes());
            at += usize::from(*rec_len);
        }
        block
    }

    fn read(block: &[u8]) -> Option<Vec<(u64, String, bool)>> {
        let text = |entry: &Entry<'_>| String::from_utf8_lossy(entry.name).into_owned();
        let entries = entries(block, 1000)?;
        Some(entries.iter().map(|entry| (entry.inode, text(entry), entry.is_listed)).collect())
    }

    #[test]
    fn names_between_others_are_found() {
        let mut deleted = block(&[(12, 12, "."), (13, 16, "gone.txt"), (14, 100, "here")]);
        let all = |listed: bool| {
            vec![(12, ".".into(), true), (13, "gone.txt".into(), listed), (14, "here".into(), true)]
        };
        assert_eq!(read(&deleted), Some(all(true)));
        // The entry in front takes the room of one that is removed; the first of a block loses its inode.
        deleted[4] = 28;
        assert_eq!(read(&deleted), Some(all(false)));
        assert_eq!(read(&block(&[(0, 128, "lost")])), Some(vec![]));
    }

    #[test]
    fn what_is_no_folder_is_none() {
        let good = block(&[(12, 12, "."), (14, 116, "here")]);
        assert!(read(&good).is_some());
        // An inode that there is not, lengths that are too short, odd, too long; a name that is none.
        for (at, byte) in [(3, 1), (4, 4), (4, 13), (17, 1), (6, 9), (20, b'/'), (20, 0)] {
            let mut bad = good.clone();
            bad[at] = byte;
            assert_eq!(read(&bad), None, "byte {at}");
        }
        assert_eq!(read(&[0; 128]), None);
    }
}
