//! Whether the log of an XFS has something to replay (kernel, `fs/xfs/xfs_log_recover.c`).
//!
//! The log is a ring of 512-byte blocks. The first word of each is the number of the turn in which it was
//! written, or, in the header of a record, a magic with that number behind it. The log is clean if its
//! last record is that of an unmount.

use super::{Window, window::Bytes};

const MAGIC: u32 = 0xFEED_BABE;
const BLOCK: u64 = 512;
/// Bytes of data that one block of a header describes.
const PER_HEADER: u32 = 32 << 10;
const VERSION_2: u32 = 2;
/// Flag in the second half of an operation's header.
const UNMOUNT_TRANS: u8 = 0x20;
/// Blocks behind the end in which the record of an unmount begins: it fills a stripe unit of 256 KiB at most.
const BACK: u64 = 520;
/// Blocks that are read at once.
const PIECE: u64 = 40;

/// Of the log of `blocks` blocks at byte `start`; `None` if it cannot be told.
pub(super) fn is_clean(disk: &Window, start: u64, blocks: u64) -> Option<bool> {
    let log = Log { disk, start, blocks };
    let first = log.turn(0)?;
    if first == 0 {
        // Never written.
        return Some(true);
    }
    let head = log.head(first)?;
    let Some((at, header)) = log.last_record(head)? else { return Some(false) };
    let (h_version, h_len, h_num_logops) = (header.be32(8)?, header.be32(12)?, header.be32(40)?);
    let h_size = header.be32(320)?;
    let headers = if h_version == VERSION_2 { h_size.div_ceil(PER_HEADER).max(1) } else { 1 };
    let data = at.checked_add(headers.into())?.checked_rem(blocks)?;
    let end = data.checked_add(u64::from(h_len).div_ceil(BLOCK))?.checked_rem(blocks)?;
    if h_num_logops != 1 || end != head.checked_rem(blocks)? {
        return Some(false);
    }
    // The header of the only operation: transaction, length, client, flags.
    Some(log.block(data)?.u8(9)? & UNMOUNT_TRANS != 0)
}

struct Log<'a> {
    disk: &'a Window<'a>,
    start: u64,
    blocks: u64,
}

impl Log<'_> {
    fn read(&self, block: u64, count: u64) -> Option<Bytes> {
        let at = block.checked_mul(BLOCK)?.checked_add(self.start)?;
        self.disk.get(at, usize::try_from(count.checked_mul(BLOCK)?).ok()?)
    }

    fn block(&self, block: u64) -> Option<Bytes> {
        self.read(block, 1)
    }

    /// The turn in which a block was written.
    fn turn(&self, block: u64) -> Option<u32> {
        let bytes = self.block(block)?;
        match bytes.be32(0)? {
            MAGIC => bytes.be32(4),
            turn => Some(turn),
        }
    }

    /// The block behind the newest one: the first one of an earlier turn, found by halving.
    fn head(&self, first: u32) -> Option<u64> {
        if self.turn(self.blocks.checked_sub(1)?)? == first {
            return Some(self.blocks);
        }
        let (mut new, mut old) = (0, self.blocks.checked_sub(1)?);
        while old.checked_sub(new)? > 1 {
            let middle = new.checked_add(old)? / 2;
            if self.turn(middle)? == first {
                new = middle;
            } else {
                old = middle;
            }
        }
        Some(old)
    }

    /// The newest record header near `head`, going back, also over the start of the ring.
    fn last_record(&self, head: u64) -> Option<Option<(u64, Bytes)>> {
        let mut end = head;
        let mut looked = 0u64;
        while looked < BACK.min(self.blocks) {
            if end == 0 {
                end = self.blocks;
            }
            let count = PIECE.min(end);
            let from = end.checked_sub(count)?;
            let piece = self.read(from, count)?;
            let chunks = piece.0.as_chunks::<512>().0;
            if let Some(index) = chunks.iter().rposition(|block| block.starts_with(&MAGIC.to_be_bytes())) {
                let at = from.checked_add(u64::try_from(index).ok()?)?;
                return Some(Some((at, Bytes(chunks.get(index)?.to_vec()))));
            }
            looked = looked.saturating_add(count);
            end = from;
        }
        Some(None)
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
    use testkit::Memory;

    const BLOCKS: usize = 64;

    /// A ring whose newest record, of `len` blocks, ends before block `head` of turn 7; older ones are of
    /// turn 6. The last operation has these flags.
    fn ring(head: usize, len: usize, flags: u8) -> Memory {
        let mut bytes = vec![0u8; BLOCKS * 512];
        for (block, place) in bytes.chunks_mut(512).enumerate() {
            let turn: u32 = if block < head { 7 } else { 6 };
            place[..4].copy_from_slice(&turn.to_be_bytes());
        }
        let at = (head + BLOCKS - len - 1) % BLOCKS;
        let turn: u32 = if at < head { 7 } else { 6 };
        let header = &mut bytes[at * 512..][..512];
        for (at, word) in
            [(0, MAGIC), (4, turn), (8, 2), (12, (len as u32) * 512), (40, 1), (320, PER_HEADER)]
        {
            header[at..at + 4].copy_from_slice(&word.to_be_bytes());
        }
        bytes[(at + 1) % BLOCKS * 512 + 9] = flags;
        Memory::new(bytes)
    }

    fn clean(head: usize, len: usize, flags: u8) -> Option<bool> {
        is_clean(&Window::new(&ring(head, len, flags)), 0, BLOCKS as u64)
    }

    #[test]
    fn the_end_may_lie_anywhere() {
        for head in 1..=BLOCKS {
            for len in 1..8 {
                assert_eq!(clean(head, len, UNMOUNT_TRANS), Some(true), "{head} {len}");
                assert_eq!(clean(head, len, 0), Some(false), "{head} {len}");
            }
        }
    }

    #[test]
    fn never_written_and_no_record() {
        let blank = Memory::new(vec![0; BLOCKS * 512]);
        assert_eq!(is_clean(&Window::new(&blank), 0, BLOCKS as u64), Some(true));
        let junk = Memory::new(vec![1; BLOCKS * 512]);
        assert_eq!(is_clean(&Window::new(&junk), 0, BLOCKS as u64), Some(false));
        assert_eq!(is_clean(&Window::new(&junk), 0, 0), None);
        assert_eq!(is_clean(&Window::new(&junk), u64::MAX, 9), None);
    }
}
