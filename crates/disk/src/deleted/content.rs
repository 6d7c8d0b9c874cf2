//! Where the bytes of a deleted file are, and they as a source.

use super::claims::Tally;
use crate::fs::ntfs::{Algorithm, Lznt1, Wof};
use block::{ByteRange, Error, ErrorKind, Extent, ExtentKind, ReadAt, Result, Source, extents};
use std::sync::Arc;

/// Where a run lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// At this byte of the volume.
    At(u64),
    /// Nowhere: a hole, or what was never written to.
    Zero,
    /// Not known any more.
    Unknown,
}

/// Consecutive bytes of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Run {
    /// Bytes; not 0.
    pub(super) len: u64,
    pub(super) place: Place,
}

/// Adds a run, joined with the one before where they are one.
pub(super) fn push(runs: &mut Vec<Run>, len: u64, place: Place) {
    if len == 0 {
        return;
    }
    if let Some(last) = runs.last_mut() {
        let joined = match (last.place, place) {
            (Place::At(at), Place::At(next)) => at.checked_add(last.len) == Some(next),
            (last, next) => last == next,
        };
        if let Some(both) = last.len.checked_add(len).filter(|_| joined) {
            last.len = both;
            return;
        }
    }
    runs.push(Run { len, place });
}

/// Runs of which only the first `written` bytes were ever written to: the rest reads as zeroes.
pub(super) fn written_to(runs: &[Run], written: u64) -> Vec<Run> {
    let (mut cut, mut left) = (vec![], written);
    for run in runs {
        let len = run.len.min(left);
        push(&mut cut, len, run.place);
        push(&mut cut, run.len.saturating_sub(len), Place::Zero);
        left = left.saturating_sub(len);
    }
    cut
}

/// The bytes of a file.
#[derive(Clone, Debug)]
pub(super) enum Content {
    /// Kept with the metadata.
    Bytes(Arc<[u8]>),
    /// Runs from its first byte on. What they do not reach is unknown.
    Runs(Arc<[Run]>),
    /// Packed by NTFS, in runs whose places are all known: whole clusters, those behind its last byte too.
    Packed(Arc<[Run]>, Lznt1),
    /// Packed by Windows, in a stream of so many bytes.
    Wof(Arc<Content>, u64, Algorithm),
    /// Kept in a way that is not understood, in these words.
    Other(&'static str, Arc<[Run]>),
}

impl Content {
    /// Its runs; none if its bytes are here.
    pub(super) fn runs(&self) -> &[Run] {
        match self {
            Self::Bytes(_) => &[],
            Self::Runs(runs) | Self::Other(_, runs) | Self::Packed(runs, _) => runs,
            Self::Wof(packed, ..) => packed.runs(),
        }
    }

    /// Bytes of its runs that its first `size` bytes are made of.
    pub(super) fn needed(&self, size: u64) -> u64 {
        match self {
            Self::Bytes(_) => 0,
            Self::Runs(_) | Self::Other(..) => size,
            Self::Packed(runs, _) => runs.iter().fold(0, |sum, run| sum.saturating_add(run.len)),
            Self::Wof(packed, held, _) => packed.needed(*held),
        }
    }

    /// The runs with places that its first `size` bytes are made of.
    pub(super) fn places(&self, size: u64) -> impl Iterator<Item = ByteRange> + '_ {
        let mut left = self.needed(size);
        self.runs().iter().filter_map(move |run| {
            let len = run.len.min(left);
            left = left.saturating_sub(len);
            match run.place {
                Place::At(at) if len > 0 => ByteRange::new(at, len),
                _ => None,
            }
        })
    }

    /// What of its first `size` bytes the source does not have. `left`: extents that may be looked at.
    pub(super) fn lost(&self, source: &dyn ReadAt, size: u64, left: &mut u64) -> Result<Tally> {
        let mut tally = Tally::default();
        for place in self.places(size) {
            for extent in extents(source, place) {
                *left = left.saturating_sub(1);
                let lost = match extent {
                    Ok(extent) => extent.kind.is_lost(),
                    Err(error) if error.kind() == ErrorKind::OutOfRange => true,
                    Err(error) => return Err(error),
                };
                tally.add(lost);
                // What nobody looked at is not called whole.
                if *left == 0 {
                    tally.add(true);
                    return Ok(tally);
                }
                if tally.is_decided() {
                    return Ok(tally);
                }
            }
        }
        Ok(tally)
    }

    pub(super) fn open(&self, source: &Source, size: u64) -> Result<Source> {
        match self {
            Self::Bytes(bytes) => Ok(Arc::new(Bytes(Arc::clone(bytes)))),
            Self::Runs(runs) => Ok(Arc::new(Runs::new(source, runs, size))),
            Self::Packed(runs, how) => {
                let runs = runs.iter().map(|run| match run.place {
                    Place::At(at) => (run.len, Some(at)),
                    Place::Zero | Place::Unknown => (run.len, None),
                });
                how.open(Arc::clone(source), runs, size)
            }
            Self::Wof(packed, held, how) => Ok(Arc::new(Wof::new(packed.open(source, *held)?, *how, size))),
            Self::Other(words, _) => Err(Error::new(ErrorKind::Unsupported, *words)),
        }
    }
}

/// Bytes in memory.
struct Bytes(Arc<[u8]>);

impl ReadAt for Bytes {
    fn size(&self) -> u64 {
        u64::try_from(self.0.len()).unwrap_or(u64::MAX)
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<()> {
        let range = ByteRange::within(self.size(), offset, u64::try_from(buf.len()).unwrap_or(u64::MAX))?;
        match self.0.get(range.index(0)) {
            Some(bytes) => buf.copy_from_slice(bytes),
            None => return Err(Error::at(ErrorKind::OutOfRange, range)),
        }
        Ok(())
    }
}

/// Runs as a source.
pub(super) struct Runs {
    source: Source,
    /// With the offset of each one's first byte; together exactly `size` bytes.
    runs: Vec<(u64, Run)>,
    size: u64,
}

impl Runs {
    pub(super) fn new(source: &Source, runs: &[Run], size: u64) -> Self {
        let mut placed = vec![];
        let mut at = 0u64;
        let rest = Run { len: u64::MAX, place: Place::Unknown };
        for run in runs.iter().chain([&rest]) {
            let len = run.len.min(size.saturating_sub(at));
            if len > 0 {
                placed.push((at, Run { len, ..*run }));
            }
            at = at.saturating_add(len);
        }
        Self { source: Arc::clone(source), runs: placed, size }
    }

    /// The run that holds the byte at `offset`: what is left of it, and its place from there.
    fn run_at(&self, offset: u64) -> Result<Run> {
        let range = ByteRange::within(self.size, offset, 1)?;
        let index = self.runs.partition_point(|(start, _)| *start <= offset).checked_sub(1);
        let Some((start, run)) = index.and_then(|index| self.runs.get(index)) else {
            return Err(Error::at(ErrorKind::Bug, range));
        };
        let inside = offset.saturating_sub(*start);
        let place = match run.place {
            Place::At(at) => Place::At(at.saturating_add(inside)),
            other => other,
        };
        Ok(Run { len: run.len.saturating_sub(inside), place })
    }
}

impl ReadAt for Runs {
    fn size(&self) -> u64 {
        self.size
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<()> {
        ByteRange::within(self.size, offset, u64::try_from(buf.len()).unwrap_or(u64::MAX))?;
        let (mut at, mut rest) = (offset, buf);
        while !rest.is_empty() {
            let run = self.run_at(at)?;
            let len = usize::try_from(run.len).unwrap_or(usize::MAX).min(rest.len());
            let (now, later) = rest.split_at_mut(len);
            let end = at.saturating_add(u64::try_from(len).unwrap_or(u64::MAX));
            match run.place {
                Place::At(place) => {
                    self.source.read_at(place, now).map_err(|error| error.moved(place, at))?;
                }
                Place::Zero => now.fill(0),
                Place::Unknown => {
                    let words = "where this part of a deleted file was is not known any more";
                    return Err(Error::new(ErrorKind::Absent, words).with_range(ByteRange::span(at, end)));
                }
            }
            (at, rest) = (end, later);
        }
        Ok(())
    }

    fn extent_at(&self, offset: u64) -> Result<Extent> {
        let run = self.run_at(offset)?;
        let whole = ByteRange::span(offset, offset.saturating_add(run.len));
        match run.place {
            Place::At(at) => {
                let known = self.source.extent_at(at).map_err(|error| error.moved(at, offset))?;
                Ok(Extent { range: known.range.moved(at, offset).intersect(whole), kind: known.kind })
            }
            Place::Zero => Ok(Extent { range: whole, kind: ExtentKind::Zero }),
            Place::Unknown => Ok(Extent { range: whole, kind: ExtentKind::Absent }),
        }
    }

    fn concurrency(&self) -> usize {
        self.source.concurrency()
    }

    fn granule(&self) -> u64 {
        self.source.granule()
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
    use testkit::{Memory, pattern};

    #[test]
    fn runs_read_as_one_file() {
        let bytes = pattern(4096);
        let disk: Source = Arc::new(Memory::new(bytes.clone()));
        let mut runs = vec![];
        push(&mut runs, 100, Place::At(1000));
        push(&mut runs, 50, Place::At(1100));
        push(&mut runs, 30, Place::Zero);
        push(&mut runs, 200, Place::At(0));
        assert_eq!(runs.len(), 3);
        let file = Content::Runs(runs.into()).open(&disk, 400).unwrap();
        let mut got = vec![1; 380];
        file.read_at(0, &mut got).unwrap();
        assert_eq!(got, [&bytes[1000..1150], &[0; 30][..], &bytes[..200]].concat());
        // Behind the runs nobody knows.
        let error = file.read_at(370, &mut [0; 20]).unwrap_err();
        assert_eq!((error.kind(), error.range()), (ErrorKind::Absent, Some(ByteRange::span(380, 390))));
        let kinds: Vec<_> = extents(&*file, ByteRange::span(0, 400))
            .map(|e| e.map(|e| (e.range.len(), e.kind)))
            .collect::<Result<_>>()
            .unwrap();
        assert_eq!(
            kinds,
            [
                (150, ExtentKind::Data),
                (30, ExtentKind::Zero),
                (200, ExtentKind::Data),
                (20, ExtentKind::Absent)
            ]
        );
        assert!(file.read_at(399, &mut [0; 2]).is_err());
    }

    #[test]
    fn a_bad_place_is_an_error_of_the_file() {
        let bad = ByteRange::span(1050, 1060);
        let disk: Source = Arc::new(Memory::new(vec![7; 4096]).with(|disk| disk.bad = vec![bad]));
        let content = Content::Runs(vec![Run { len: 200, place: Place::At(1000) }].into());
        let error = content.open(&disk, 200).unwrap().read_at(0, &mut [0; 200]).unwrap_err();
        assert_eq!((error.kind(), error.range()), (ErrorKind::Media, Some(ByteRange::span(50, 60))));
        // Beyond the end of the volume there is nothing.
        let content = Content::Runs(vec![Run { len: 200, place: Place::At(4000) }].into());
        assert!(content.lost(&*disk, 200, &mut 9).unwrap().is_decided());
        assert!(content.open(&disk, 200).unwrap().read_at(100, &mut [0; 10]).is_err());
    }
}
