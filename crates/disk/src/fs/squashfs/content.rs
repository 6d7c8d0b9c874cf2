//! The content of a file: whole blocks, each packed alone, and its end in a fragment that it shares.

use super::super::bytes::{Fields, corrupt, narrow, wide};
use super::packed::{Packed, Place};
use block::{ByteRange, Extent, ExtentKind, ReadAt, Result};
use std::sync::Arc;

/// Blocks of one file: 4 bytes each in memory, 2 TiB of the usual 128 KiB.
const MOST_BLOCKS: u64 = 1 << 24;
/// A block's length without the bit that says how it is stored.
const LENGTH: u32 = (1 << 24) - 1;
/// Every so many blocks their place is kept, so that none is found by adding up more than these.
const STRIDE: usize = 256;

/// An open file.
pub(super) struct Content {
    packed: Arc<Packed>,
    size: u64,
    /// What each block says of its length; 0 is a hole.
    words: Vec<u32>,
    /// Where every [`STRIDE`]th block begins.
    places: Vec<u64>,
    end: Option<End>,
}

/// The last bytes of a file, where they are less than a block.
#[derive(Clone, Copy)]
pub(super) struct End {
    /// Where the fragment begins.
    pub(super) at: u64,
    /// What it says of its length.
    pub(super) word: u32,
    /// Where in it these bytes are.
    pub(super) offset: u32,
}

impl Content {
    pub(super) fn new(
        packed: Arc<Packed>,
        size: u64,
        start: u64,
        end: Option<End>,
        mut list: Place,
    ) -> Result<Self> {
        let whole = size.checked_div(packed.block_size).unwrap_or(0);
        let blocks = if end.is_some() { whole } else { size.div_ceil(packed.block_size.max(1)) };
        if blocks > MOST_BLOCKS {
            return Err(corrupt(format!("a file of {size} bytes")));
        }
        let (mut words, mut places, mut at) = (vec![], vec![], start);
        while words.len() < narrow(blocks) {
            let count = narrow(blocks).saturating_sub(words.len()).min(STRIDE);
            let bytes = packed.bytes(&mut list, count.saturating_mul(4))?;
            super::super::guard::check_time()?;
            places.push(at);
            for word in bytes.as_chunks::<4>().0 {
                let word = u32::from_le_bytes(*word);
                at = at.saturating_add((word & LENGTH).into());
                words.push(word);
            }
        }
        Ok(Self { packed, size, words, places, end })
    }

    /// Block number `number`: its place and what it says of its length.
    fn block(&self, number: usize) -> Option<(u64, u32)> {
        let word = *self.words.get(number)?;
        let from = number / STRIDE;
        let before = self.words.get(from.checked_mul(STRIDE)?..number)?;
        let before: u64 = before.iter().map(|word| u64::from(word & LENGTH)).sum();
        Some((self.places.get(from)?.saturating_add(before), word))
    }

    /// Fills the front of `buf` from one block; how many bytes.
    fn piece(&self, offset: u64, buf: &mut [u8]) -> Result<usize> {
        let size = self.packed.block_size;
        let number = offset.checked_div(size).unwrap_or(0);
        let inside = offset.saturating_sub(number.saturating_mul(size));
        let left = size.min(self.size.saturating_sub(number.saturating_mul(size))).saturating_sub(inside);
        let len = buf.len().min(narrow(left));
        let Some(buf) = buf.get_mut(..len) else { return Ok(0) };
        let (block, from) = match (self.block(narrow(number)), self.end) {
            (Some((_, 0)), _) => {
                buf.fill(0);
                return Ok(len);
            }
            (Some((at, word)), _) => (self.packed.content(at, word)?, inside),
            (None, Some(end)) => {
                (self.packed.content(end.at, end.word)?, inside.saturating_add(end.offset.into()))
            }
            (None, None) => return Err(corrupt("a file without its last block")),
        };
        let Some(bytes) = block.get(narrow(from)..).and_then(|rest| rest.get(..len)) else {
            return Err(corrupt("a block of a file unpacks to fewer bytes than the file has"));
        };
        buf.copy_from_slice(bytes);
        Ok(len)
    }
}

impl ReadAt for Content {
    fn size(&self) -> u64 {
        self.size
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<()> {
        ByteRange::within(self.size, offset, wide(buf.len()))?;
        let (mut at, mut rest) = (offset, buf);
        while !rest.is_empty() {
            let len = self.piece(at, rest)?;
            rest = rest.split_at_mut(len).1;
            at = at.saturating_add(wide(len));
        }
        Ok(())
    }

    fn extent_at(&self, offset: u64) -> Result<Extent> {
        let all = ByteRange::within(self.size, offset, self.size.saturating_sub(offset).max(1))?;
        let size = self.packed.block_size;
        let first = narrow(offset.checked_div(size).unwrap_or(0));
        let is_hole = |word: Option<&u32>| word == Some(&0);
        let hole = is_hole(self.words.get(first));
        let alike = self.words.iter().skip(first).take_while(|word| (**word == 0) == hole).count();
        let behind = first.saturating_add(alike);
        let end = match hole || is_hole(self.words.get(behind)) {
            true => wide(behind).saturating_mul(size).min(all.end()),
            false => all.end(),
        };
        let kind = if hole { ExtentKind::Zero } else { ExtentKind::Data };
        Ok(Extent { range: ByteRange::span(offset, end), kind })
    }

    fn concurrency(&self) -> usize {
        self.packed.source.concurrency()
    }

    fn granule(&self) -> u64 {
        self.packed.block_size
    }
}

impl End {
    /// From an entry of the table of fragments.
    pub(super) fn of_entry(entry: &[u8], offset: u32) -> Result<Self> {
        let entry = Fields::new(entry, "a fragment");
        Ok(Self { at: entry.u64(0)?, word: entry.u32(8)?, offset })
    }
}
