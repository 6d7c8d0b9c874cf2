//! The log of XFS replayed in memory: sectors that lie over those of the volume, as Linux would have written
//! them on mounting. Nothing is written.

use super::items::{BUFFER, CREATE, INODE, Item, Unfinished};
use super::log::broken;
use super::logged::{fresh, overlay_chunks, overlay_inode, put, stamp, sum};
use super::{Volume, items, log};
use crate::fs::Condition;
use block::field::{be32_at, u16_at, u32_at, u64_at};
use block::{ByteRange, ErrorKind, Extent, ExtentKind, ReadAt, Result, Source};
use std::collections::BTreeMap;
use std::sync::Arc;

const SECTOR: u64 = 512;
/// Sectors that one item may change: more than the largest inode chunk and directory block.
const MOST_SECTORS: u64 = 2048;
/// Sectors that are kept in memory, 128 MiB.
const MOST_KEPT: usize = 256 << 10;

/// Flags of a buffer: inodes, of which only the list of unlinked ones is in it, which nobody reads here.
const INODES: u16 = 0x1;
/// Sorts of quotas, which nobody reads here either.
const QUOTAS: u16 = 0x1C;
/// What became of the log.
pub(super) struct Outcome {
    pub(super) source: Source,
    pub(super) condition: Condition,
    pub(super) missing: Vec<String>,
}

/// The volume with its log replayed, as far as that can be done.
pub(super) fn replayed(volume: &Volume) -> Result<Outcome> {
    let source = Source::clone(&volume.source);
    match replay(volume) {
        Ok(None) => Ok(Outcome { source, condition: Condition::Clean, missing: vec![] }),
        Ok(Some((sectors, unfinished))) => {
            let mut missing = vec![];
            if unfinished > 0 {
                let words = "changes of its log are not finished: a file may show an older part";
                missing.push(format!("{unfinished} {words}"));
            }
            let source = Arc::new(Overlay { source, sectors });
            Ok(Outcome { source, condition: Condition::Replayed, missing })
        }
        Err(error) if matches!(error.kind(), ErrorKind::Cancelled | ErrorKind::Gone) => Err(error),
        Err(error) => {
            let missing = vec![format!("its log was not replayed, because {error}")];
            Ok(Outcome { source, condition: Condition::Stale, missing })
        }
    }
}

type Sectors = BTreeMap<u64, [u8; 512]>;

/// Sectors that lie over a source.
struct Overlay {
    source: Source,
    sectors: Sectors,
}

impl ReadAt for Overlay {
    fn size(&self) -> u64 {
        self.source.size()
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<()> {
        self.source.read_at(offset, buf)?;
        patch(&self.sectors, offset, buf);
        Ok(())
    }

    fn extent_at(&self, offset: u64) -> Result<Extent> {
        let below = self.source.extent_at(offset)?;
        let sector = offset / SECTOR;
        if self.sectors.contains_key(&sector) {
            let end = sector.saturating_add(1).saturating_mul(SECTOR).min(below.range.end());
            let kind = if below.kind == ExtentKind::Zero { ExtentKind::Data } else { below.kind };
            return Ok(Extent { range: ByteRange::span(offset, end.max(offset.saturating_add(1))), kind });
        }
        let next = self.sectors.range(sector..).next().map(|(sector, _)| sector.saturating_mul(SECTOR));
        let end = next.unwrap_or(u64::MAX).min(below.range.end());
        Ok(Extent { range: ByteRange::span(offset, end), kind: below.kind })
    }

    fn concurrency(&self) -> usize {
        self.source.concurrency()
    }

    fn granule(&self) -> u64 {
        self.source.granule()
    }
}

/// Puts what is over `offset` into `buf`.
fn patch(sectors: &Sectors, offset: u64, buf: &mut [u8]) {
    let Some(range) = u64::try_from(buf.len()).ok().and_then(|len| ByteRange::new(offset, len)) else {
        return;
    };
    for (sector, bytes) in sectors.range(offset / SECTOR..range.end().div_ceil(SECTOR)) {
        let start = sector.saturating_mul(SECTOR);
        let here = ByteRange::span(start, start.saturating_add(SECTOR)).intersect(range);
        let to = buf.get_mut(here.index(offset));
        let from = bytes.get(here.index(start));
        if let (Some(to), Some(from)) = (to, from) {
            to.copy_from_slice(from);
        }
    }
}

/// The sectors that differ, and how much was not finished; `None` if the log is clean.
fn replay(volume: &Volume) -> Result<Option<(Sectors, usize)>> {
    /// The feature that only says that changes of attributes may be in the log.
    const LOG_XATTRS: u32 = 1;
    let Some(live) = log::live(volume)? else { return Ok(None) };
    if volume.geometry.log_incompat & !LOG_XATTRS != 0 {
        return Err(broken("features that are not known"));
    }
    let mut replay = Replay { volume, sectors: Sectors::new(), freed: BTreeMap::new() };
    let mut unfinished = Unfinished::default();
    items::each(&live, &mut |transaction| {
        for item in transaction.items()? {
            unfinished.note(&item);
            if let Some(buffer) = item.buffer().filter(|_| item.is_cancel()) {
                let count = replay.freed.entry(buffer).or_insert(0u32);
                *count = count.saturating_add(1);
            }
        }
        Ok(())
    })?;
    items::each(&live, &mut |transaction| {
        for item in transaction.items()? {
            replay.apply(&item, transaction.lsn)?;
        }
        Ok(())
    })?;
    Ok(Some((replay.sectors, unfinished.count())))
}

struct Replay<'a> {
    volume: &'a Volume,
    sectors: Sectors,
    /// Buffers that are freed later, and how often.
    freed: BTreeMap<(u64, u64), u32>,
}

impl Replay<'_> {
    fn apply(&mut self, item: &Item<'_>, lsn: u64) -> Result<()> {
        match item.kind {
            BUFFER => self.buffer(item, lsn),
            INODE => self.inode(item, lsn),
            CREATE => self.create(item),
            _ => Ok(()),
        }
    }

    /// Sectors as they are by now.
    fn load(&self, sector: u64, count: u64) -> Result<Vec<u8>> {
        let geometry = &self.volume.geometry;
        let most = geometry.blocks.checked_mul(geometry.block / SECTOR).unwrap_or(0);
        if count == 0 || count > MOST_SECTORS || sector.checked_add(count).is_none_or(|end| end > most) {
            return Err(broken("a place beyond the volume"));
        }
        let at = sector.saturating_mul(SECTOR);
        let mut bytes = self.volume.read(at, usize::try_from(count.saturating_mul(SECTOR)).unwrap_or(0))?;
        patch(&self.sectors, at, &mut bytes);
        Ok(bytes)
    }

    fn store(&mut self, sector: u64, bytes: &[u8]) -> Result<()> {
        for (number, bytes) in (sector..).zip(bytes.as_chunks::<512>().0) {
            self.sectors.insert(number, *bytes);
        }
        match self.sectors.len() > MOST_KEPT {
            true => Err(broken("it changes more than fits in memory")),
            false => Ok(()),
        }
    }

    fn buffer(&mut self, item: &Item<'_>, lsn: u64) -> Result<()> {
        let wrong = || broken("a buffer");
        let key = item.buffer().ok_or_else(wrong)?;
        let flags = u16_at(item.format, 4).ok_or_else(wrong)?;
        if item.is_cancel() {
            if let Some(count) = self.freed.get_mut(&key) {
                *count = count.saturating_sub(1);
                if *count == 0 {
                    self.freed.remove(&key);
                }
            }
            return Ok(());
        }
        if self.freed.contains_key(&key) || flags & (INODES | QUOTAS) != 0 {
            return Ok(());
        }
        let mut bytes = self.load(key.0, key.1)?;
        if stamp(&bytes).is_some_and(|stamp| stamp.is_newer(&bytes, lsn, &self.volume.geometry.meta_uuid)) {
            return Ok(());
        }
        overlay_chunks(item, &mut bytes).ok_or_else(wrong)?;
        // What it is now, a block that is new says only here.
        if let Some(stamp) = stamp(&bytes).filter(|_| self.volume.geometry.v5) {
            put(&mut bytes, stamp.lsn, &lsn.to_be_bytes()).ok_or_else(wrong)?;
            sum(&mut bytes, stamp.sum).ok_or_else(wrong)?;
        }
        self.store(key.0, &bytes)
    }

    fn inode(&mut self, item: &Item<'_>, lsn: u64) -> Result<()> {
        let wrong = || broken("an inode");
        let place = || -> Option<(u64, u64, usize)> {
            let offset = usize::try_from(u32_at(item.format, 52)?).ok()?;
            Some((u64_at(item.format, 40)?, u64::from(u32_at(item.format, 48)?), offset))
        };
        let (sector, count, offset) = place().ok_or_else(wrong)?;
        if self.freed.contains_key(&(sector, count)) {
            return Ok(());
        }
        let mut bytes = self.load(sector, count)?;
        let size = self.volume.geometry.inode;
        let inode = bytes.get_mut(offset..).and_then(|rest| rest.get_mut(..size)).ok_or_else(wrong)?;
        if overlay_inode(item, inode, lsn, self.volume.geometry.v5).ok_or_else(wrong)? {
            self.store(sector, &bytes)?;
        }
        Ok(())
    }

    /// A chunk of inodes that are new.
    fn create(&mut self, item: &Item<'_>) -> Result<()> {
        let wrong = || broken("new inodes");
        let field = |at| be32_at(item.format, at).ok_or_else(wrong);
        let (group, block, count, length) = (field(4)?, field(8)?, field(12)?, field(20)?);
        let generation = field(24)?;
        let geometry = &self.volume.geometry;
        let at = geometry.group_byte(group, block, length.into()).ok_or_else(wrong)?;
        let first = geometry.first_inode(group, block).ok_or_else(wrong)?;
        let per_block = geometry.block / SECTOR;
        let mut bytes = self.load(at / SECTOR, u64::from(length).saturating_mul(per_block))?;
        let (size, uuid) = (geometry.inode, geometry.meta_uuid);
        if usize::try_from(field(16)?) != Ok(size) || count > 64 {
            return Err(wrong());
        }
        let places = bytes.chunks_exact_mut(size).zip(first..).take(usize::try_from(count).unwrap_or(0));
        for (index, (inode, number)) in places.enumerate() {
            let inside = u64::try_from(index.saturating_mul(size)).unwrap_or(0);
            let sector = at.saturating_add(inside) / SECTOR;
            // Freed later, it may hold something else by now.
            if self.freed.keys().any(|(from, len)| sector >= *from && sector.saturating_sub(*from) < *len) {
                continue;
            }
            fresh(inode, number, generation, &uuid).ok_or_else(wrong)?;
        }
        self.store(at / SECTOR, &bytes)
    }
}
