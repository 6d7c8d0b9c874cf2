//! Clusters and the table that chains them: what FAT and exFAT have in common.

use super::runs::read_pieces;
use block::field::{u16_at, u32_at};
use block::{ByteRange, Error, ErrorKind, Extent, ExtentKind, ReadAt, Result, Source};
use std::collections::HashSet;
use std::num::NonZeroU64;

/// Bytes of the table that are read at once.
const WINDOW: u64 = 4096;
/// Pieces of a file; 16 bytes each. No honest one has as many.
const MOST_RUNS: usize = 4 << 20;
/// Bytes of a directory: what exFAT allows.
const LARGEST_DIRECTORY: u64 = 256 << 20;
/// Bytes of a directory entry.
pub(super) const ENTRY: usize = 32;

/// How wide the numbers of the table are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Width {
    Fat12,
    Fat16,
    Fat32,
    Exfat,
}

/// Where clusters are.
pub(super) struct Clusters {
    pub(super) source: Source,
    /// The table, and its copy.
    pub(super) tables: Vec<ByteRange>,
    pub(super) width: Width,
    /// Where cluster 2 begins, in bytes.
    pub(super) heap: u64,
    /// Bytes of a cluster.
    pub(super) size: NonZeroU64,
    /// Clusters there are; they count from 2.
    pub(super) count: u64,
}

/// How the clusters of a file follow each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Storage {
    /// By the table, from this one on.
    Chain(u32),
    /// One behind the other, without the table.
    Row(u32),
}

/// The part of the table that was read last.
#[derive(Default)]
struct Window {
    at: u64,
    bytes: Vec<u8>,
}

impl Clusters {
    /// The bytes of a cluster; `None` if there is no such one.
    pub(super) fn place(&self, cluster: u32) -> Option<ByteRange> {
        let index = u64::from(cluster).checked_sub(2).filter(|index| *index < self.count)?;
        let start = self.heap.checked_add(index.checked_mul(self.size.get())?)?;
        ByteRange::new(start, self.size.get()).filter(|range| range.end() <= self.source.size())
    }

    /// The cluster that holds the byte at `place` of the volume.
    pub(super) fn of_place(&self, place: u64) -> Option<u32> {
        let index = place.checked_sub(self.heap)? / self.size;
        u32::try_from(index.checked_add(2)?).ok().filter(|cluster| self.place(*cluster).is_some())
    }

    /// The one behind it; `None` at the end. Fails where the chain leads out of the volume.
    pub(super) fn next(&self, storage: Storage, cluster: u32) -> Result<Option<u32>> {
        match storage {
            Storage::Row(_) => Ok(cluster.checked_add(1)),
            Storage::Chain(_) => self.chained(cluster, &mut Window::default()),
        }
    }

    fn chained(&self, cluster: u32, window: &mut Window) -> Result<Option<u32>> {
        let number = u64::from(cluster);
        let (at, len) = match self.width {
            Width::Fat12 => (number.saturating_add(number / 2), 2),
            Width::Fat16 => (number.saturating_mul(2), 2),
            Width::Fat32 | Width::Exfat => (number.saturating_mul(4), 4),
        };
        let known = ByteRange::span(window.at, window.at.saturating_add(len_of(&window.bytes)));
        if !known.covers(ByteRange::span(at, at.saturating_add(len))) {
            *window = self.window(at & !0x1FF)?;
        }
        let index = usize::try_from(at.saturating_sub(window.at)).unwrap_or(usize::MAX);
        let entry = match self.width {
            Width::Fat12 => u16_at(&window.bytes, index).map(|pair| {
                let pair = u32::from(pair);
                if cluster % 2 == 1 { pair >> 4 } else { pair & 0xFFF }
            }),
            Width::Fat16 => u16_at(&window.bytes, index).map(u32::from),
            Width::Fat32 => u32_at(&window.bytes, index).map(|entry| entry & 0x0FFF_FFFF),
            Width::Exfat => u32_at(&window.bytes, index),
        };
        let entry = entry.ok_or_else(|| corrupt("its table ends before its clusters do"))?;
        let end = match self.width {
            Width::Fat12 => 0xFF8,
            Width::Fat16 => 0xFFF8,
            Width::Fat32 => 0x0FFF_FFF8,
            Width::Exfat => 0xFFFF_FFF8,
        };
        match self.place(entry) {
            Some(_) => Ok(Some(entry)),
            None if entry >= end => Ok(None),
            None => Err(corrupt(&format!("cluster {cluster} is followed by {entry:#x}, which is none"))),
        }
    }

    /// From the first table whose bytes somebody has.
    fn window(&self, at: u64) -> Result<Window> {
        let mut failure = None;
        for table in &self.tables {
            let start = table.start().saturating_add(at);
            let range = ByteRange::span(start, table.end().min(start.saturating_add(WINDOW)));
            let mut bytes = vec![0; usize::try_from(range.len()).unwrap_or(0)];
            match self.source.read_at(range.start(), &mut bytes) {
                Ok(()) => return Ok(Window { at, bytes }),
                Err(error) => failure = failure.or(Some(error)),
            }
        }
        Err(failure.unwrap_or_else(|| corrupt("it has no table")))
    }

    /// A file of `size` bytes, of which those from `valid` on were never written. A chain that ends or breaks
    /// too early gives a file that can be read up to there.
    pub(super) fn file(&self, storage: Option<Storage>, size: u64, valid: u64) -> Result<File> {
        let need = size.div_ceil(self.size.get());
        if need > self.count {
            return Err(corrupt(&format!("its size of {size} is more than the volume has")));
        }
        let mut file = File {
            source: Source::clone(&self.source),
            runs: vec![],
            good: 0,
            valid: valid.min(size),
            size,
            damage: "its clusters end before it does".into(),
        };
        let mut window = Window::default();
        let mut next = storage.map(|(Storage::Chain(first) | Storage::Row(first))| first);
        // Its last byte in the volume, to see what lies side by side.
        let mut end = None;
        while file.good < size {
            let Some(place) = next.and_then(|cluster| self.place(cluster)) else { break };
            if end != Some(place.start()) {
                file.runs.push((file.good, place.start()));
            }
            if file.runs.len() > MOST_RUNS {
                return Err(Error::new(ErrorKind::Unsupported, "a file of more than 4 million pieces"));
            }
            end = Some(place.end());
            file.good = file.good.saturating_add(self.size.get());
            next = match (storage, next) {
                (Some(Storage::Chain(_)), Some(cluster)) if file.good < size => {
                    match self.chained(cluster, &mut window) {
                        Ok(next) => next,
                        Err(error) if error.kind() == ErrorKind::Corrupt => {
                            file.damage = error.to_string();
                            None
                        }
                        Err(error) => return Err(error),
                    }
                }
                (_, next) => next.and_then(|cluster| cluster.checked_add(1)),
            };
        }
        file.good = file.good.min(size);
        file.check()?;
        Ok(file)
    }

    /// Calls `each` with every entry of a directory and where in the volume it is, until it says `false`. `len`: its
    /// bytes, where that is known.
    pub(super) fn entries(
        &self,
        storage: Storage,
        len: Option<u64>,
        each: &mut dyn FnMut(u64, &[u8; ENTRY]) -> Result<bool>,
    ) -> Result<()> {
        let (mut seen, mut left) = (HashSet::new(), len.unwrap_or(u64::MAX).min(LARGEST_DIRECTORY));
        let (Storage::Chain(first) | Storage::Row(first)) = storage;
        let mut next = Some(first);
        while let Some(cluster) = next.filter(|_| left > 0) {
            let place =
                self.place(cluster).ok_or_else(|| corrupt(&format!("there is no cluster {cluster}")))?;
            if !seen.insert(cluster) {
                return Err(corrupt("the clusters of a directory lead round in a circle"));
            }
            let range = ByteRange::span(place.start(), place.end().min(place.start().saturating_add(left)));
            if !entries_in(&*self.source, range, each)? {
                return Ok(());
            }
            left = left.saturating_sub(range.len());
            if left > 0 {
                next = self.next(storage, cluster)?;
            }
        }
        Ok(())
    }
}

/// The entries of a part of the volume. `false` if `each` wants no more.
pub(super) fn entries_in(
    source: &dyn ReadAt,
    range: ByteRange,
    each: &mut dyn FnMut(u64, &[u8; ENTRY]) -> Result<bool>,
) -> Result<bool> {
    for piece in range.pieces(64 << 10) {
        let mut bytes = vec![0; usize::try_from(piece.len()).unwrap_or(0)];
        source.read_at(piece.start(), &mut bytes)?;
        let (entries, _) = bytes.as_chunks::<ENTRY>();
        for (entry, at) in entries.iter().zip((piece.start()..).step_by(ENTRY)) {
            if !each(at, entry)? {
                return Ok(false);
            }
        }
    }
    Ok(true)
}

/// The content of a file.
pub(super) struct File {
    source: Source,
    /// Where pieces begin: in the file, and in the volume.
    runs: Vec<(u64, u64)>,
    /// Bytes that the pieces have.
    good: u64,
    /// Bytes behind these were never written: they read as zeroes.
    valid: u64,
    size: u64,
    /// What happened at `good`.
    damage: String,
}

impl File {
    /// A chain that comes back to itself would give the same bytes again and again.
    fn check(&self) -> Result<()> {
        let ends = self.runs.iter().skip(1).map(|run| run.0).chain([self.good]);
        let mut places: Vec<_> =
            self.runs.iter().zip(ends).map(|(run, end)| (run.1, end.saturating_sub(run.0))).collect();
        places.sort_unstable();
        let overlap = places.windows(2).any(|pair| match pair {
            [one, next] => one.0.saturating_add(one.1) > next.0,
            _ => false,
        });
        if overlap { Err(corrupt("its clusters lead round in a circle")) } else { Ok(()) }
    }

    /// From `offset` on: the place in the volume, or none where it reads as zeroes, and how many bytes.
    fn find(&self, offset: u64) -> Result<(Option<u64>, u64)> {
        if offset >= self.valid {
            return Ok((None, self.size.saturating_sub(offset)));
        }
        let behind = self.runs.partition_point(|(start, _)| *start <= offset);
        let run = behind.checked_sub(1).and_then(|at| self.runs.get(at)).filter(|_| offset < self.good);
        let Some((start, place)) = run else { return Err(corrupt(&self.damage)) };
        let end = self.runs.get(behind).map_or(self.good, |(start, _)| *start).min(self.valid);
        Ok((Some(place.saturating_add(offset.saturating_sub(*start))), end.saturating_sub(offset)))
    }
}

impl ReadAt for File {
    fn size(&self) -> u64 {
        self.size
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<()> {
        let piece = |at: u64| {
            let (place, len) = self.find(at)?;
            Ok((ByteRange::span(at, at.saturating_add(len)), place))
        };
        read_pieces(self.size, offset, buf, piece, |_, place, now| match place {
            Some(place) => self.source.read_at(place, now),
            None => {
                now.fill(0);
                Ok(())
            }
        })
    }

    fn extent_at(&self, offset: u64) -> Result<Extent> {
        ByteRange::within(self.size, offset, 1)?;
        let rest = ByteRange::span(offset, self.size);
        let Ok((place, len)) = self.find(offset) else {
            return Ok(Extent { range: rest, kind: ExtentKind::Data });
        };
        let range = rest.intersect(ByteRange::span(offset, offset.saturating_add(len)));
        let Some(place) = place else { return Ok(Extent { range, kind: ExtentKind::Zero }) };
        let known = self.source.extent_at(place)?;
        Ok(Extent { range: range.intersect(known.range.moved(place, offset)), kind: known.kind })
    }

    fn concurrency(&self) -> usize {
        self.source.concurrency()
    }
}

fn len_of(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}

pub(super) fn corrupt(words: &str) -> Error {
    Error::new(ErrorKind::Corrupt, words)
}
