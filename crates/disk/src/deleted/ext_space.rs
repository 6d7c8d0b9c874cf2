//! Whose the blocks of deleted files are: the bitmaps of now, and those that the journal remembers, in which
//! blocks were free and then in use again.

use super::DeletedFile;
use super::bits;
use super::claims::Tally;
use super::ext::Volume;
use super::jbd2::Log;
use block::Result;
use std::collections::HashMap;

/// Copies of blocks that are looked at for all files.
const STEPS: u64 = 50_000_000;

/// Bits that are looked at for all files.
const BITS: u64 = 1_000_000_000;

/// A piece of a file in one group.
struct Piece {
    group: u64,
    /// Bits of its bitmap.
    first: u64,
    end: u64,
    file: usize,
}

/// What is known of space.
pub(super) struct Space<'a> {
    volume: &'a Volume<'a>,
    log: &'a Log,
    /// By file, the transaction in which it was last seen.
    seen: HashMap<u64, u32>,
    /// Metadata of the groups: first block and how many, sorted; made when it is needed.
    fixed: Vec<(u64, u64)>,
}

impl<'a> Space<'a> {
    pub(super) fn new(volume: &'a Volume<'a>, log: &'a Log) -> Self {
        Self { volume, log, seen: HashMap::new(), fixed: vec![] }
    }

    /// This file was last seen in that transaction.
    pub(super) fn note(&mut self, id: u64, seen: u32) {
        self.seen.insert(id, seen);
    }

    /// Judges all files.
    pub(super) fn settle(mut self, files: &mut [DeletedFile]) -> Result<()> {
        let mut pieces = self.pieces(files);
        pieces.sort_unstable_by_key(|piece| (piece.group, piece.first));
        let (mut now, mut since) = (vec![Tally::default(); files.len()], vec![Tally::default(); files.len()]);
        let mut bits = BITS;
        for of_group in pieces.chunk_by(|one, other| one.group == other.group) {
            let Some(group) = of_group.first().map(|piece| piece.group) else { continue };
            let bitmap = self.bitmap(group)?;
            let taken = self.taken_again(group)?;
            for piece in of_group {
                let seen =
                    files.get(piece.file).and_then(|file| self.seen.get(&file.id)).copied().unwrap_or(0);
                if let Some(tally) = now.get_mut(piece.file) {
                    match &bitmap {
                        Some(bitmap) => bits::scan(bitmap, 0, piece.first, piece.end, tally),
                        None => tally.add(true),
                    }
                }
                let (Some(tally), Some(taken)) = (since.get_mut(piece.file), &taken) else { continue };
                bits = bits.saturating_sub(piece.end.saturating_sub(piece.first));
                if bits == 0 {
                    tally.add(true);
                    continue;
                }
                for bit in piece.first..piece.end {
                    let last = usize::try_from(bit).ok().and_then(|bit| taken.get(bit)).copied().unwrap_or(0);
                    tally.add(last > seen);
                }
            }
        }
        self.metadata(files, &mut since);
        for (file, (now, since)) in files.iter_mut().zip(now.into_iter().zip(since)) {
            now.worsen(file, "some of its place is in use now", "all of its place is in use now");
            since.worsen(file, "others had some of its place since", "others had all of its place since");
        }
        Ok(())
    }

    fn pieces(&self, files: &[DeletedFile]) -> Vec<Piece> {
        let (volume, mut pieces) = (self.volume, vec![]);
        for (index, file) in files.iter().enumerate() {
            for place in file.content.places(file.size) {
                let first = place.start().checked_div(volume.block).unwrap_or(0);
                let end = place.end().div_ceil(volume.block);
                let mut at = first.saturating_sub(volume.first_block);
                let end = end.saturating_sub(volume.first_block);
                while at < end {
                    let group = at.checked_div(volume.per_group).unwrap_or(0);
                    let base = group.saturating_mul(volume.per_group);
                    let stop = end.min(base.saturating_add(volume.per_group));
                    let bit =
                        |block: u64| block.saturating_sub(base).checked_div(volume.cluster).unwrap_or(0);
                    let last = bit(stop.saturating_sub(1)).saturating_add(1);
                    pieces.push(Piece { group, first: bit(at), end: last, file: index });
                    at = stop;
                }
            }
        }
        pieces
    }

    /// The bitmap of a group as it is now: on the disk, or what a fresh one would say.
    fn bitmap(&mut self, number: u64) -> Result<Option<Vec<u8>>> {
        let group = usize::try_from(number).ok().and_then(|index| self.volume.groups.get(index)).copied();
        let Some(group) = group.filter(|group| group.block_bitmap != 0) else { return Ok(None) };
        if !group.is_fresh {
            return self.volume.on_disk(group.block_bitmap);
        }
        let volume = self.volume;
        if self.fixed.is_empty() {
            for group in &volume.groups {
                self.fixed.extend([(group.block_bitmap, 1), (group.inode_bitmap, 1)]);
                self.fixed.push((group.inode_table, volume.table_blocks()));
            }
            self.fixed.sort_unstable();
        }
        let start = volume.first_block_of(number);
        let end = start.saturating_add(volume.per_group);
        let from =
            self.fixed.partition_point(|(first, _)| *first < start.saturating_sub(volume.table_blocks()));
        let head = if volume.has_super(number) { volume.super_blocks() } else { 0 };
        let ranges = self.fixed.iter().skip(from).take_while(|(first, _)| *first < end).copied();
        let mut bitmap = vec![0u8; usize::try_from(volume.block).unwrap_or(0)];
        for (first, count) in ranges.chain([(start, head)]) {
            for block in first.max(start)..first.saturating_add(count).min(end) {
                let bit = block.saturating_sub(start).checked_div(volume.cluster).unwrap_or(0);
                let byte = usize::try_from(bit / 8).ok().and_then(|byte| bitmap.get_mut(byte));
                if let Some(byte) = byte {
                    *byte |= 1 << (bit % 8);
                }
            }
        }
        Ok(Some(bitmap))
    }

    /// For each bit of a group the last transaction that left it free before it was in use again, 0 if none.
    /// `None` if there is no older bitmap.
    fn taken_again(&self, number: u64) -> Result<Option<Vec<u32>>> {
        let group = usize::try_from(number).ok().and_then(|index| self.volume.groups.get(index));
        let Some(group) = group else { return Ok(None) };
        let mut taken: Option<Vec<u32>> = None;
        let mut before: Option<(u32, Vec<u8>)> = None;
        for copy in self.log.of_block(group.block_bitmap) {
            let Some(bytes) = self.log.bytes(self.volume.reads, copy)? else { continue };
            let taken = taken.get_or_insert_with(|| vec![0; bytes.len().saturating_mul(8)]);
            if let Some((sequence, old)) = &before {
                for ((old, new), bits) in old.iter().zip(&bytes).zip(taken.as_chunks_mut::<8>().0) {
                    let came = new & !old;
                    if came == 0 {
                        continue;
                    }
                    for (bit, last) in bits.iter_mut().enumerate() {
                        if came >> bit & 1 == 1 {
                            *last = *sequence;
                        }
                    }
                }
            }
            before = Some((copy.sequence, bytes));
        }
        Ok(taken)
    }

    /// Blocks that were metadata later: the journal has a copy of each.
    fn metadata(&self, files: &[DeletedFile], since: &mut [Tally]) {
        let mut steps = STEPS;
        for (file, tally) in files.iter().zip(since) {
            let seen = self.seen.get(&file.id).copied().unwrap_or(0);
            for place in file.content.places(file.size) {
                let first = place.start().checked_div(self.volume.block).unwrap_or(0);
                let end = place.end().div_ceil(self.volume.block);
                let from = self.log.copies.partition_point(|copy| copy.block < first);
                let copies = self.log.copies.iter().skip(from).take_while(|copy| copy.block < end);
                for copy in copies {
                    steps = steps.saturating_sub(1);
                    if copy.sequence > seen || steps == 0 {
                        tally.add(true);
                        break;
                    }
                }
            }
        }
    }
}
