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

/// The blocks of the log, by their place.
type Headers = BTreeMap<u64, Header>;

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
    fn scan(&self, reads: &Reads, shape: &Shape) -> Result<(Headers, Vec<(u64, Copy)>)> {
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
    fn chain(&mut self, shape: &Shape, headers: &Headers) -> BTreeSet<u64> {
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
    fn find_unbroken(&self, shape: &Shape, headers: &Headers) -> Option<u32> {
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

#[cfg(test)]
#[allow(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    clippy::cast_possible_truncation
)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use testkit::Memory;

    const BLOCK: usize = 1024;

    /// A journal of 64 blocks in the making.
    struct Made(Vec<u8>);

    impl Made {
        /// The next transaction is expected to be this one.
        fn new(sequence: u32) -> Self {
            let mut made = Self(vec![0; 64 * BLOCK]);
            made.header(0, 4, 0);
            for (at, word) in [(12, 1024), (16, 64), (20, 1), (24, sequence)] {
                made.0[at..at + 4].copy_from_slice(&u32::to_be_bytes(word));
            }
            made
        }

        fn header(&mut self, at: usize, kind: u32, sequence: u32) {
            let block = &mut self.0[at * BLOCK..][..BLOCK];
            block[..4].copy_from_slice(&MAGIC);
            block[4..8].copy_from_slice(&kind.to_be_bytes());
            block[8..12].copy_from_slice(&sequence.to_be_bytes());
        }

        /// A transaction at this block, with copies of these blocks full of a byte. Gives the block behind.
        fn transaction(&mut self, at: usize, sequence: u32, copies: &[(u32, u8)]) -> usize {
            let place = |n: usize| (at - 1 + n) % 63 + 1;
            self.header(place(0), DESCRIPTOR, sequence);
            let mut tag = place(0) * BLOCK + 12;
            for (n, (block, byte)) in copies.iter().enumerate() {
                let last = if n + 1 == copies.len() { 8 } else { 0 };
                self.0[tag..tag + 4].copy_from_slice(&block.to_be_bytes());
                self.0[tag + 7] = last | if n == 0 { 0 } else { 2 };
                tag += if n == 0 { 24 } else { 8 };
                self.0[place(n + 1) * BLOCK..][..BLOCK].fill(*byte);
            }
            self.header(place(copies.len() + 1), COMMIT, sequence);
            place(copies.len() + 2)
        }

        fn read(&self) -> Option<(Reads, Log)> {
            let disk: Source = Arc::new(Memory::new(self.0.clone()));
            let reads = Reads::new(&disk);
            let log = Log::read(&reads, disk, 1024).unwrap()?;
            Some((reads, log))
        }

        fn unbroken(&self) -> Option<u32> {
            self.read().unwrap().1.unbroken
        }
    }

    /// Three in a row, the last of them after a mount.
    fn three() -> (Made, [usize; 4]) {
        let mut made = Made::new(8);
        let second = made.transaction(1, 2, &[(100, 1), (101, 2)]);
        let third = made.transaction(second, 3, &[(100, 3)]);
        let end = made.transaction(third, 6, &[(102, 4)]);
        (made, [1, second, third, end])
    }

    #[test]
    fn copies_of_each_block() {
        let (mut made, [first, ..]) = three();
        // The second copy began with the magic number.
        made.0[first * BLOCK + 12 + 24 + 7] |= 1;
        let (reads, log) = made.read().unwrap();
        let bytes = |block: u64| -> Vec<(u32, u8, u8)> {
            let copies = log.of_block(block).iter();
            copies
                .map(|copy| (copy, log.bytes(&reads, copy).unwrap().unwrap()))
                .map(|(copy, bytes)| (copy.sequence, bytes[0], bytes[9]))
                .collect()
        };
        assert_eq!((bytes(100), bytes(101)), (vec![(2, 1, 1), (3, 3, 3)], vec![(2, 0xC0, 2)]));
        assert_eq!((bytes(102), bytes(99)), (vec![(6, 4, 4)], vec![]));
        assert_eq!(log.unbroken, Some(2));
    }

    #[test]
    fn what_is_missing_breaks_it() {
        let (made, [first, second, third, _]) = three();
        let broken = |at: usize| {
            let mut made = Made(made.0.clone());
            made.0[at * BLOCK..][..12].fill(0);
            made.unbroken()
        };
        // Without its first blocks a transaction is the oldest that counts, without its commit it is none.
        assert_eq!((broken(first), broken(first + 3)), (Some(2), Some(3)));
        assert_eq!((broken(second), broken(second + 2)), (Some(3), Some(6)));
        // The superblock knows that a newer one was there.
        assert_eq!((broken(third), broken(third + 2)), (Some(6), None));
        // A number that is left out without a mount between, and a copy that was written over by the log.
        let mut gap = Made(made.0.clone());
        for at in [third, third + 2] {
            gap.header(at, if at == third { DESCRIPTOR } else { COMMIT }, 7);
        }
        assert_eq!(gap.unbroken(), Some(7));
        let mut over = Made(made.0.clone());
        over.header(second + 1, REVOKE, 9);
        let log = over.read().unwrap().1;
        assert_eq!((log.unbroken, log.of_block(100).len()), (Some(6), 1));
    }

    #[test]
    fn round_the_end() {
        let mut made = Made::new(5);
        let second = made.transaction(58, 3, &[(7, 1), (8, 2), (9, 3)]);
        assert_eq!(second, 63);
        let end = made.transaction(second, 4, &[(7, 4), (8, 5)]);
        assert_eq!((end, made.unbroken()), (4, Some(3)));
        // The newest begins at the first block again, over the end of the one before.
        made.transaction(1, 5, &[(7, 6)]);
        made.0[24..28].copy_from_slice(&6u32.to_be_bytes());
        assert_eq!(made.unbroken(), Some(5));
    }

    #[test]
    fn a_superblock_that_makes_no_sense() {
        let (made, _) = three();
        // Its magic, its version, bytes of a block, the first block behind the last.
        for (at, byte) in [(0, 0), (7, 9), (14, 8), (21, 1)] {
            let mut made = Made(made.0.clone());
            made.0[at] = byte;
            assert!(made.read().is_none(), "byte {at}");
        }
    }
}
