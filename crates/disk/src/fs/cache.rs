//! Readers ask for a sector here and 40 bytes there: pieces of the source that are kept for all of them.

use super::guard::{check_time, waiting};
use block::{ByteRange, Error, ErrorKind, Extent, ReadAt, Result, Source};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Bytes of a piece, unless the source's own are larger.
const PIECE: u64 = 16 << 10;
/// Bytes that are kept in all.
const CAPACITY: u64 = 8 << 20;
/// Locks, so that threads seldom wait for each other.
const SHARDS: usize = 16;
/// A read of this much is content passing through, and leaves nothing here.
const LARGE: usize = 64 << 10;

/// A source that remembers what was read of it lately.
pub(crate) struct Cache {
    source: Source,
    piece: u64,
    /// Pieces of a shard.
    most: usize,
    shards: [Mutex<Shard>; SHARDS],
}

#[derive(Default)]
struct Shard {
    pieces: HashMap<u64, (Arc<Vec<u8>>, u64)>,
    clock: u64,
}

impl Shard {
    /// Forgets the oldest pieces until one more has room among `most`; memory of one, to be used again.
    fn make_room(&mut self, most: usize) -> Vec<u8> {
        let mut memory = vec![];
        while self.pieces.len() >= most {
            let oldest = self.pieces.iter().min_by_key(|(_, (_, used))| *used).map(|(number, _)| *number);
            let piece = oldest.and_then(|oldest| self.pieces.remove(&oldest));
            memory = piece.and_then(|(piece, _)| Arc::into_inner(piece)).unwrap_or_default();
        }
        memory
    }
}

impl Cache {
    pub(crate) fn new(source: Source) -> Self {
        let piece = source.granule().clamp(PIECE, 1 << 20).next_power_of_two();
        let pieces = CAPACITY.checked_div(piece).and_then(|pieces| usize::try_from(pieces).ok());
        let most = pieces.and_then(|pieces| pieces.checked_div(SHARDS)).unwrap_or(0).max(4);
        Self { source, piece, most, shards: Default::default() }
    }

    /// Piece number `number`, shorter at the end.
    fn piece(&self, number: u64) -> Result<Arc<Vec<u8>>> {
        let shard = usize::try_from(number).unwrap_or(usize::MAX).checked_rem(SHARDS);
        let Some(shard) = shard.and_then(|shard| self.shards.get(shard)) else {
            return Err(Error::new(ErrorKind::Bug, "a shard of the cache"));
        };
        let mut locked = shard.lock().unwrap_or_else(PoisonError::into_inner);
        locked.clock = locked.clock.wrapping_add(1);
        let now = locked.clock;
        if let Some((piece, used)) = locked.pieces.get_mut(&number) {
            *used = now;
            return Ok(Arc::clone(piece));
        }
        let mut bytes = locked.make_room(self.most);
        drop(locked); // others may read meanwhile
        let start = number.saturating_mul(self.piece);
        let len = self.piece.min(self.source.size().saturating_sub(start));
        bytes.resize(usize::try_from(len).unwrap_or(0), 0);
        waiting(|| self.source.read_at(start, &mut bytes))?;
        let piece = Arc::new(bytes);
        let mut locked = shard.lock().unwrap_or_else(PoisonError::into_inner);
        locked.make_room(self.most);
        locked.pieces.insert(number, (Arc::clone(&piece), now));
        Ok(piece)
    }
}

impl ReadAt for Cache {
    fn size(&self) -> u64 {
        self.source.size()
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<()> {
        check_time()?;
        let len = u64::try_from(buf.len()).unwrap_or(u64::MAX);
        let range = ByteRange::within(self.size(), offset, len)?;
        if buf.len() >= LARGE {
            return waiting(|| self.source.read_at(offset, buf));
        }
        let (mut at, mut rest) = (range.start(), buf);
        while !rest.is_empty() {
            let place = at.checked_div(self.piece).zip(at.checked_rem(self.piece));
            let Some((number, inside)) = place else { return Err(Error::at(ErrorKind::Bug, range)) };
            let piece = match self.piece(number) {
                Ok(piece) => piece,
                // Another part of the piece may be what nobody has.
                Err(error) if matches!(error.kind(), ErrorKind::Media | ErrorKind::Absent) => {
                    return waiting(|| self.source.read_at(at, rest));
                }
                Err(error) => return Err(error),
            };
            let known = usize::try_from(inside).ok().and_then(|inside| piece.get(inside..)).unwrap_or(&[]);
            let taken = known.len().min(rest.len());
            let (now, later) = rest.split_at_mut(taken);
            if now.is_empty() {
                return Err(Error::at(ErrorKind::OutOfRange, range));
            }
            now.copy_from_slice(known.get(..taken).unwrap_or(&[]));
            rest = later;
            at = at.saturating_add(u64::try_from(taken).unwrap_or(u64::MAX));
        }
        Ok(())
    }

    fn extent_at(&self, offset: u64) -> Result<Extent> {
        self.source.extent_at(offset)
    }

    fn concurrency(&self) -> usize {
        self.source.concurrency()
    }

    fn granule(&self) -> u64 {
        self.piece
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use testkit::Memory;

    #[test]
    fn gives_what_the_source_has_at_every_place() {
        let bytes: Vec<u8> = (0..50_000_u32).map(|n| n.to_le_bytes()[0] ^ n.to_le_bytes()[1]).collect();
        let cache = Cache::new(Arc::new(Memory::new(bytes.clone())));
        for (at, len) in [(0, 1), (16_383, 2), (0, 50_000), (49_999, 1), (10_000, 30_000), (50_000, 0)] {
            let mut buf = vec![0xAA; len];
            cache.read_at(u64::try_from(at).unwrap(), &mut buf).unwrap();
            assert_eq!(Some(buf.as_slice()), bytes.get(at..at + len));
        }
        assert_eq!(cache.read_at(49_999, &mut [0; 2]).unwrap_err().kind(), ErrorKind::OutOfRange);
    }

    #[test]
    fn a_bad_place_hides_nothing_beside_it() {
        let memory = Memory::new(vec![7; 1 << 16]).with(|disk| disk.bad = vec![ByteRange::span(512, 1024)]);
        let cache = Cache::new(Arc::new(memory));
        let mut buf = [0; 512];
        cache.read_at(1024, &mut buf).unwrap();
        assert_eq!(buf, [7; 512]);
        assert_eq!(cache.read_at(1000, &mut buf).unwrap_err().kind(), ErrorKind::Media);
    }
}
