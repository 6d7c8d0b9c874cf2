//! The journal of ext3 and ext4 as a history: older copies of metadata blocks, and how far back it is unbroken
//! (Linux, `include/linux/jbd2.h`, `fs/jbd2/{journal,commit,recovery}.c`).
//!
//! The log goes round in circles, and begins at its first block again when it is mounted, so what was not yet
//! written over is a history, though with gaps. Blocks of data that look like blocks of the log are escaped,
//! which is why one can be told from the other anywhere.

use super::reads::Reads;
use crate::fs::Time;
use block::field::{be32_at, be64_at, bytes_at};
use block::{ExtentKind, Result, Source};
use std::collections::{BTreeMap, BTreeSet};

const MAGIC: [u8; 4] = [0xC0, 0x3B, 0x39, 0x98];
const DESCRIPTOR: u32 = 1;
const COMMIT: u32 = 2;
const REVOKE: u32 = 5;
const INCOMPAT_64BIT: u32 = 0x2;
const INCOMPAT_CSUM_V2: u32 = 0x8;
const INCOMPAT_CSUM_V3: u32 = 0x10;
const INCOMPAT_FAST_COMMIT: u32 = 0x20;
/// Bytes that are read at once, and passed over where they are known to be zero.
const PIECE: u64 = 128 << 10;

/// An older copy of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Copy {
    /// The block of the filesystem.
    pub(super) block: u64,
    /// The transaction that wrote it.
    pub(super) sequence: u32,
    /// Where in the journal, in blocks.
    at: u64,
    /// Its first four bytes were taken away.
    escaped: bool,
}

/// A block that is of the log itself.
struct Header {
    kind: u32,
    sequence: u32,
    /// Blocks of data behind it.
    copies: u64,
    time: Option<Time>,
}

/// A transaction that reached its commit.
struct Transaction {
    /// Where its first block that is still there is.
    start: u64,
    time: Option<Time>,
}

/// What a journal remembers.
pub(super) struct Log {
    journal: Source,
    block: u64,
    /// Sorted by block, then transaction.
    pub(super) copies: Vec<Copy>,
    /// When each transaction was committed.
    transactions: BTreeMap<u32, Transaction>,
    /// The oldest transaction from which on nothing is missing.
    pub(super) unbroken: Option<u32>,
    /// The journal has fast commits, which are no copies of blocks.
    pub(super) fast_commits: bool,
}

impl Log {
    /// Reads the journal, a file. `None` if it is none.
    pub(super) fn read(reads: &Reads, journal: Source, block: u64) -> Result<Option<Self>> {
        let Some(sb) = reads.get_of(&*journal, 0, 1024)? else { return Ok(None) };
        let Some(shape) = Shape::of(&sb, block, journal.size()) else { return Ok(None) };
        let fast_commits = shape.incompat & INCOMPAT_FAST_COMMIT != 0;
        let mut log = Self {
            journal,
            block,
            copies: vec![],
            transactions: BTreeMap::new(),
            unbroken: None,
            fast_commits,
        };
        let (headers, copies) = log.scan(reads, &shape)?;
        let valid = log.chain(&shape, &headers);
        log.copies =
            copies.into_iter().filter(|(header, _)| valid.contains(header)).map(|(_, copy)| copy).collect();
        log.copies.sort_unstable();
        log.unbroken = log.find_unbroken(&shape, &headers);
        Ok(Some(log))
    }

    /// The bytes of a copy; `None` if they cannot be read.
    pub(super) fn bytes(&self, reads: &Reads, copy: &Copy) -> Result<Option<Vec<u8>>> {
        let bytes = reads.get_of(&*self.journal, copy.at.saturating_mul(self.block), self.block)?;
        Ok(bytes.map(|mut bytes| {
            if let Some(first) = bytes.get_mut(..4).filter(|_| copy.escaped) {
                first.copy_from_slice(&MAGIC);
            }
            bytes
        }))
    }

    /// The copies of one block, the oldest first.
    pub(super) fn of_block(&self, block: u64) -> &[Copy] {
        let from = self.copies.partition_point(|copy| copy.block < block);
        let to = self.copies.partition_point(|copy| copy.block <= block);
        self.copies.get(from..to).unwrap_or_default()
    }

    /// When a transaction was committed.
    pub(super) fn time(&self, sequence: u32) -> Option<Time> {
        self.transactions.get(&sequence)?.time
    }

    /// Every block of the log itself, and every copy with the descriptor that names it.
    fn scan(&self, reads: &Reads, shape: &Shape) -> Result<(BTreeMap<u64, Header>, Vec<(u64, Copy)>)> {
        let (mut headers, mut copies) = (BTreeMap::new(), vec![]);
        let end = shape.end.saturating_mul(self.block);
        let mut at = shape.first.saturating_mul(self.block);
        while at < end {
            let len = PIECE.min(end.saturating_sub(at));
            let known = self.journal.extent_at(at)?;
            let is_zero = known.kind == ExtentKind::Zero && known.range.len() >= len;
            let piece = if is_zero { None } else { reads.get_of(&*self.journal, at, len)? };
            let size = usize::try_from(self.block).unwrap_or(usize::MAX);
            let first = at.checked_div(self.block).unwrap_or(0);
            for (number, bytes) in (first..).zip(piece.as_deref().unwrap_or_default().chunks_exact(size)) {
                if bytes_at(bytes, 0) == Some(MAGIC) {
                    let room = shape.end.saturating_sub(u64::try_from(copies.len()).unwrap_or(u64::MAX));
                    if let Some(header) = shape.header(number, bytes, room, &mut copies) {
                        headers.insert(number, header);
                    }
                }
            }
            at = at.saturating_add(len);
        }
        Ok((headers, copies))
    }

    /// Follows each transaction to its commit. Gives the blocks of the log that belong to those that reach it.
    fn chain(&mut self, shape: &Shape, headers: &BTreeMap<u64, Header>) -> BTreeSet<u64> {
        let next = |at: u64, header: &Header| shape.step(at, header.copies.saturating_add(1));
        let same = |at: u64, sequence: u32| headers.get(&at).filter(|header| header.sequence == sequence);
        // A block of the log where data should be: this was written over in part.
        let is_whole = |at: u64, header: &Header| {
            let (from, to) = (at.saturating_add(1), at.saturating_add(1).saturating_add(header.copies));
            let over = shape.first.saturating_add(to.saturating_sub(shape.end));
            let has = |from: u64, to: u64| from < to && headers.range(from..to).next().is_some();
            !has(from, to) && !has(shape.first, over.min(shape.end))
        };
        let led_to: BTreeSet<u64> = headers
            .iter()
            .filter(|(_, header)| header.kind != COMMIT)
            .filter_map(|(at, header)| {
                let to = next(*at, header);
                same(to, header.sequence).map(|_| to)
            })
            .collect();
        let (mut seen, mut valid, mut twice) = (BTreeSet::new(), BTreeSet::new(), vec![]);
        for (start, first) in headers.iter().filter(|(start, _)| !led_to.contains(start)) {
            let (mut at, mut blocks) = (*start, vec![]);
            while let Some(header) = same(at, first.sequence).filter(|_| seen.insert(at)) {
                if !is_whole(at, header) {
                    break;
                }
                blocks.push(at);
                if header.kind == COMMIT {
                    valid.extend(blocks);
                    let found = Transaction { start: *start, time: header.time };
                    if self.transactions.insert(first.sequence, found).is_some() {
                        twice.push(first.sequence);
                    }
                    break;
                }
                at = next(at, header);
            }
        }
        // Two of one number: which of them is the newer does not show.
        for sequence in twice {
            self.transactions.remove(&sequence);
        }
        valid
    }

    /// Goes back from the newest transaction while each one follows right on another. Between the last of a mount
    /// and the first of the next one or two numbers are left out, and the log may begin at its first block.
    fn find_unbroken(&self, shape: &Shape, headers: &BTreeMap<u64, Header>) -> Option<u32> {
        let (newest, _) = self.transactions.last_key_value()?;
        // What the superblock expects next shows whether the newest ones are still there.
        if !matches!(shape.sequence.checked_sub(*newest), Some(1 | 2)) {
            return None;
        }
        let known: BTreeSet<u32> = headers.values().map(|header| header.sequence).collect();
        let mut oldest = *newest;
        while let Some(transaction) = self.transactions.get(&oldest) {
            // The one before of which anything is there: it has to be there whole.
            let before = known.range(..oldest).next_back().copied();
            let before = before.filter(|before| {
                let left = headers.get(&shape.step_back(transaction.start));
                let follows = left.is_some_and(|left| left.kind == COMMIT && left.sequence == *before);
                oldest.saturating_sub(*before) <= 3
                    && self.transactions.contains_key(before)
                    && (follows || transaction.start == shape.first)
            });
            match before {
                Some(before) => oldest = before,
                None => break,
            }
        }
        Some(oldest)
    }
}

/// What the superblock of the journal says.
struct Shape {
    /// The first block of the log, and the one behind its last.
    first: u64,
    end: u64,
    /// The transaction that is expected next.
    sequence: u32,
    incompat: u32,
    /// Bytes of a tag, and of the checksum at the end of a descriptor.
    tag: usize,
    tail: usize,
}

impl Shape {
    fn of(sb: &[u8], block: u64, size: u64) -> Option<Self> {
        let version = be32_at(sb, 4)?;
        if bytes_at(sb, 0)? != MAGIC || !matches!(version, 3 | 4) || u64::from(be32_at(sb, 12)?) != block {
            return None;
        }
        let (s_maxlen, s_first, sequence) = (be32_at(sb, 16)?, be32_at(sb, 20)?, be32_at(sb, 24)?);
        let incompat = if version == 4 { be32_at(sb, 40)? } else { 0 };
        let there = u64::from(s_maxlen).min(size.checked_div(block)?);
        let fast = match (incompat & INCOMPAT_FAST_COMMIT, be32_at(sb, 84)?) {
            (0, _) => 0,
            (_, 0) => 256,
            (_, some) => some,
        };
        let (v2, v3) = (incompat & INCOMPAT_CSUM_V2 != 0, incompat & INCOMPAT_CSUM_V3 != 0);
        let tag = match (v3, v2, incompat & INCOMPAT_64BIT != 0) {
            (true, ..) => 16,
            (_, true, true) => 14,
            (_, true, false) => 10,
            (_, false, true) => 12,
            (_, false, false) => 8,
        };
        let (first, end) = (u64::from(s_first), there.checked_sub(fast.into())?);
        (1 <= first && first < end).then_some(Self {
            first,
            end,
            sequence,
            incompat,
            tag,
            tail: if v2 || v3 { 4 } else { 0 },
        })
    }

    /// The block this many behind, round the end.
    fn step(&self, at: u64, by: u64) -> u64 {
        let to = at.saturating_add(by);
        let over = to.checked_sub(self.end);
        over.map_or(to, |over| self.first.saturating_add(over))
    }

    /// The block in front, round the beginning.
    fn step_back(&self, at: u64) -> u64 {
        if at <= self.first { self.end.saturating_sub(1) } else { at.saturating_sub(1) }
    }

    /// A block of the log. The copies behind a descriptor are added, as many as there is `room` for.
    fn header(&self, at: u64, bytes: &[u8], room: u64, copies: &mut Vec<(u64, Copy)>) -> Option<Header> {
        let (kind, sequence) = (be32_at(bytes, 4)?, be32_at(bytes, 8)?);
        let mut header = Header { kind, sequence, copies: 0, time: None };
        match kind {
            DESCRIPTOR => {
                for (block, escaped) in self.tags(bytes) {
                    if header.copies >= room {
                        break;
                    }
                    header.copies = header.copies.saturating_add(1);
                    let place = self.step(at, header.copies);
                    copies.push((at, Copy { block, sequence, at: place, escaped }));
                }
            }
            COMMIT => {
                let seconds = be64_at(bytes, 48).and_then(|seconds| i64::try_from(seconds).ok());
                let nanos = be32_at(bytes, 56).filter(|nanos| *nanos < 1_000_000_000);
                header.time = seconds
                    .filter(|seconds| *seconds != 0)
                    .zip(nanos)
                    .map(|(s, n)| Time { seconds: s, nanos: n });
            }
            REVOKE => {}
            _ => return None,
        }
        Some(header)
    }

    /// The blocks that a descriptor names.
    fn tags(&self, bytes: &[u8]) -> Vec<(u64, bool)> {
        const ESCAPED: u32 = 1;
        const SAME_UUID: u32 = 2;
        const LAST: u32 = 8;
        let wide = self.incompat & INCOMPAT_64BIT != 0;
        let (mut found, mut at) = (vec![], 12usize);
        let end = bytes.len().saturating_sub(self.tail);
        while at.saturating_add(self.tag) <= end {
            let word = |offset: usize| be32_at(bytes, at.saturating_add(offset)).unwrap_or(0);
            let flags = if self.tag == 16 { word(4) } else { word(4) & 0xFFFF };
            let high = if wide { u64::from(word(8)) << 32 } else { 0 };
            found.push((high | u64::from(word(0)), flags & ESCAPED != 0));
            let uuid = if flags & SAME_UUID == 0 { 16 } else { 0 };
            at = at.saturating_add(self.tag).saturating_add(uuid);
            if flags & LAST != 0 {
                break;
            }
        }
        found
    }
}
