//! Ascending runs of used bytes, never more of them than fit in memory.

use super::volume::{OrCorrupt, corrupt};
use block::{ByteRange, Result};

/// Runs that are kept, 16 bytes each.
const MOST: usize = 1 << 20;
/// The shortest gap that is kept apart once there are more.
const GAP: u64 = 64 << 10;

/// Runs in ascending order; what touches is one.
#[derive(Default)]
pub(super) struct Runs {
    list: Vec<ByteRange>,
    /// Gaps shorter than this count as used.
    gap: u64,
}

impl Runs {
    /// Adds a run that does not begin before the last one did.
    pub(super) fn add(&mut self, range: ByteRange) -> Result<()> {
        if range.is_empty() {
            return Ok(());
        }
        match self.list.last_mut() {
            Some(last) if range.start() < last.start() => Err(corrupt("what it lists is not in order")),
            Some(last) if range.start() <= last.end().saturating_add(self.gap.saturating_sub(1)) => {
                *last = ByteRange::span(last.start(), last.end().max(range.end()));
                Ok(())
            }
            _ => {
                self.list.push(range);
                if self.list.len() >= MOST {
                    self.close_gaps();
                }
                Ok(())
            }
        }
    }

    /// Runs in any order.
    pub(super) fn from_unsorted(mut list: Vec<ByteRange>) -> Result<Self> {
        list.sort_unstable();
        let mut runs = Self::default();
        list.into_iter().try_for_each(|range| runs.add(range))?;
        Ok(runs)
    }

    /// Counts ever longer gaps as used until half of the runs are left.
    fn close_gaps(&mut self) {
        while self.list.len() > MOST / 2 {
            self.gap = self.gap.saturating_mul(2).max(GAP);
            let gap = self.gap;
            self.list.dedup_by(|next, last| {
                let near = next.start() < last.end().saturating_add(gap);
                if near {
                    *last = ByteRange::span(last.start(), last.end().max(next.end()));
                }
                near
            });
        }
    }

    /// Gaps shorter than this were taken for used; 0 if none was.
    pub(super) fn gap(&self) -> u64 {
        self.gap
    }

    /// Do all bytes of `range` belong to it?
    pub(super) fn cover(&self, range: ByteRange) -> bool {
        let behind = self.list.partition_point(|run| run.start() <= range.start());
        let before = behind.checked_sub(1).and_then(|at| self.list.get(at));
        range.is_empty() || before.is_some_and(|run| run.covers(range))
    }

    /// In order.
    pub(super) fn into_list(self) -> Vec<ByteRange> {
        self.list
    }

    /// In order.
    pub(super) fn list(&self) -> &[ByteRange] {
        &self.list
    }
}

/// Which bit of a byte is the first.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum First {
    Lowest,
    Highest,
}

/// Calls `each` with the first and the number behind the last of every run of set bits among the first `count`.
/// Fails if the bytes end before.
pub(super) fn set_bits(
    bytes: &[u8],
    count: u64,
    first: First,
    mut each: impl FnMut(u64, u64) -> Result<()>,
) -> Result<()> {
    let (mut at, mut began) = (0u64, None);
    for byte in bytes {
        let here = count.saturating_sub(at).min(8);
        let byte = if first == First::Highest { byte.reverse_bits() } else { *byte };
        match (byte, began) {
            _ if here == 0 => break,
            (0xFF, Some(_)) | (0, None) => {}
            (_, _) => {
                for bit in 0..u32::try_from(here).unwrap_or(0) {
                    let now = at.saturating_add(bit.into());
                    match (byte.checked_shr(bit).unwrap_or(0) & 1, began) {
                        (1, None) => began = Some(now),
                        (0, Some(from)) => {
                            each(from, now)?;
                            began = None;
                        }
                        _ => {}
                    }
                }
            }
        }
        at = at.saturating_add(here);
    }
    (at == count).then_some(()).or_corrupt("its bitmap is too short")?;
    began.map_or(Ok(()), |from| each(from, at))
}

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects, reason = "numbers of ours")]
mod tests {
    use super::*;
    use crate::used::volume::units;

    fn bits(bytes: &[u8], count: u64, first: First) -> Option<Vec<(u64, u64)>> {
        let mut runs = vec![];
        set_bits(bytes, count, first, |from, to| {
            runs.push((from, to));
            Ok(())
        })
        .ok()
        .map(|()| runs)
    }

    #[test]
    fn runs_of_bits() {
        let bytes = [0b1000_0001, 0xFF, 0x00, 0b0000_0110];
        assert_eq!(bits(&bytes, 32, First::Lowest), Some(vec![(0, 1), (7, 16), (25, 27)]));
        assert_eq!(bits(&bytes, 26, First::Lowest), Some(vec![(0, 1), (7, 16), (25, 26)]));
        assert_eq!(bits(&bytes, 32, First::Highest), Some(vec![(0, 1), (7, 16), (29, 31)]));
        assert_eq!(bits(&[0xFF; 2], 12, First::Lowest), Some(vec![(0, 12)]));
        assert_eq!(bits(&[0xFF; 2], 17, First::Lowest), None);
        assert_eq!(bits(&[], 0, First::Lowest), Some(vec![]));
    }

    #[test]
    fn kept_in_order_and_bounded() {
        let mut runs = Runs::default();
        let r = ByteRange::span;
        for range in [r(0, 5), r(5, 9), r(7, 8), r(20, 30)] {
            runs.add(range).unwrap();
        }
        assert_eq!(runs.list(), [r(0, 9), r(20, 30)]);
        assert!(runs.add(r(3, 4)).is_err());
        assert!(runs.cover(r(2, 9)) && !runs.cover(r(2, 10)) && !runs.cover(r(9, 21)) && runs.cover(r(9, 9)));

        let mut runs = Runs::default();
        let far = u64::try_from(MOST + MOST / 2).unwrap();
        let run =
            |at: u64| units(100_000, at, 1).map(|place| r(place.start(), place.start() + 4096)).unwrap();
        for at in 0..far {
            runs.add(run(at)).unwrap();
        }
        assert!(runs.list().len() < MOST && runs.gap() > 0);
        assert!((0..far).all(|at| runs.cover(run(at))));
        assert!(runs.list().is_sorted());
    }
}
