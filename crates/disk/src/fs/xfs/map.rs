//! Where a fork of an XFS inode lies: its list of extents, or a tree of them; and reading through it.

use super::inode::{FORMAT_BTREE, FORMAT_EXTENTS, Fork};
use super::{Volume, corrupt};
use crate::fs::runs::read_pieces;
use block::field::{be16_at, be64_at, bytes_at};
use block::{ByteRange, Error, ErrorKind, Extent, ExtentKind, ReadAt, Result};
use std::sync::Arc;

/// Extents of a file that are kept in memory, 24 bytes each. A file of more is not read.
const MOST_EXTENTS: u64 = 4 << 20;
/// Bytes of a record of an extent, and of a key and of a pointer together.
const RECORD: usize = 16;
/// Levels that a tree of extents may have.
const MOST_LEVELS: u16 = 16;

/// Bytes of a fork that lie together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Run {
    /// In the fork.
    pub(super) range: ByteRange,
    /// On the volume. `None`: allocated and never written, and so zero.
    pub(super) at: Option<u64>,
}

/// A fork as a source: what is not mapped is zero.
pub(super) struct Map {
    volume: Arc<Volume>,
    size: u64,
    runs: Vec<Run>,
}

impl Map {
    /// Of `size` bytes, which may be less or more than is mapped.
    pub(super) fn new(volume: &Arc<Volume>, fork: &Fork, size: u64) -> Result<Self> {
        Ok(Self { volume: Arc::clone(volume), size, runs: runs(volume, fork)? })
    }

    pub(super) fn runs(&self) -> &[Run] {
        &self.runs
    }

    /// `len` bytes from byte `at` of the fork on.
    pub(super) fn bytes(&self, at: u64, len: u64) -> Result<Vec<u8>> {
        let mut bytes = vec![0; usize::try_from(len).map_err(|_| corrupt("length of a block"))?];
        self.read_at(at, &mut bytes)?;
        Ok(bytes)
    }

    /// What is at `offset`, and up to where: a place on the volume, or zero.
    fn piece(&self, offset: u64) -> (ByteRange, Option<u64>) {
        let index = self.runs.partition_point(|run| run.range.end() <= offset);
        match self.runs.get(index) {
            Some(run) if run.range.contains(offset) => {
                let range = ByteRange::span(offset, run.range.end().min(self.size));
                let inside = offset.saturating_sub(run.range.start());
                (range, run.at.map(|at| at.saturating_add(inside)))
            }
            next => {
                let end = next.map_or(self.size, |next| next.range.start().min(self.size));
                (ByteRange::span(offset, end), None)
            }
        }
    }
}

impl ReadAt for Map {
    fn size(&self) -> u64 {
        self.size
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<()> {
        read_pieces(
            self.size,
            offset,
            buf,
            |at| Ok(self.piece(at)),
            |range, place, now| match place {
                Some(at) => {
                    self.volume.source.read_at(at, now).map_err(|error| error.moved(at, range.start()))
                }
                None => {
                    now.fill(0);
                    Ok(())
                }
            },
        )
    }

    fn extent_at(&self, offset: u64) -> Result<Extent> {
        ByteRange::within(self.size, offset, 1)?;
        let (range, place) = self.piece(offset);
        let Some(place) = place else { return Ok(Extent { range, kind: ExtentKind::Zero }) };
        // What is zero or absent below is so here.
        let below = self.volume.source.extent_at(place)?;
        let len = below.range.end().saturating_sub(place).min(range.len()).max(1);
        let range = ByteRange::span(offset, offset.saturating_add(len));
        Ok(Extent { range, kind: below.kind })
    }

    fn concurrency(&self) -> usize {
        self.volume.source.concurrency()
    }
}

/// All extents of a fork, ascending.
fn runs(volume: &Volume, fork: &Fork) -> Result<Vec<Run>> {
    if fork.extents > MOST_EXTENTS {
        return Err(Error::new(ErrorKind::Unsupported, format!("a file of {} extents", fork.extents)));
    }
    let mut list = List { volume, runs: vec![] };
    match fork.format {
        FORMAT_EXTENTS => {
            let count = usize::try_from(fork.extents).ok().and_then(|count| count.checked_mul(RECORD));
            let records = count.and_then(|len| fork.bytes.get(..len));
            list.add(records.ok_or_else(|| corrupt("list of extents"))?)?;
        }
        FORMAT_BTREE => {
            let (level, pointers) = root(&fork.bytes).ok_or_else(|| corrupt("root of a tree of extents"))?;
            for pointer in pointers {
                list.node(pointer, level, fork.extents)?;
            }
        }
        _ => return Err(corrupt("kind of a fork")),
    }
    if u64::try_from(list.runs.len()).ok() != Some(fork.extents) {
        return Err(corrupt("number of extents"));
    }
    Ok(list.runs)
}

/// Level and pointers of the root in the inode (`xfs_bmdr_block`): as many keys as fit, then the pointers.
fn root(bytes: &[u8]) -> Option<(u16, Vec<u64>)> {
    let level = be16_at(bytes, 0).filter(|level| (1..=MOST_LEVELS).contains(level))?;
    let most = bytes.len().checked_sub(4)?.checked_div(RECORD)?;
    Some((level, pointers(bytes, 4, most, be16_at(bytes, 2)?)?))
}

/// `count` pointers behind room for `most` keys that begins at `start`.
fn pointers(bytes: &[u8], start: usize, most: usize, count: u16) -> Option<Vec<u64>> {
    let count = usize::from(count);
    if count == 0 || count > most {
        return None;
    }
    let from = most.checked_mul(8)?.checked_add(start)?;
    let taken = bytes.get(from..from.checked_add(count.checked_mul(8)?)?)?;
    Some(taken.as_chunks::<8>().0.iter().map(|pointer| u64::from_be_bytes(*pointer)).collect())
}

struct List<'a> {
    volume: &'a Volume,
    runs: Vec<Run>,
}

impl List<'_> {
    /// Everything below the block `number`, whose parent is of level `above`. Ends for any bytes: levels fall,
    /// every leaf holds a record, records ascend, and there are as many as the inode says.
    fn node(&mut self, number: u64, above: u16, most: u64) -> Result<()> {
        let geometry = &self.volume.geometry;
        let wrong = || corrupt("tree of extents");
        let at = geometry.byte(number, 1).ok_or_else(wrong)?;
        let bytes = self.volume.read(at, usize::try_from(geometry.block).unwrap_or(0))?;
        let (magic, head) = if geometry.v5 { (b"BMA3", 72) } else { (b"BMAP", 24) };
        let level = be16_at(&bytes, 4).filter(|level| level.checked_add(1) == Some(above));
        let (Some(level), Some(count)) = (level, be16_at(&bytes, 6)) else { return Err(wrong()) };
        if !bytes.starts_with(magic) || count == 0 {
            return Err(wrong());
        }
        geometry.check(&bytes, 64, "a tree of extents")?;
        let room = bytes.len().saturating_sub(head).checked_div(RECORD).unwrap_or(0);
        if level == 0 {
            let len = usize::from(count).saturating_mul(RECORD);
            let records = bytes.get(head..).and_then(|records| records.get(..len)).ok_or_else(wrong)?;
            self.add(records)?;
        } else {
            for pointer in pointers(&bytes, head, room, count).ok_or_else(wrong)? {
                self.node(pointer, level, most)?;
            }
        }
        match u64::try_from(self.runs.len()).is_ok_and(|len| len <= most) {
            true => Ok(()),
            false => Err(wrong()),
        }
    }

    fn add(&mut self, records: &[u8]) -> Result<()> {
        for record in records.as_chunks::<RECORD>().0 {
            let run = self.run(u128::from_be_bytes(*record)).ok_or_else(|| corrupt("an extent"))?;
            self.runs.push(run);
        }
        Ok(())
    }

    /// One bit never written, 54 of the block in the file, 52 of that on the volume, 21 of the count.
    fn run(&self, record: u128) -> Option<Run> {
        let bits = |from: u32, count: u32| -> Option<u64> {
            let mask = 1u128.checked_shl(count)?.checked_sub(1)?;
            u64::try_from(record.checked_shr(from)? & mask).ok()
        };
        let geometry = &self.volume.geometry;
        let count = bits(0, 21)?;
        let place = geometry.byte(bits(21, 52)?, count)?;
        let start = bits(73, 54)?.checked_mul(geometry.block)?;
        let range = ByteRange::new(start, count.checked_mul(geometry.block)?)?;
        let behind = self.runs.last().is_none_or(|last| last.range.end() <= start);
        let written = bits(127, 1)? == 0;
        (behind && count > 0).then_some(Run { range, at: written.then_some(place) })
    }
}

/// Bytes of a structure with its own header in front, as version 5 has around links and values of attributes:
/// magic, offset, length. `Some` is what follows the 56 bytes.
pub(super) fn unwrapped<'a>(volume: &Volume, block: &'a [u8], magic: &[u8; 4]) -> Result<&'a [u8]> {
    if !volume.geometry.v5 {
        return Ok(block);
    }
    if bytes_at::<4>(block, 0) != Some(*magic) || be64_at(block, 32).is_none() {
        return Err(corrupt("header of a link or an attribute"));
    }
    volume.geometry.check(block, 12, "a link or an attribute")?;
    block.get(56..).ok_or_else(|| corrupt("header of a link or an attribute"))
}
