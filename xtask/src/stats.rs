//! Medians, ratios, and numbers as people read them.

use std::ops::Range;

/// What a number counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unit {
    /// Seconds.
    Seconds,
    /// Microseconds.
    Micros,
    /// Bytes.
    Bytes,
    /// Millions of bytes in a second: more is better, so no ratio is made of it.
    Rate,
    /// Reads in a second: the same.
    Reads,
}

impl Unit {
    /// The number with its unit.
    pub(crate) fn show(self, value: f64) -> String {
        match self {
            Self::Seconds if value < 0.1 => format!("{:.1} ms", value * 1e3),
            Self::Seconds => format!("{value:.2} s"),
            Self::Micros => format!("{value:.1} us"),
            Self::Bytes => format!("{:.1} MiB", value / f64::from(1 << 20)),
            Self::Rate => format!("{value:.0} MB/s"),
            Self::Reads => format!("{value:.0} /s"),
        }
    }

    /// Is less better?
    pub(crate) const fn less_is_better(self) -> bool {
        !matches!(self, Self::Rate | Self::Reads)
    }
}

/// The middle one, or the mean of the two in the middle; `None` of nothing.
pub(crate) fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    let high = *sorted.get(middle)?;
    match sorted.len() % 2 {
        1 => Some(high),
        _ => Some(f64::midpoint(*sorted.get(middle.checked_sub(1)?)?, high)),
    }
}

/// How many times `peer` is `ours`; `None` if there is nothing to divide by.
pub(crate) fn ratio(ours: f64, peer: f64) -> Option<f64> {
    (peer > 0.0).then(|| ours / peer)
}

/// By which part the largest is more than the smallest; 0 of nothing.
pub(crate) fn spread(values: &[f64]) -> f64 {
    let least = values.iter().copied().fold(f64::INFINITY, f64::min);
    let most = values.iter().copied().fold(0.0, f64::max);
    ratio(most, least).map_or(0.0, |times| (times - 1.0).max(0.0))
}

/// Bytes as a number to calculate with.
pub(crate) fn number(bytes: u64) -> f64 {
    bytes as f64
}

/// Numbers that look random and are the same in every run.
pub(crate) struct Random(u64);

impl Random {
    /// `seed`: not 0.
    pub(crate) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next one, less than `end`, which is not 0.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }
}

/// `count` offsets of reads of `len` bytes, multiples of `len`, that lie in one of `ranges` and end before
/// `size`; in longer ranges more often. The same for the same arguments. Empty if the ranges are.
pub(crate) fn offsets(ranges: &[Range<u64>], len: u64, size: u64, count: usize, seed: u64) -> Vec<u64> {
    let blocks = |range: &Range<u64>| {
        let first = range.start.div_ceil(len);
        (first, (range.end.min(size) / len).saturating_sub(first))
    };
    let all: u64 = ranges.iter().map(|range| blocks(range).1).sum();
    if all == 0 {
        return vec![];
    }
    let mut random = Random::new(seed);
    let one = |mut at: u64| {
        ranges.iter().map(blocks).find_map(|(first, count)| {
            let found = (at < count).then_some((first + at) * len);
            at = at.saturating_sub(count);
            found
        })
    };
    (0..count).filter_map(|_| one(random.below(all))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle_one() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), Some(2.5));
        assert_eq!(median(&[7.0]), Some(7.0));
        assert_eq!(median(&[]), None);
    }

    #[test]
    fn a_ratio_needs_something_to_divide_by() {
        assert_eq!(ratio(1.0, 4.0), Some(0.25));
        assert_eq!(ratio(1.0, 0.0), None);
    }

    #[test]
    fn the_spread_is_between_least_and_most() {
        assert_eq!(spread(&[2.0, 3.0, 2.5]), 0.5);
        assert_eq!((spread(&[]), spread(&[4.0])), (0.0, 0.0));
    }

    #[test]
    fn numbers_have_their_units() {
        assert_eq!(Unit::Seconds.show(1.234), "1.23 s");
        assert_eq!(Unit::Seconds.show(0.0123), "12.3 ms");
        assert_eq!(Unit::Bytes.show(number(3 << 20)), "3.0 MiB");
        assert!(Unit::Micros.less_is_better() && !Unit::Rate.less_is_better());
    }

    #[test]
    fn offsets_lie_in_the_ranges_and_leave_room() {
        let ranges = [8192..16384, 100_000..1_000_000, 1 << 20..(1 << 20) + 8192];
        let size = (1 << 20) + 8192;
        let found = offsets(&ranges, 8192, size, 1000, 7);
        assert_eq!(found.len(), 1000);
        for at in &found {
            assert!(at.is_multiple_of(8192) && at + 8192 <= size, "{at}");
            assert!(ranges.iter().any(|range| range.contains(at)), "{at}");
        }
        for range in &ranges {
            assert!(found.iter().any(|at| range.contains(at)), "{range:?} is read too");
        }
        assert_eq!(found, offsets(&ranges, 8192, size, 1000, 7));
        assert_ne!(found, offsets(&ranges, 8192, size, 1000, 8));
        assert!(offsets(&[], 4096, size, 10, 1).is_empty());
    }
}
