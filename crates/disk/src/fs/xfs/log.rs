//! The log of XFS as it was left: where it ends, and its records from the oldest that may not have reached its
//! place (kernel, `fs/xfs/xfs_log_recover.c`).
//!
//! It is a ring of 512-byte blocks. The first word of each is the number of the turn in which it was written;
//! the header of a record keeps what the words were.

use super::Volume;
use crate::fs::sums::crc32c;
use block::field::{be32_at, be64_at, bytes_at, u32_at};
use block::{Error, ErrorKind, Result, Source};

const BLOCK: u64 = 512;
const MAGIC: u32 = 0xFEED_BABE;
const VERSION_2: u32 = 2;
/// Words of a block that a block of a header keeps, and bytes of a record that are so many blocks.
const WORDS: u64 = 64;
const PER_HEADER: u32 = 32 << 10;
/// Bytes of a record, and blocks of one with its headers.
const MOST_RECORD: u32 = 256 << 10;
const MOST_BLOCKS: u64 = 520;
/// Records that Linux writes at once: as many at the end may be torn.
const TORN: u64 = 8;
/// Bytes of a header that are summed, by compilers for 64 and for 32 bits.
const SUMMED: [usize; 2] = [328, 324];
/// Bytes summed of each further block of a header.
const SUMMED_MORE: usize = 260;
/// Written on a little-endian machine: what we read. All others are of 20 years ago.
const LITTLE_ENDIAN: u32 = 1;
/// Bytes that are replayed: they are read three times, and that takes its time.
const MOST_LIVE: u64 = 256 << 20;
/// Flag of the only operation in the record that an unmount writes.
const UNMOUNT: u8 = 0x20;

/// That the log is not as it should be.
pub(super) fn broken(what: &str) -> Error {
    Error::new(ErrorKind::Corrupt, format!("its log is wrong: {what}"))
}

/// The part of a log that is to be replayed.
pub(super) struct Live {
    log: Log,
    tail: u64,
    head: u64,
}

/// What was written at once: operations of transactions.
pub(super) struct Record {
    /// Turn and block.
    pub(super) lsn: u64,
    tail: u64,
    pub(super) operations: u32,
    pub(super) body: Vec<u8>,
    whole: bool,
    next: u64,
}

impl Record {
    fn is_unmount(&self) -> bool {
        self.operations == 1 && self.body.get(9).is_some_and(|flags| flags & UNMOUNT != 0)
    }
}

/// What of the log is to be replayed; `None` if it is clean.
pub(super) fn live(volume: &Volume) -> Result<Option<Live>> {
    let geometry = &volume.geometry;
    let Some(start) = geometry.log_start else { return Err(broken("it is on another device")) };
    let log = Log {
        source: Source::clone(&volume.source),
        start,
        blocks: geometry.log_len / BLOCK,
        uuid: geometry.uuid,
        summed: geometry.v5,
    };
    if log.blocks < MOST_BLOCKS {
        return Err(broken("its length"));
    }
    let Some(mut head) = log.head()? else { return Ok(None) };
    // A torn record moves the end before it, and the one before that says where the rest begins.
    for _ in 0..=TORN {
        let last = log.last_before(head)?;
        if last.next == head && last.whole && last.is_unmount() {
            return Ok(None);
        }
        if log.distance(last.tail, head) > MOST_LIVE / BLOCK {
            return Err(Error::new(ErrorKind::Unsupported, "more of its log is to be replayed than 256 MiB"));
        }
        match log.checked(last.tail, head)? {
            None => return Ok(Some(Live { tail: last.tail, log, head })),
            Some(end) => head = end,
        }
    }
    Err(broken("too many torn records"))
}

impl Live {
    /// Calls for each record, the oldest first.
    pub(super) fn each(&self, each: &mut dyn FnMut(Record) -> Result<()>) -> Result<()> {
        let mut at = self.tail;
        while at != self.head {
            let record = self.log.record(at)?.ok_or_else(|| broken("a record"))?;
            at = record.next;
            each(record)?;
        }
        Ok(())
    }
}

struct Log {
    source: Source,
    start: u64,
    blocks: u64,
    uuid: [u8; 16],
    /// Version 5, whose records have checksums.
    summed: bool,
}

impl Log {
    /// Around the ring.
    fn wrapped(&self, block: u64) -> u64 {
        block.checked_rem(self.blocks).unwrap_or(0)
    }

    /// Blocks from one forward to another.
    fn distance(&self, from: u64, to: u64) -> u64 {
        self.wrapped(to.saturating_add(self.blocks).saturating_sub(from))
    }

    /// `count` blocks, over the end of the ring.
    fn read(&self, block: u64, count: u64) -> Result<Vec<u8>> {
        let bytes = |count: u64| usize::try_from(count.saturating_mul(BLOCK)).unwrap_or(0);
        let mut buf = vec![0; bytes(count.min(self.blocks))];
        let front = count.min(self.blocks.saturating_sub(block));
        let split = bytes(front).min(buf.len());
        let (now, rest) = buf.split_at_mut(split);
        self.source.read_at(self.start.saturating_add(block.saturating_mul(BLOCK)), now)?;
        if !rest.is_empty() {
            self.source.read_at(self.start, rest)?;
        }
        Ok(buf)
    }

    /// The turn in which a block was written.
    fn turn(&self, block: u64) -> Result<u32> {
        Ok(turn(&self.read(block, 1)?))
    }

    /// The block that would be written next; `None` if none ever was.
    fn head(&self) -> Result<Option<u64>> {
        let (first, last) = (self.turn(0)?, self.turn(self.blocks.saturating_sub(1))?);
        if first == 0 {
            return Ok(None);
        }
        // The turn that begins where the newest ends, and the block where it does.
        let (older, mut head) = match first == last {
            true => (last.wrapping_sub(1), self.blocks),
            false if last == 0 || last.wrapping_add(1) == first => {
                let (mut new, mut old) = (0, self.blocks.saturating_sub(1));
                while old.saturating_sub(new) > 1 {
                    let middle = new.midpoint(old);
                    match self.turn(middle)? == last {
                        true => old = middle,
                        false => new = middle,
                    }
                }
                (last, old)
            }
            false => return Err(broken("its turns")),
        };
        // Records written at once may have left gaps, which are of older turns: it ends at the first one.
        let window = TORN.saturating_mul(MOST_BLOCKS).min(self.blocks);
        let around = window.saturating_sub(head);
        if around > 0 {
            let from = self.blocks.saturating_sub(around);
            if let Some(gap) = self.first_of(from, self.blocks, older.wrapping_sub(1))? {
                return Ok(Some(gap));
            }
        }
        if let Some(gap) = self.first_of(head.saturating_sub(window), head, older)? {
            head = gap;
        }
        Ok(Some(self.wrapped(head)))
    }

    /// The first block of `from..to` of this turn.
    fn first_of(&self, from: u64, to: u64, wanted: u32) -> Result<Option<u64>> {
        let bytes = self.read(from, to.saturating_sub(from))?;
        let found = bytes.as_chunks::<512>().0.iter().position(|block| turn(block) == wanted);
        Ok(found.and_then(|index| u64::try_from(index).ok()).map(|index| from.saturating_add(index)))
    }

    /// The last record that begins before `head`.
    fn last_before(&self, head: u64) -> Result<Record> {
        for back in 1..=MOST_BLOCKS {
            let at = self.wrapped(head.saturating_add(self.blocks).saturating_sub(back));
            if let Some(record) = self.record(at)? {
                return Ok(record);
            }
        }
        Err(broken("no record before its end"))
    }

    /// Are all records from `tail` to `head` whole? Else where it ends, if only the last ones are torn.
    fn checked(&self, tail: u64, head: u64) -> Result<Option<u64>> {
        let span = self.distance(tail, head);
        let mut at = tail;
        while at != head {
            let record = self.record(at)?.filter(|record| {
                let end = self.distance(tail, record.next);
                record.whole && end != 0 && end <= span && end > self.distance(tail, at)
            });
            let Some(record) = record else {
                let torn = self.distance(at, head) <= TORN.saturating_mul(MOST_BLOCKS);
                return if torn && at != tail { Ok(Some(at)) } else { Err(broken("a torn record")) };
            };
            at = record.next;
        }
        Ok(None)
    }

    /// The record whose header is block `at`; `None` if none is there.
    fn record(&self, at: u64) -> Result<Option<Record>> {
        let header = self.read(at, 1)?;
        if be32_at(&header, 0) != Some(MAGIC) {
            return Ok(None);
        }
        self.parse(at, &header)?
            .map_or_else(|| Err(broken("the header of a record")), |record| Ok(Some(record)))
    }

    fn parse(&self, at: u64, header: &[u8]) -> Result<Option<Record>> {
        let fields = || -> Option<(u32, u32, u32, u64, u64, u32)> {
            let field = |at| be32_at(header, at);
            Some((field(8)?, field(12)?, field(320)?, be64_at(header, 16)?, be64_at(header, 24)?, field(40)?))
        };
        let Some((version, len, size, lsn, tail, operations)) = fields() else { return Ok(None) };
        let more = if version & VERSION_2 != 0 { size.div_ceil(PER_HEADER).max(1) } else { 1 };
        let (headers, data) = (u64::from(more), u64::from(len).div_ceil(BLOCK));
        let sane = len <= MOST_RECORD && size <= MOST_RECORD && bytes_at(header, 304) == Some(self.uuid);
        if !sane || data > headers.saturating_mul(WORDS) || headers.saturating_add(data) >= self.blocks {
            return Ok(None);
        }
        let further = self.read(self.wrapped(at.saturating_add(1)), headers.saturating_sub(1))?;
        let mut body = self.read(self.wrapped(at.saturating_add(headers)), data)?;
        let summed = body.get(..usize::try_from(len).unwrap_or(0)).unwrap_or(&[]);
        let used = usize::try_from(data.div_ceil(WORDS).saturating_sub(1)).unwrap_or(0);
        let mut whole = !self.summed || is_whole(header, &further, used, summed);
        // What was really there where the turns are now.
        let words = header
            .get(44..300)
            .into_iter()
            .chain(further.as_chunks::<512>().0.iter().filter_map(|b| b.get(4..260)));
        let words = words.flat_map(|words| words.as_chunks::<4>().0);
        for (block, word) in body.as_chunks_mut::<512>().0.iter_mut().zip(words) {
            if let Some(first) = block.first_chunk_mut::<4>() {
                *first = *word;
            }
        }
        body.truncate(usize::try_from(len).unwrap_or(0));
        let next = self.wrapped(at.saturating_add(headers).saturating_add(data));
        let tail = self.wrapped(tail & u64::from(u32::MAX));
        let mut record = Record { lsn, tail, operations, body, whole, next };
        // mkfs sums nothing, and closes with the record of an unmount.
        whole |= u32_at(header, 32) == Some(0) && record.is_unmount();
        record.whole = whole && (be32_at(header, 300) == Some(LITTLE_ENDIAN) || record.is_unmount());
        Ok(Some(record))
    }
}

/// Of a block.
fn turn(block: &[u8]) -> u32 {
    match be32_at(block, 0).unwrap_or(0) {
        MAGIC => be32_at(block, 4).unwrap_or(0),
        turn => turn,
    }
}

/// Does the checksum of a record fit? Of its header with the checksum zero, `used` further ones, and the data.
fn is_whole(header: &[u8], further: &[u8], used: usize, body: &[u8]) -> bool {
    let more: Vec<_> =
        further.as_chunks::<512>().0.iter().take(used).filter_map(|b| b.get(..SUMMED_MORE)).collect();
    SUMMED.iter().any(|len| {
        let (front, rest) = (header.get(..32).unwrap_or(&[]), header.get(36..*len).unwrap_or(&[]));
        let pieces = [&[front, &[0; 4], rest][..], &more, &[body]].concat();
        u32_at(header, 32) == Some(crc32c(&pieces))
    })
}
