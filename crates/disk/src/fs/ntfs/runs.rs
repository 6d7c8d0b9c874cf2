//! Where the clusters of a value are: runs of them, kept as pairs of a count and a distance.

use super::corrupt;
use block::{Error, ErrorKind, Result};

/// No file is in more pieces: its list of records has room for less.
const RUNS_MAX: usize = 1 << 21;

/// Clusters that follow one another on the disk, or a hole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Run {
    /// Which one of the value is the first.
    pub(super) first: u64,
    /// How many; not 0.
    pub(super) count: u64,
    /// Where on the disk; `None`: nowhere, they are zero.
    pub(super) lcn: Option<u64>,
}

impl Run {
    fn end(&self) -> u64 {
        self.first.saturating_add(self.count)
    }
}

/// All of a value, in order and without a gap.
#[derive(Debug, Default)]
pub(super) struct Runs(Vec<Run>);

impl Runs {
    /// From a count of clusters and their place each.
    pub(super) fn of(pieces: impl Iterator<Item = (u64, Option<u64>)>) -> Result<Self> {
        let mut runs = Self::default();
        for (count, lcn) in pieces {
            runs.push(Run { first: runs.end(), count, lcn })?;
        }
        Ok(runs)
    }

    /// Clusters that it has.
    pub(super) fn end(&self) -> u64 {
        self.0.last().map_or(0, Run::end)
    }

    /// The run that has a cluster.
    pub(super) fn at(&self, vcn: u64) -> Option<Run> {
        let behind = self.0.partition_point(|run| run.first <= vcn);
        self.0.get(behind.checked_sub(1)?).copied().filter(|run| vcn < run.end())
    }

    /// Adds what the next piece maps: clusters `lowest..end` of the value on a disk that has `clusters`.
    pub(super) fn append(&mut self, pairs: &[u8], lowest: u64, end: u64, clusters: u64) -> Result<()> {
        if lowest != self.end() {
            return Err(corrupt("a piece of a file is missing"));
        }
        let (mut rest, mut lcn) = (pairs, 0_i64);
        while let Some((sizes, after)) = rest.split_first().filter(|(sizes, _)| **sizes != 0) {
            let parts = after.split_at_checked(usize::from(sizes & 0xF)).and_then(|(count, after)| {
                let (delta, after) = after.split_at_checked(usize::from(sizes >> 4))?;
                Some((u64::try_from(signed(count)?).ok()?, delta, after))
            });
            let run = parts.and_then(|(count, delta, after)| {
                rest = after;
                let start = if delta.is_empty() {
                    None
                } else {
                    lcn = lcn.checked_add(signed(delta)?)?;
                    let start = u64::try_from(lcn).ok()?;
                    start.checked_add(count).filter(|end| *end <= clusters)?;
                    Some(start)
                };
                let run = Run { first: self.end(), count, lcn: start };
                run.first.checked_add(count).filter(|now| *now <= end)?;
                Some(run)
            });
            self.push(run.ok_or_else(|| corrupt("the pieces of a file lie where nothing can be"))?)?;
        }
        if self.end() != end {
            return Err(corrupt("the pieces of a file do not add up"));
        }
        Ok(())
    }

    fn push(&mut self, run: Run) -> Result<()> {
        if let Some(last) = self.0.last_mut() {
            let behind = last.lcn.map(|lcn| lcn.saturating_add(last.count));
            if behind == run.lcn {
                last.count = last.count.saturating_add(run.count);
                return Ok(());
            }
        }
        if self.0.len() >= RUNS_MAX {
            return Err(Error::new(ErrorKind::Unsupported, "a file in millions of pieces"));
        }
        if run.count != 0 {
            self.0.push(run);
        }
        Ok(())
    }
}

/// A little-endian number of one to eight bytes with a sign.
fn signed(bytes: &[u8]) -> Option<i64> {
    let mut wide = if bytes.last()? & 0x80 == 0 { [0; 8] } else { [0xFF; 8] };
    wide.get_mut(..bytes.len())?.copy_from_slice(bytes);
    Some(i64::from_le_bytes(wide))
}

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects, clippy::indexing_slicing)]
mod tests {
    use super::*;

    fn runs(pairs: &[u8], end: u64) -> Result<Runs> {
        let mut runs = Runs::default();
        runs.append(pairs, 0, end, 0x10000)?;
        Ok(runs)
    }

    #[test]
    fn pieces() {
        // The example of the Linux-NTFS documentation, with a hole and a step back.
        let runs = runs(&[0x21, 0x18, 0x34, 0x56, 0x11, 0x10, 0xF0, 0x01, 0x05, 0x00], 0x2D).unwrap();
        assert_eq!(runs.at(0x17), Some(Run { first: 0, count: 0x18, lcn: Some(0x5634) }));
        assert_eq!(runs.at(0x18), Some(Run { first: 0x18, count: 0x10, lcn: Some(0x5624) }));
        assert_eq!(runs.at(0x28), Some(Run { first: 0x28, count: 5, lcn: None }));
        assert_eq!(runs.at(0x2D), None);
    }

    #[test]
    fn neighbours_are_one_and_pieces_follow_one_another() {
        let mut runs = runs(&[0x11, 4, 10, 0x11, 4, 4, 0x01, 2, 0x01, 3, 0], 13).unwrap();
        assert_eq!(runs.0.len(), 2);
        assert_eq!(runs.at(7), Some(Run { first: 0, count: 8, lcn: Some(10) }));
        assert!(runs.append(&[0x11, 1, 1, 0], 12, 13, 100).is_err());
        assert!(runs.append(&[0x11, 1, 1, 0], 14, 15, 100).is_err());
        runs.append(&[0x11, 1, 1, 0], 13, 14, 100).unwrap();
        assert_eq!(runs.end(), 14);
    }

    #[test]
    fn lies_are_errors() {
        assert!(runs(&[0x11, 0x01, 0x80, 0], 1).is_err(), "in front of the disk");
        assert!(runs(&[0x31, 0x02, 0xFF, 0xFF, 0, 0], 2).is_err(), "behind its end");
        assert!(runs(&[0x99, 1, 2], 1).is_err(), "cut short");
        assert!(runs(&[0x11, 0xFF, 1, 0], 1).is_err(), "a negative count");
        assert!(runs(&[0x11, 1, 1, 0], 2).is_err(), "too few");
        assert!(runs(&[0x11, 3, 1, 0], 2).is_err(), "too many");
        assert!(runs(&[0xF1, 3, 1, 0], 3).is_err(), "fifteen bytes of distance");
        assert_eq!(runs(&[0], 0).unwrap().end(), 0);
    }
}
