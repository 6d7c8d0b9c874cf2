//! The trees of a btrfs and where they lie (kernel, `include/uapi/linux/btrfs_tree.h`).

use super::volume::{OrCorrupt, Volume, byte, corrupt, le16, le32, le64, unsupported};
use crate::probe::sum;
use block::{ByteRange, Result};
use std::collections::BTreeMap;

/// RAID0, RAID1, RAID10, RAID5, RAID6, RAID1C3, RAID1C4: what one device does not hold by itself.
const SEVERAL_DEVICES: u64 = 0x7D8;
const CSUM_CRC32C: u64 = 0;
const HEADER: usize = 0x65;
/// Bytes of a key.
const KEY: usize = 17;
/// Bytes of an item in a leaf, and of a pointer in a node.
const ITEM: usize = 25;
const POINTER: usize = 33;
const LEVELS: u64 = 8;
/// Bytes of a chunk item without its stripes, and of a stripe.
const CHUNK: usize = 48;
const STRIPE: usize = 32;
const SYS_CHUNKS_MAX: usize = 2048;
/// Chunks that there may be: 1 PiB of 1 GiB each.
const CHUNKS_MAX: usize = 1 << 20;
const DAMAGED: &str = "a tree of it is damaged";

/// Where a run of logical addresses lies.
pub(super) struct Chunk {
    pub(super) logical: ByteRange,
    /// First byte of each copy on this device.
    pub(super) copies: Vec<u64>,
}

/// All chunks that are known, by their first logical address.
pub(super) struct Chunks {
    devid: u64,
    map: BTreeMap<u64, Chunk>,
}

impl Chunks {
    /// Those that the superblock itself names.
    pub(super) fn of_superblock(sb: &[u8], devid: u64) -> Result<Self> {
        let mut chunks = Self { devid, map: BTreeMap::new() };
        let size =
            le32(sb, 0xA0).and_then(|size| usize::try_from(size).ok()).filter(|size| *size <= SYS_CHUNKS_MAX);
        let array = size.and_then(|size| sb.get(0x32B..)?.get(..size));
        let mut rest = array.or_corrupt("its superblock contradicts itself")?;
        while !rest.is_empty() {
            let item = rest.get(KEY..).or_corrupt(DAMAGED)?;
            chunks.add(le64(rest, 9).or_corrupt(DAMAGED)?, item)?;
            let stripes = le16(item, 44).and_then(|count| usize::try_from(count).ok()).or_corrupt(DAMAGED)?;
            let length =
                stripes.checked_mul(STRIPE).and_then(|all| all.checked_add(CHUNK)).or_corrupt(DAMAGED)?;
            rest = item.get(length..).or_corrupt(DAMAGED)?;
        }
        Ok(chunks)
    }

    /// Adds the chunk that begins at `logical`.
    pub(super) fn add(&mut self, logical: u64, item: &[u8]) -> Result<()> {
        let kind = le64(item, 24).or_corrupt(DAMAGED)?;
        if kind & SEVERAL_DEVICES != 0 {
            return Err(unsupported("it is laid out for several devices"));
        }
        let length = le64(item, 0).filter(|length| *length > 0).or_corrupt(DAMAGED)?;
        let stripes = le16(item, 44).and_then(|count| usize::try_from(count).ok()).or_corrupt(DAMAGED)?;
        let mut copies = vec![];
        for stripe in item.get(CHUNK..).unwrap_or(&[]).chunks_exact(STRIPE).take(stripes) {
            if le64(stripe, 0) != Some(self.devid) {
                return Err(unsupported("other devices belong to it"));
            }
            copies.push(le64(stripe, 8).or_corrupt(DAMAGED)?);
        }
        if copies.len() != stripes || stripes == 0 || self.map.len() >= CHUNKS_MAX {
            return Err(corrupt(DAMAGED));
        }
        let range = ByteRange::new(logical, length).or_corrupt(DAMAGED)?;
        self.map.insert(logical, Chunk { logical: range, copies });
        Ok(())
    }

    /// The chunk that holds all of `range`.
    pub(super) fn find(&self, range: ByteRange) -> Result<&Chunk> {
        let found = self.map.range(..=range.start()).next_back().map(|(_, chunk)| chunk);
        found.filter(|chunk| chunk.logical.covers(range)).or_corrupt("an address of it lies in no chunk")
    }

    /// All of them.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Chunk> {
        self.map.values()
    }
}

/// What a walk comes by.
pub(super) enum Seen<'a> {
    /// A node at this logical address.
    Node(u64),
    /// An item: the three parts of its key, and its bytes.
    Item { object: u64, kind: u64, offset: u64, bytes: &'a [u8] },
}

/// How trees of this filesystem are read.
pub(super) struct Trees<'a> {
    volume: &'a Volume<'a>,
    fsid: &'a [u8],
    /// Bytes of a node.
    pub(super) node: u64,
    csum_type: u64,
    nodes: u64,
}

impl<'a> Trees<'a> {
    pub(super) fn new(volume: &'a Volume<'a>, sb: &'a [u8], node: u64) -> Result<Self> {
        // Nodes carry the identifier that the filesystem was made with, which may be another than is shown.
        let fsid = match le64(sb, 0xBC).or_corrupt(DAMAGED)? & super::btrfs::INCOMPAT_METADATA_UUID {
            0 => sb.get(0x20..0x30),
            _ => sb.get(0x23B..0x24B),
        };
        let csum_type = le16(sb, 0xC4).or_corrupt(DAMAGED)?;
        Ok(Self { volume, fsid: fsid.or_corrupt(DAMAGED)?, node, csum_type, nodes: 0 })
    }

    /// Walks a tree in the order of its keys.
    pub(super) fn walk(
        &mut self,
        chunks: &Chunks,
        root: u64,
        each: &mut dyn FnMut(Seen<'_>) -> Result<()>,
    ) -> Result<()> {
        let most = self.volume.size().checked_div(self.node).unwrap_or(0);
        let mut waiting = vec![(root, None)];
        while let Some((logical, want)) = waiting.pop() {
            self.nodes = self.nodes.saturating_add(1);
            if self.nodes > most {
                return Err(corrupt("its trees lead round in circles"));
            }
            let node = self.read(chunks, logical)?;
            let level = byte(&node, 0x64).filter(|level| *level < LEVELS).or_corrupt(DAMAGED)?;
            let generation = le64(&node, 0x50);
            if want.is_some_and(|want| want != (level, generation)) {
                return Err(corrupt(DAMAGED));
            }
            each(Seen::Node(logical))?;
            let count =
                le32(&node, 0x60).and_then(|count| usize::try_from(count).ok()).or_corrupt(DAMAGED)?;
            let entry = if level == 0 { ITEM } else { POINTER };
            let entries = node.get(HEADER..).unwrap_or(&[]).chunks_exact(entry);
            (count <= entries.len()).then_some(()).or_corrupt(DAMAGED)?;
            if level == 0 {
                entries.take(count).try_for_each(|entry| each(item(&node, entry).or_corrupt(DAMAGED)?))?;
                continue;
            }
            let below = level.checked_sub(1).or_corrupt(DAMAGED)?;
            for pointer in entries.take(count).rev() {
                let child = le64(pointer, KEY).or_corrupt(DAMAGED)?;
                waiting.push((child, Some((below, le64(pointer, 25)))));
            }
        }
        Ok(())
    }

    /// A node that says of itself that it is the one, and whose sum is right where it is computed here.
    fn read(&self, chunks: &Chunks, logical: u64) -> Result<Vec<u8>> {
        let range = ByteRange::new(logical, self.node).or_corrupt(DAMAGED)?;
        let chunk = chunks.find(range)?;
        let copy = chunk.copies.first().copied().or_corrupt(DAMAGED)?;
        let place = range.moved(chunk.logical.start(), copy);
        let node = self.volume.read(place.start(), self.node)?;
        let right = self.csum_type != CSUM_CRC32C
            || node.get(32..).map(|summed| u64::from(!sum::crc32c(!0, summed))) == le32(&node, 0);
        let same = le64(&node, 0x30) == Some(logical) && node.get(0x20..0x30) == Some(self.fsid);
        if right && same { Ok(node) } else { Err(corrupt(DAMAGED)) }
    }
}

/// An item of a leaf; its place counts from behind the header.
fn item<'a>(leaf: &'a [u8], entry: &[u8]) -> Option<Seen<'a>> {
    let start = usize::try_from(le32(entry, KEY)?).ok()?.checked_add(HEADER)?;
    let length = usize::try_from(le32(entry, 21)?).ok()?;
    let bytes = leaf.get(start..start.checked_add(length)?)?;
    Some(Seen::Item { object: le64(entry, 0)?, kind: byte(entry, 8)?, offset: le64(entry, 9)?, bytes })
}
