//! btrfs on one device: the extents that the extent tree lists, and what waits in the log tree.
//!
//! What an fsync wrote is not in the extent tree before the next commit: the nodes of the log trees and the
//! data they point to are added.

use super::Mapped;
use super::btrfs_tree::{Chunks, Seen, Trees};
use super::runs::Runs;
use super::volume::{OrCorrupt, Volume, corrupt, le32, le64, unsupported};
use crate::probe::Content;
use block::{ByteRange, Result};

pub(super) const INCOMPAT_METADATA_UUID: u64 = 0x400;
/// All but zoned (0x1000), the second extent tree (0x2000) and the stripe tree (0x4000).
const INCOMPAT_KNOWN: u64 = 0x1_0FFF;
const SUPERBLOCK: u64 = 64 << 10;
/// Copies of the superblock, which belong to no extent.
const COPIES: [u64; 3] = [SUPERBLOCK, 64 << 20, 256 << 30];
const SUPERBLOCK_SIZE: u64 = 4096;
/// The first bytes are never given to a file.
const RESERVED: u64 = 1 << 20;
const EXTENT_TREE: u64 = 2;
const EXTENT_DATA: u64 = 108;
const ROOT_ITEM: u64 = 132;
const EXTENT_ITEM: u64 = 168;
const METADATA_ITEM: u64 = 169;
const CHUNK_ITEM: u64 = 228;
/// Extents and nodes of the log that are kept.
const LOG_MAX: usize = 1 << 20;
const ODD: &str = "its superblock contradicts itself";
const DAMAGED: &str = "a tree of it is damaged";

pub(super) fn map(volume: &Volume<'_>, _: &Content) -> Result<Mapped> {
    let sb = volume.read(SUPERBLOCK, SUPERBLOCK_SIZE)?;
    let field = |at| le64(&sb, at).or_corrupt(ODD);
    let nodesize = le32(&sb, 0x94).filter(|size| size.is_power_of_two() && (4096..=65536).contains(size));
    let nodesize = nodesize.or_corrupt(ODD)?;
    if field(0xBC)? & !INCOMPAT_KNOWN != 0 {
        return Err(unsupported("it has features that are not known here"));
    }
    if field(0x88)? != 1 {
        return Err(unsupported("other devices belong to it"));
    }
    let (devid, device_bytes) = (field(0xC9)?, field(0xD1)?);
    let mut trees = Trees::new(volume, &sb, nodesize)?;
    let mut chunks = Chunks::of_superblock(&sb, devid)?;
    let mut more = vec![];
    trees.walk(&chunks, field(0x58)?, &mut |seen| {
        if let Seen::Item { kind: CHUNK_ITEM, offset, bytes, .. } = seen {
            more.push((offset, bytes.to_vec()));
        }
        Ok(())
    })?;
    more.iter().try_for_each(|(logical, item)| chunks.add(*logical, item))?;
    let root = extent_root(&mut trees, &chunks, field(0x50)?)?;
    let (mut runs, bytes) = extents(&mut trees, &chunks, root)?;
    if bytes != field(0x78)? {
        return Err(corrupt("it counts other used bytes than its extent tree"));
    }
    for (root, name) in [(field(0x50)?, "root"), (field(0x58)?, "chunk"), (root, "extent")] {
        let covered = ByteRange::new(root, nodesize).is_some_and(|node| runs.cover(node));
        covered.then_some(()).or_corrupt(&format!("its {name} tree lies in bytes that it counts as free"))?;
    }
    let log_root = field(0x60)?;
    if log_root != 0 {
        let log = log(&mut trees, &chunks, log_root)?;
        let all = runs.into_list().into_iter().chain(log).collect();
        runs = Runs::from_unsorted(all)?;
    }
    let mut places = vec![ByteRange::span(0, RESERVED.min(device_bytes))];
    let copies = COPIES.iter().filter_map(|at| ByteRange::new(*at, SUPERBLOCK_SIZE));
    places.extend(copies.filter(|copy| copy.end() <= device_bytes));
    for chunk in chunks.iter() {
        let first = runs.list().partition_point(|run| run.end() <= chunk.logical.start());
        let here = runs.list().get(first..).unwrap_or(&[]).iter();
        for run in here.take_while(|run| run.start() < chunk.logical.end()) {
            let run = run.intersect(chunk.logical);
            places.extend(chunk.copies.iter().map(|copy| run.moved(chunk.logical.start(), *copy)));
        }
    }
    let more = (runs.gap() > 0).then(|| "its free space lies in very many pieces".to_owned());
    Ok(Mapped { used: Runs::from_unsorted(places)?, end: device_bytes, more })
}

/// Where the extent tree begins.
fn extent_root(trees: &mut Trees<'_>, chunks: &Chunks, root: u64) -> Result<u64> {
    let mut found = None;
    trees.walk(chunks, root, &mut |seen| {
        if let Seen::Item { object: EXTENT_TREE, kind: ROOT_ITEM, bytes, .. } = seen {
            found = Some(le64(bytes, 176).or_corrupt(DAMAGED)?);
        }
        Ok(())
    })?;
    found.or_corrupt("it has no extent tree")
}

/// All extents, as logical addresses, and their bytes in all.
fn extents(trees: &mut Trees<'_>, chunks: &Chunks, root: u64) -> Result<(Runs, u64)> {
    let (mut runs, mut sum, node) = (Runs::default(), 0u64, trees.node);
    trees.walk(chunks, root, &mut |seen| {
        let Seen::Item { object, kind, offset, .. } = seen else { return Ok(()) };
        let length = match kind {
            EXTENT_ITEM => offset,
            METADATA_ITEM => node,
            _ => return Ok(()),
        };
        let extent = ByteRange::new(object, length).or_corrupt(DAMAGED)?;
        chunks.find(extent)?;
        sum = sum.saturating_add(length);
        runs.add(extent)
    })?;
    Ok((runs, sum))
}

/// What the log trees take: their nodes, and the data of the files in them.
fn log(trees: &mut Trees<'_>, chunks: &Chunks, root: u64) -> Result<Vec<ByteRange>> {
    let (mut taken, mut roots) = (vec![], vec![]);
    let node = trees.node;
    let take = |start: u64, length: u64, taken: &mut Vec<ByteRange>| {
        let range = ByteRange::new(start, length).or_corrupt(DAMAGED)?;
        chunks.find(range)?;
        taken.push(range);
        if taken.len() <= LOG_MAX { Ok(()) } else { Err(unsupported("its log is very long")) }
    };
    trees.walk(chunks, root, &mut |seen| match seen {
        Seen::Node(at) => take(at, node, &mut taken),
        Seen::Item { kind: ROOT_ITEM, bytes, .. } => {
            roots.push(le64(bytes, 176).or_corrupt(DAMAGED)?);
            Ok(())
        }
        Seen::Item { .. } => Ok(()),
    })?;
    for root in roots {
        trees.walk(chunks, root, &mut |seen| match seen {
            Seen::Node(at) => take(at, node, &mut taken),
            Seen::Item { kind: EXTENT_DATA, bytes, .. } => match data(bytes).or_corrupt(DAMAGED)? {
                Some((start, length)) => take(start, length, &mut taken),
                None => Ok(()),
            },
            Seen::Item { .. } => Ok(()),
        })?;
    }
    Ok(taken)
}

/// The extent that an item of a file points to; `None` if its bytes are in the item, or it is a hole.
fn data(item: &[u8]) -> Option<Option<(u64, u64)>> {
    let inline = *item.get(20)? == 0;
    if inline {
        return Some(None);
    }
    let (disk_bytenr, disk_num_bytes) = (le64(item, 21)?, le64(item, 29)?);
    Some((disk_bytenr != 0).then_some((disk_bytenr, disk_num_bytes)))
}
