//! Directories of XFS: in the inode, or as blocks of entries (kernel, `fs/xfs/libxfs/xfs_da_format.h`).

use super::inode::{FORMAT_LOCAL, Inode};
use super::map::Map;
use super::{Volume, corrupt, hash};
use crate::fs::FileKind;
use block::field::{be16_at, be32_at, be64_at, bytes_at};
use block::{ByteRange, Result};
use std::sync::Arc;

/// Blocks of entries lie in front of this byte of a directory; behind it are those of hashes.
pub(super) const LEAVES: u64 = 32 << 30;
/// What a free piece of a block begins with.
const FREE: u16 = 0xFFFF;

/// A name and its file.
pub(super) struct Entry<'a> {
    pub(super) name: &'a [u8],
    pub(super) inode: u64,
    pub(super) kind: Option<FileKind>,
}

/// What is called for each; `false` ends it.
type Each<'a> = &'a mut dyn FnMut(Entry<'_>) -> Result<bool>;

/// Every name but `.` and `..`.
pub(super) fn each(volume: &Arc<Volume>, dir: &Inode, each: Each<'_>) -> Result<()> {
    if dir.content.format == FORMAT_LOCAL {
        return short(volume, &dir.content.bytes, each).ok_or_else(|| dir.corrupt("entries"))?;
    }
    let map = Map::new(volume, &dir.content, u64::MAX)?;
    let size = volume.geometry.dir_block;
    // A block is in several runs if its pieces lie apart.
    let (mut next, mut total) = (0, 0u64);
    for run in map.runs().iter().filter(|run| run.range.start() < LEAVES) {
        let first = run.range.start().checked_div(size).and_then(|block| block.checked_mul(size));
        let mut at = first.unwrap_or(0).max(next);
        while at < run.range.end().min(LEAVES) {
            let more = block(volume, &map.bytes(at, size)?, dir, each)?;
            if !more {
                return Ok(());
            }
            at = at.saturating_add(size);
            total = total.saturating_add(size);
            // A directory shares no block: more of it than there is of the volume leads round in circles.
            if total.checked_div(volume.geometry.block).is_none_or(|blocks| blocks > volume.geometry.blocks) {
                return Err(dir.corrupt("extents"));
            }
        }
        next = at;
    }
    Ok(())
}

/// The file of one name, through the hashes where there are some.
pub(super) fn lookup(volume: &Arc<Volume>, dir: &Inode, name: &[u8]) -> Result<Option<u64>> {
    let size = volume.geometry.dir_block;
    let mut found = None;
    let mut look = |entry: Entry<'_>| {
        if entry.name == name {
            found = Some(entry.inode);
        }
        Ok(entry.name != name)
    };
    // One block has its hashes in itself, and is looked through as quickly.
    if dir.content.format == FORMAT_LOCAL || dir.metadata.size <= size {
        each(volume, dir, &mut look)?;
        return Ok(found);
    }
    let map = Map::new(volume, &dir.content, u64::MAX)?;
    for address in hash::addresses(volume, &map, hash::of(name))? {
        // In units of eight bytes.
        let at = u64::from(address).saturating_mul(8);
        let inside = at.checked_rem(size).unwrap_or(0);
        let bytes = map.bytes(at.saturating_sub(inside), size)?;
        head(volume, &bytes, dir)?;
        let inside = usize::try_from(inside).unwrap_or(usize::MAX);
        match entry(&bytes, inside, volume.geometry.ftype) {
            Some((Some(entry), _)) if entry.name == name => return Ok(Some(entry.inode)),
            Some(_) => {}
            None => return Err(dir.corrupt("entries")),
        }
    }
    Ok(None)
}

/// Entries in the inode: counts, the parent, then each with its name. `None` if they do not fit.
fn short(volume: &Volume, bytes: &[u8], each: Each<'_>) -> Option<Result<()>> {
    let (count, wide) = (*bytes.first()?, *bytes.get(1)? != 0);
    let number = |at: usize| if wide { be64_at(bytes, at) } else { be32_at(bytes, at).map(u64::from) };
    let width = if wide { 8 } else { 4 };
    let mut at = 2usize.checked_add(width)?;
    for _ in 0..count {
        let start = at.checked_add(3)?;
        let end = start.checked_add(usize::from(*bytes.get(at)?))?;
        let name = bytes.get(start..end)?;
        let ftype = usize::from(volume.geometry.ftype);
        let kind = if ftype == 1 { kind_of(*bytes.get(end)?) } else { None };
        let behind = end.checked_add(ftype)?;
        match each(Entry { name, inode: number(behind)?, kind }) {
            Ok(true) => {}
            Ok(false) => return Some(Ok(())),
            Err(error) => return Some(Err(error)),
        }
        at = behind.checked_add(width)?;
    }
    Some(Ok(()))
}

/// Where the entries of a block are.
fn head(volume: &Volume, bytes: &[u8], dir: &Inode) -> Result<std::ops::Range<usize>> {
    let range = match bytes_at(bytes, 0).as_ref() {
        Some(b"XD2D") => Some((16, bytes.len())),
        Some(b"XDD3") => Some((64, bytes.len())),
        Some(b"XD2B") => before_hashes(bytes).map(|end| (16, end)),
        Some(b"XDB3") => before_hashes(bytes).map(|end| (64, end)),
        _ => None,
    };
    let Some((start, end)) = range.filter(|(start, end)| start <= end) else {
        return Err(dir.corrupt("entries"));
    };
    if (start == 64) != volume.geometry.v5 {
        return Err(dir.corrupt("entries"));
    }
    volume.geometry.check(bytes, 4, "a directory")?;
    Ok(start..end)
}

/// In a directory of one block hashes follow, and their count.
fn before_hashes(bytes: &[u8]) -> Option<usize> {
    let tail = bytes.len().checked_sub(8)?;
    let hashes = usize::try_from(be32_at(bytes, tail)?).ok()?.checked_mul(8)?;
    tail.checked_sub(hashes)
}

/// Calls for every entry of a block; `false` if it was told to end.
fn block(volume: &Volume, bytes: &[u8], dir: &Inode, each: Each<'_>) -> Result<bool> {
    let range = head(volume, bytes, dir)?;
    let mut at = range.start;
    while at < range.end {
        let (found, len) = entry(bytes, at, volume.geometry.ftype).ok_or_else(|| dir.corrupt("entries"))?;
        if let Some(entry) = found.filter(|entry| !matches!(entry.name, b"." | b".."))
            && !each(entry)?
        {
            return Ok(false);
        }
        at = at.saturating_add(len);
    }
    Ok(true)
}

/// The entry at a place, or none if it is free, and its bytes, which are not 0.
fn entry(bytes: &[u8], at: usize, ftype: bool) -> Option<(Option<Entry<'_>>, usize)> {
    if be16_at(bytes, at)? == FREE {
        let len = usize::from(be16_at(bytes, at.checked_add(2)?)?);
        return (len != 0).then_some((None, len));
    }
    let inode = be64_at(bytes, at)?;
    let start = at.checked_add(9)?;
    let end = start.checked_add(usize::from(*bytes.get(at.checked_add(8)?)?))?;
    let name = bytes.get(start..end)?;
    let kind = if ftype { kind_of(*bytes.get(end)?) } else { None };
    // A tag of two bytes closes it, on a multiple of eight.
    let len = end.checked_sub(at)?.checked_add(usize::from(ftype))?.checked_add(2)?.next_multiple_of(8);
    ByteRange::new(0, u64::try_from(len).ok()?)?;
    Some((Some(Entry { name, inode, kind }), len))
}

/// `XFS_DIR3_FT_*`. Devices do not say here which.
fn kind_of(ftype: u8) -> Option<FileKind> {
    match ftype {
        1 => Some(FileKind::File),
        2 => Some(FileKind::Directory),
        5 => Some(FileKind::Fifo),
        6 => Some(FileKind::Socket),
        7 => Some(FileKind::Symlink),
        _ => None,
    }
}

/// Where a link leads: in the inode, or in blocks of its own.
pub(super) fn link(volume: &Arc<Volume>, inode: &Inode) -> Result<Vec<u8>> {
    /// Bytes that a link may have.
    const MOST: u64 = 4096;
    let size = inode.metadata.size;
    let len = usize::try_from(size.min(MOST)).unwrap_or(0);
    if size > MOST {
        return Err(inode.corrupt("length of the link"));
    }
    if inode.content.format == FORMAT_LOCAL {
        let target = inode.content.bytes.get(..len);
        return target.map(<[u8]>::to_vec).ok_or_else(|| inode.corrupt("length of the link"));
    }
    let map = Map::new(volume, &inode.content, u64::MAX)?;
    let mut target = vec![];
    // Each run of blocks has a header.
    for run in map.runs() {
        let bytes = map.bytes(run.range.start(), run.range.len().min(65536))?;
        target.extend_from_slice(super::map::unwrapped(volume, &bytes, b"XSLM")?);
        if target.len() >= len {
            target.truncate(len);
            return Ok(target);
        }
    }
    Err(corrupt("blocks of a link"))
}

#[cfg(test)]
#[allow(clippy::indexing_slicing, clippy::arithmetic_side_effects)]
mod tests {
    use super::*;

    fn made(name: &[u8], ftype: u8) -> Vec<u8> {
        let mut bytes = 77u64.to_be_bytes().to_vec();
        bytes.push(u8::try_from(name.len()).unwrap());
        bytes.extend_from_slice(name);
        bytes.push(ftype);
        bytes.extend_from_slice(&[0; 16]);
        bytes
    }

    #[test]
    fn an_entry_ends_on_a_multiple_of_eight() {
        for (name, len) in [(&b"a"[..], 16), (b"abcd", 16), (b"abcde", 24)] {
            let bytes = made(name, 7);
            let (entry, taken) = entry(&bytes, 0, true).unwrap();
            let entry = entry.unwrap();
            assert_eq!((entry.name, entry.inode, taken), (name, 77, len));
            assert_eq!(entry.kind, Some(FileKind::Symlink));
        }
    }

    #[test]
    fn what_is_cut_short_or_of_no_length_is_none() {
        assert!(entry(&made(b"abc", 1)[..11], 0, true).is_none());
        assert!(entry(&[0xFF, 0xFF, 0, 0], 0, true).is_none());
        assert!(entry(&[0xFF, 0xFF], 0, true).is_none());
        assert!(matches!(entry(&[0xFF, 0xFF, 0, 24], 0, true), Some((None, 24))));
        assert_eq!(before_hashes(&[0; 4]), None);
        assert_eq!(before_hashes(&[0, 0, 0, 9, 0, 0, 0, 0]), None);
        assert_eq!(before_hashes(&[[0; 8], [0, 0, 0, 1, 0, 0, 0, 0]].concat()), Some(0));
    }
}
