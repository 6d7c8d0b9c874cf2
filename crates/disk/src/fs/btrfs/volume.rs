//! A btrfs on one device: logical addresses, nodes and data, with their checksums.

use super::chunk::{CHUNK, Chunk};
use super::corrupt;
use super::superblock::Superblock;
use super::tree::{self, Key, Node, Root};
use crate::fs::guard::check_time;
use block::{ByteRange, Error, ErrorKind, Result, Source};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Bytes of nodes that are kept in each of two generations.
const KEPT: usize = 8 << 20;
/// The object and kind of the checksums of data.
const SUMS: (u64, u8) = (0u64.wrapping_sub(10), 128);

pub(super) struct Volume {
    pub(super) source: Source,
    pub(super) superblock: Superblock,
    /// Ascending.
    chunks: Vec<Chunk>,
    nodes: Mutex<Nodes>,
    /// The tree of checksums of data, once it is known.
    pub(super) sums: Option<Root>,
}

/// Nodes read lately: when there are enough young ones, they become the old ones, which are forgotten.
#[derive(Default)]
struct Nodes {
    young: HashMap<u64, Arc<Node>>,
    old: HashMap<u64, Arc<Node>>,
}

impl Nodes {
    fn get(&mut self, at: u64, most: usize) -> Option<Arc<Node>> {
        if let Some(node) = self.young.get(&at) {
            return Some(Arc::clone(node));
        }
        let node = self.old.remove(&at)?;
        self.put(at, &node, most);
        Some(node)
    }

    fn put(&mut self, at: u64, node: &Arc<Node>, most: usize) {
        if self.young.len() >= most {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(at, Arc::clone(node));
    }
}

impl Volume {
    pub(super) fn new(source: Source) -> Result<Self> {
        let superblock = Superblock::read(&*source)?;
        let mut volume = Self { source, superblock, chunks: vec![], nodes: Mutex::default(), sums: None };
        let devid = volume.superblock.devid;
        let parse = |key, item: &[u8]| Chunk::parse(key, item, devid).ok_or_else(|| corrupt("a chunk"));
        let first = volume.superblock.system_chunks.iter().map(|(key, item)| parse(*key, item));
        volume.chunks = sorted(first.collect::<Result<_>>()?)?;
        let mut all = vec![];
        let from = Key { object: 0, kind: 0, offset: 0 };
        tree::walk(&volume, volume.superblock.chunks, from, &mut |key, item| {
            if key.kind == CHUNK {
                all.push(parse(key, item)?);
            }
            Ok(true)
        })?;
        volume.chunks = sorted(all)?;
        Ok(volume)
    }

    /// A node of a tree, by the address, level and commit that what is above it says.
    pub(super) fn node(&self, root: Root) -> Result<Arc<Node>> {
        check_time()?;
        let most = KEPT.checked_div(self.superblock.node).unwrap_or(1);
        let nodes = || self.nodes.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = nodes().get(root.at, most);
        let node = match kept {
            Some(node) => node,
            None => {
                let node = Arc::new(self.read_node(root.at)?);
                nodes().put(root.at, &node, most);
                node
            }
        };
        match (node.level, node.generation) == (root.level, root.generation) {
            true => Ok(node),
            false => Err(corrupt(&format!("the node at {}", root.at))),
        }
    }

    /// From the first copy that is whole.
    fn read_node(&self, at: u64) -> Result<Node> {
        let mut bytes = vec![0; self.superblock.node];
        let mut failed = None;
        for copy in 0..self.copies(at)? {
            let read = self.read_copy(at, &mut bytes, copy);
            let sum_fits = self.superblock.sums.fits(&bytes, bytes.get(32..).unwrap_or(&[]));
            match read {
                Ok(()) if sum_fits => match Node::parse(bytes.clone(), at) {
                    Some(node) => return Ok(node),
                    None => failed = failed.or(Some(corrupt(&format!("the node at {at}")))),
                },
                Ok(()) => failed = failed.or(Some(corrupt(&format!("checksum of the node at {at}")))),
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        Err(failed.unwrap_or_else(|| corrupt("a chunk")))
    }

    /// The chunk of an address.
    fn chunk(&self, at: u64) -> Result<&Chunk> {
        let index = self.chunks.partition_point(|chunk| chunk.range.end() <= at);
        let chunk = self.chunks.get(index).filter(|chunk| chunk.range.contains(at));
        let chunk = chunk.ok_or_else(|| corrupt(&format!("address {at}, which is in no chunk,")))?;
        match chunk.copies.is_empty() {
            false => Ok(chunk),
            true => Err(Error::new(ErrorKind::Unsupported, "a chunk on several devices")),
        }
    }

    fn copies(&self, at: u64) -> Result<usize> {
        Ok(self.chunk(at)?.copies.len())
    }

    /// From byte `at` to the end of its chunk: where it is on the device.
    pub(super) fn place(&self, at: u64, copy: usize) -> Result<ByteRange> {
        let chunk = self.chunk(at)?;
        let inside = at.saturating_sub(chunk.range.start());
        let first = chunk.copies.get(copy).or(chunk.copies.first());
        let place = first.and_then(|first| {
            ByteRange::new(first.checked_add(inside)?, chunk.range.end().saturating_sub(at))
        });
        place.ok_or_else(|| corrupt("a chunk"))
    }

    /// Logical bytes as one copy has them.
    fn read_copy(&self, at: u64, buf: &mut [u8], copy: usize) -> Result<()> {
        let (mut at, mut rest) = (at, buf);
        while !rest.is_empty() {
            let place = self.place(at, copy)?;
            let taken = usize::try_from(place.len()).unwrap_or(usize::MAX).min(rest.len());
            let (now, later) = rest.split_at_mut(taken);
            self.source.read_at(place.start(), now)?;
            rest = later;
            at = at.saturating_add(u64::try_from(taken).unwrap_or(u64::MAX));
        }
        Ok(())
    }

    /// Logical bytes of data, from the first copy whose checksums fit. Whole sectors are read for that.
    pub(super) fn data(&self, at: u64, buf: &mut [u8]) -> Result<()> {
        let sector = self.superblock.sector;
        let len = u64::try_from(buf.len()).unwrap_or(u64::MAX);
        let within = at.checked_rem(sector).unwrap_or(0);
        let start = at.saturating_sub(within);
        let end = at.checked_add(len).and_then(|end| end.checked_next_multiple_of(sector));
        let range = end.map(|end| ByteRange::span(start, end)).ok_or_else(|| corrupt("address of data"))?;
        if range.len() == len {
            return self.checked(range, buf);
        }
        let mut whole = vec![0; usize::try_from(range.len()).unwrap_or(0)];
        self.checked(range, &mut whole)?;
        let part = usize::try_from(within).ok().and_then(|within| whole.get(within..)?.get(..buf.len()));
        buf.copy_from_slice(part.ok_or_else(|| corrupt("address of data"))?);
        Ok(())
    }

    fn checked(&self, range: ByteRange, buf: &mut [u8]) -> Result<()> {
        let sums = self.data_sums(range)?;
        let mut failed = None;
        for copy in 0..self.copies(range.start())? {
            match self.read_copy(range.start(), buf, copy) {
                Ok(()) if self.fit(range, buf, &sums) => return Ok(()),
                Ok(()) => failed = failed.or(Some(corrupt("checksum of the content"))),
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        Err(failed.unwrap_or_else(|| corrupt("a chunk")))
    }

    /// Do the checksums that there are fit?
    fn fit(&self, range: ByteRange, bytes: &[u8], sums: &[(u64, Vec<u8>)]) -> bool {
        let (kind, sector) = (self.superblock.sums, self.superblock.sector);
        let sector_len = usize::try_from(sector).unwrap_or(usize::MAX).max(1);
        sums.iter().all(|(start, sums)| {
            let from = usize::try_from(start.saturating_sub(range.start())).unwrap_or(usize::MAX);
            let sectors = bytes.get(from..).unwrap_or(&[]).chunks(sector_len);
            sums.chunks(kind.size()).zip(sectors).all(|(sum, sector)| kind.fits(sum, sector))
        })
    }

    /// Checksums of sectors of `range`: the first sector's address and one behind the other. Sectors may have
    /// none.
    fn data_sums(&self, range: ByteRange) -> Result<Vec<(u64, Vec<u8>)>> {
        let (sector, size) = (self.superblock.sector, self.superblock.sums.size());
        let mut found = vec![];
        let Some(root) = self.sums else { return Ok(found) };
        let from = Key { object: SUMS.0, kind: SUMS.1, offset: range.start() };
        tree::walk_from_floor(self, root, from, &mut |key, item| {
            if (key.object, key.kind) != SUMS || key.offset >= range.end() {
                return Ok(key < from);
            }
            let count =
                u64::try_from(item.len()).ok().and_then(|len| len.checked_div(u64::try_from(size).ok()?));
            let len = count.and_then(|count| count.checked_mul(sector)).unwrap_or(0);
            let Some(all) = ByteRange::new(key.offset, len) else { return Err(corrupt("a checksum")) };
            let here = all.intersect(range);
            let index = |at: u64| {
                let sectors = at.saturating_sub(key.offset).checked_div(sector)?;
                usize::try_from(sectors).ok()?.checked_mul(size)
            };
            if let Some((from, to)) = index(here.start()).zip(index(here.end())).filter(|_| !here.is_empty())
            {
                found.push((here.start(), item.get(from..to).unwrap_or(&[]).to_vec()));
            }
            Ok(true)
        })?;
        Ok(found)
    }
}

/// By address; none lies over another.
fn sorted(mut chunks: Vec<Chunk>) -> Result<Vec<Chunk>> {
    chunks.sort_by_key(|chunk| chunk.range.start());
    let apart =
        chunks.iter().zip(chunks.iter().skip(1)).all(|(one, next)| one.range.end() <= next.range.start());
    if apart { Ok(chunks) } else { Err(corrupt("the list of chunks")) }
}
