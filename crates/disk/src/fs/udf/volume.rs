//! The volume: where its descriptors are, which partitions it has, and which bytes a block of one is (ECMA-167
//! part 3, UDF 2.2).

use super::super::Condition;
use super::super::bytes::{self, Fields, corrupt};
use super::super::runs::Run;
use super::entry::Entry;
use block::{Error, ErrorKind, Result, Source};
use std::collections::BTreeMap;

/// Descriptors, partitions and replaced packets: more is damage.
const MOST_DESCRIPTORS: u32 = 256;
const MOST_PARTITIONS: u32 = 16;
/// Kinds of descriptors.
const ANCHOR: u16 = 2;
const FILE_SET: u16 = 256;

/// An address: a block of a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Address {
    pub(super) block: u32,
    pub(super) partition: u16,
}

impl Address {
    /// In the "long" form, behind a length of 4 bytes.
    pub(super) fn read(f: Fields<'_>, at: usize) -> Result<Self> {
        Ok(Self { block: f.u32(at.saturating_add(4))?, partition: f.u16(at.saturating_add(8))? })
    }
}

/// What turns blocks of a partition into bytes.
enum Map {
    Physical,
    /// Packets of so many blocks, some of which are elsewhere.
    Sparable {
        packet: u32,
        moved: BTreeMap<u32, u32>,
    },
    /// The blocks are those of a file in the partition of the physical map.
    Metadata {
        runs: Vec<Run>,
    },
}

struct Partition {
    start: u64,
    blocks: u64,
    map: Map,
}

pub(super) struct Volume {
    pub(super) source: Source,
    pub(super) block_size: u64,
    partitions: Vec<Partition>,
    pub(super) root: Address,
    pub(super) condition: Condition,
}

/// What is needed of the sequence of descriptors.
#[derive(Default)]
struct Found {
    logical: Option<(u32, Vec<u8>)>,
    partitions: BTreeMap<u16, (u32, Vec<u8>)>,
}

impl Volume {
    pub(super) fn open(source: Source) -> Result<Self> {
        let anchor =
            [2048, 512, 4096, 1024].into_iter().find_map(|size| Some((size, anchor(&source, size)?)));
        let Some((block_size, anchor)) = anchor else { return Err(corrupt("no anchor")) };
        let f = Fields::new(&anchor, "the anchor");
        let mut found = sequence(&source, block_size, f.u32(20)?, f.u32(16)?);
        if found.logical.is_none() || found.partitions.is_empty() {
            found = sequence(&source, block_size, f.u32(28)?, f.u32(24)?);
        }
        let Some((_, logical)) = &found.logical else { return Err(corrupt("no logical volume descriptor")) };
        let f = Fields::new(logical, "the logical volume descriptor");
        if u64::from(f.u32(212)?) != block_size {
            return Err(corrupt(format!("blocks of {} bytes in sectors of {block_size}", f.u32(212)?)));
        }
        let condition = if is_open(&source, block_size, f.u32(436)?, f.u32(432)?) {
            Condition::Stale
        } else {
            Condition::Clean
        };
        let root = Address { block: 0, partition: 0 };
        let mut volume = Self { source, block_size, partitions: vec![], root, condition };
        volume.maps(f, &found)?;
        let set = volume.block(Address::read(f, 248)?)?;
        if kind(&set) != Some(FILE_SET) {
            return Err(corrupt("no file set descriptor"));
        }
        volume.root = Address::read(Fields::new(&set, "the file set descriptor"), 400)?;
        Ok(volume)
    }

    /// The partition maps of the logical volume.
    fn maps(&mut self, f: Fields<'_>, found: &Found) -> Result<()> {
        let count = f.u32(268)?;
        if count == 0 || count > MOST_PARTITIONS {
            return Err(corrupt(format!("{count} partitions")));
        }
        let mut at = 440_usize;
        for _ in 0..count {
            let len = usize::from(f.u8(at.saturating_add(1))?);
            let map = f.part(at, len)?;
            let (is_plain, number) = match f.u8(at)? {
                1 => (true, map.u16(4)?),
                2 => (false, map.u16(38)?),
                other => return Err(corrupt(format!("a partition map of kind {other}"))),
            };
            let Some((_, partition)) = found.partitions.get(&number) else {
                return Err(corrupt(format!("no descriptor of partition {number}")));
            };
            let p = Fields::new(partition, "a partition descriptor");
            let (start, blocks) = (u64::from(p.u32(188)?), u64::from(p.u32(192)?));
            let name = if is_plain { &[][..] } else { map.slice(5, 23)? };
            let map = match name.split(|byte| *byte == 0).next().unwrap_or_default() {
                [] => Map::Physical,
                b"*UDF Sparable Partition" => self.sparable(map)?,
                b"*UDF Metadata Partition" => Map::Metadata { runs: self.metadata(map)? },
                b"*UDF Virtual Partition" => {
                    let words = "it was written once in sessions, with a virtual partition";
                    return Err(Error::new(ErrorKind::Unsupported, words));
                }
                _ => {
                    return Err(Error::new(
                        ErrorKind::Unsupported,
                        "a partition of a kind that is not known",
                    ));
                }
            };
            self.partitions.push(Partition { start, blocks, map });
            at = at.saturating_add(len.max(2));
        }
        Ok(())
    }

    /// The packets that lie elsewhere, from the first table of them that is whole.
    fn sparable(&self, map: Fields<'_>) -> Result<Map> {
        let packet = u32::from(map.u16(40)?).max(1);
        for table in 0..map.u8(42)?.min(4) {
            let at = usize::from(table).saturating_mul(4).saturating_add(48);
            let start = u64::from(map.u32(at)?).saturating_mul(self.block_size);
            let len = u64::from(map.u32(44)?).clamp(56, 1 << 20);
            let Ok(table) = bytes::read(&*self.source, start, len, "a table of moved packets") else {
                continue;
            };
            let t = Fields::new(&table, "a table of moved packets");
            if kind(&table) != Some(0) || t.slice(17, 20)? != b"*UDF Sparing Table\0\0" {
                continue;
            }
            let entries = usize::from(t.u16(48)?).saturating_mul(8);
            let mut moved = BTreeMap::new();
            for entry in t.slice(56, entries)?.as_chunks::<8>().0 {
                let e = Fields::new(entry, "a moved packet");
                // From here on they are free or bad.
                if e.u32(0)? < 0xFFFF_FFF0 {
                    moved.insert(e.u32(0)?, e.u32(4)?);
                }
            }
            return Ok(Map::Sparable { packet, moved });
        }
        Err(corrupt("no table of moved packets"))
    }

    /// Where the metadata file lies, or its mirror.
    fn metadata(&self, map: Fields<'_>) -> Result<Vec<Run>> {
        let read = |block: u32| Entry::read(self, Address { block, partition: 0 })?.runs(self);
        read(map.u32(40)?).or_else(|error| read(map.u32(44)?).map_err(|_| error))
    }

    /// Where a run of blocks begins in bytes, and how many of them lie there together, at least one.
    pub(super) fn place(&self, address: Address, blocks: u64) -> Result<(u64, u64)> {
        let outside = || corrupt(format!("block {} of partition {}", address.block, address.partition));
        let partition = self.partitions.get(usize::from(address.partition)).ok_or_else(outside)?;
        let block = u64::from(address.block);
        let bytes = |block: u64| block.saturating_add(partition.start).saturating_mul(self.block_size);
        match &partition.map {
            Map::Physical if block < partition.blocks => {
                Ok((bytes(block), blocks.min(partition.blocks.saturating_sub(block))))
            }
            Map::Sparable { packet, moved } if block < partition.blocks => {
                let inside = address.block.checked_rem(*packet).unwrap_or(0);
                let left = u64::from(packet.saturating_sub(inside)).min(blocks).max(1);
                match moved.get(&address.block.saturating_sub(inside)) {
                    // Moved ones are counted from the start of the disc.
                    Some(to) => Ok((
                        u64::from(*to).saturating_add(inside.into()).saturating_mul(self.block_size),
                        left,
                    )),
                    None => Ok((bytes(block), left)),
                }
            }
            Map::Metadata { runs } => {
                let mut skip = block.saturating_mul(self.block_size);
                for run in runs {
                    if skip < run.len {
                        let at = run.at.ok_or_else(outside)?.saturating_add(skip);
                        let left = run.len.saturating_sub(skip).checked_div(self.block_size).unwrap_or(0);
                        return Ok((at, left.min(blocks).max(1)));
                    }
                    skip = skip.saturating_sub(run.len);
                }
                Err(outside())
            }
            _ => Err(outside()),
        }
    }

    /// A block with a descriptor in it.
    pub(super) fn block(&self, address: Address) -> Result<Vec<u8>> {
        let (at, _) = self.place(address, 1)?;
        bytes::read(&*self.source, at, self.block_size, "a block")
    }
}

/// The kind of the descriptor at the front of `bytes`; `None` if its sums say that it is none.
pub(super) fn kind(bytes: &[u8]) -> Option<u16> {
    let (tag, rest) = bytes.split_at_checked(16)?;
    let f = Fields::new(tag, "a tag");
    let sum =
        (0_usize..).zip(tag).filter(|(at, _)| *at != 4).fold(0_u8, |sum, (_, byte)| sum.wrapping_add(*byte));
    let covered = rest.get(..usize::from(f.u16(10).ok()?))?;
    let is_good = sum == f.u8(4).ok()? && crc(covered) == f.u16(8).ok()? && tag.iter().any(|byte| *byte != 0);
    is_good.then(|| f.u16(0).ok()).flatten()
}

/// CRC-16 of the ITU, a byte at a time without a table.
fn crc(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0_u16, |crc, byte| {
        let mixed = (crc >> 8) ^ u16::from(*byte);
        let mixed = mixed ^ (mixed >> 4);
        (crc << 8) ^ (mixed << 12) ^ (mixed << 5) ^ mixed
    })
}

/// The anchor, if blocks are of this size.
fn anchor(source: &Source, size: u64) -> Option<Vec<u8>> {
    let blocks = source.size().checked_div(size)?;
    let places = [Some(256), blocks.checked_sub(1), blocks.checked_sub(257), Some(512)];
    places.into_iter().flatten().find_map(|block| {
        let bytes = bytes::read(&**source, block.checked_mul(size)?, size.min(2048), "the anchor").ok()?;
        let here = u64::from(Fields::new(&bytes, "the anchor").u32(12).ok()?) == block;
        (here && kind(&bytes) == Some(ANCHOR)).then_some(bytes)
    })
}

/// Reads a sequence of descriptors, as far as it is one: of each the one with the highest number counts.
fn sequence(source: &Source, block_size: u64, start: u32, len: u32) -> Found {
    let mut found = Found::default();
    let (mut block, mut left) = (u64::from(start), u64::from(len).checked_div(block_size).unwrap_or(0));
    for _ in 0..MOST_DESCRIPTORS {
        let at = block.saturating_mul(block_size);
        let Ok(bytes) = bytes::read(&**source, at, block_size, "a volume descriptor") else { break };
        let (Some(kind), 1..) = (kind(&bytes), left) else { break };
        let f = Fields::new(&bytes, "a volume descriptor");
        let Ok(number) = f.u32(16) else { break };
        block = block.saturating_add(1);
        left = left.saturating_sub(1);
        match kind {
            3 => {
                let (Ok(len), Ok(next)) = (f.u32(20), f.u32(24)) else { break };
                (block, left) = (next.into(), u64::from(len).checked_div(block_size).unwrap_or(0));
            }
            5 => {
                let Ok(partition) = f.u16(22) else { break };
                if found.partitions.get(&partition).is_none_or(|(known, _)| *known <= number) {
                    found.partitions.insert(partition, (number, bytes));
                }
            }
            6 if found.logical.as_ref().is_none_or(|(known, _)| *known <= number) => {
                found.logical = Some((number, bytes));
            }
            8 => break,
            _ => {}
        }
    }
    found
}

/// Does the last integrity descriptor say that the volume is being written?
fn is_open(source: &Source, block_size: u64, start: u32, len: u32) -> bool {
    let (mut block, mut left) = (u64::from(start), u64::from(len).checked_div(block_size).unwrap_or(0));
    let mut open = false;
    for _ in 0..MOST_DESCRIPTORS {
        let at = block.saturating_mul(block_size);
        let Ok(bytes) = bytes::read(&**source, at, block_size, "an integrity descriptor") else { break };
        let f = Fields::new(&bytes, "an integrity descriptor");
        let (Some(9), 1.., Ok(state), Ok(more), Ok(next)) =
            (kind(&bytes), left, f.u32(28), f.u32(32), f.u32(36))
        else {
            break;
        };
        open = state == 0;
        (block, left) = match more {
            0 => (block.saturating_add(1), left.saturating_sub(1)),
            more => (next.into(), u64::from(more).checked_div(block_size).unwrap_or(0)),
        };
    }
    open
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_of_a_tag() {
        assert_eq!(crc(b"123456789"), 0x31C3);
        let mut tag = [0; 20];
        assert_eq!(kind(&tag), None);
        (tag[0], tag[10], tag[16]) = (2, 4, 9);
        let crc = crc(&[9, 0, 0, 0]).to_le_bytes();
        (tag[8], tag[9]) = (crc[0], crc[1]);
        tag[4] = 6_u8.wrapping_add(crc[0]).wrapping_add(crc[1]);
        assert_eq!(kind(&tag), Some(2));
        tag[17] = 1;
        assert_eq!(kind(&tag), None);
        assert_eq!(kind(&tag[..18]), None);
    }
}
