//! What is known of a run of bytes. One enum decides what every consumer does.

use crate::ByteRange;

/// No other flag for "hole", "sparse" or "bad" exists.
///
/// | kind | `read_at` | in a frame | restore | verify |
/// |---|---|---|---|---|
/// | Data | bytes | bytes | write | compare |
/// | Zero | zeroes | zeroes | `write_zeroes` | must be zero |
/// | Absent | `Err(Absent)` | zeroes | by [`crate::FillAbsent`] zeroes, else left | not compared |
/// | Bad | `Err(Media)` | zeroes, stored | zeroes, and reported | reported |
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ExtentKind {
    /// Bytes are here.
    Data,
    /// Known to be zero without reading.
    Zero,
    /// Not captured: free, skipped.
    Absent,
    /// Unreadable when captured.
    Bad,
}

impl ExtentKind {
    /// Nobody has these bytes: they are not zero, they are unknown.
    pub const fn is_lost(self) -> bool {
        matches!(self, Self::Absent | Self::Bad)
    }
}

/// A run of bytes of one kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// Where.
    pub range: ByteRange,
    /// What.
    pub kind: ExtentKind,
}

impl Extent {
    /// Adds to an ascending list in which neighbours of one kind are one extent. Empty ones are dropped.
    pub fn append(self, list: &mut Vec<Extent>) {
        match list.last_mut() {
            _ if self.range.is_empty() => {}
            Some(last) if last.kind == self.kind && last.range.end() == self.range.start() => {
                last.range = ByteRange::span(last.range.start(), self.range.end());
            }
            _ => list.push(self),
        }
    }
}

/// Extents that differ from the ordinary (Data, Zero), sorted, disjoint, coalesced: what is bad or absent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExtentMap(Vec<Extent>);

impl ExtentMap {
    /// In any order; where two overlap the later one wins.
    pub fn insert(&mut self, extent: Extent) {
        if extent.range.is_empty() {
            return;
        }
        let first = self.0.partition_point(|e| e.range.end() <= extent.range.start());
        let last = self.0.partition_point(|e| e.range.start() < extent.range.end());
        let mut parts = Vec::with_capacity(5);
        if let Some(before) = first.checked_sub(1) {
            parts.push(self.0[before]);
        }
        let old: Vec<Extent> = self.0[first..last].to_vec();
        for e in &old {
            let [front, _] = e.range.minus(extent.range);
            Extent { range: front, ..*e }.append(&mut parts);
        }
        extent.append(&mut parts);
        for e in &old {
            let [_, behind] = e.range.minus(extent.range);
            Extent { range: behind, ..*e }.append(&mut parts);
        }
        let mut end = last;
        if let Some(next) = self.0.get(last) {
            next.append(&mut parts);
            end += 1;
        }
        self.0.splice(first.saturating_sub(1)..end, parts);
    }

    /// In order.
    pub fn iter(&self) -> impl Iterator<Item = Extent> + '_ {
        self.0.iter().copied()
    }

    /// Those that touch `range`, cut to it.
    pub fn inside(&self, range: ByteRange) -> impl Iterator<Item = Extent> + '_ {
        let first = self.0.partition_point(|e| e.range.end() <= range.start());
        self.0[first..]
            .iter()
            .take_while(move |e| e.range.start() < range.end())
            .map(move |e| Extent { range: e.range.intersect(range), kind: e.kind })
    }

    /// Bytes of one kind.
    pub fn total(&self, kind: ExtentKind) -> u64 {
        self.iter().filter(|e| e.kind == kind).map(|e| e.range.len()).sum()
    }

    /// Nothing in it.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl FromIterator<Extent> for ExtentMap {
    fn from_iter<T: IntoIterator<Item = Extent>>(extents: T) -> Self {
        let mut map = Self::default();
        for extent in extents {
            map.insert(extent);
        }
        map
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ExtentKind::{Absent, Bad};

    fn e(start: u64, end: u64, kind: ExtentKind) -> Extent {
        Extent { range: ByteRange::span(start, end), kind }
    }

    /// Against a model that keeps one kind per byte.
    #[test]
    fn a_map_is_what_painting_bytes_gives() {
        let mut x = 88_172_645_463_325_252_u64;
        let mut random = |n: u64| {
            x ^= x << 13;
            x ^= x >> 7;
            x ^= x << 17;
            x % n
        };
        for _ in 0..300 {
            let (mut map, mut model) = (ExtentMap::default(), [None; 64]);
            for _ in 0..12 {
                let start = random(60);
                let end = start + random(64 - start) + 1;
                let kind = if random(2) == 0 { Bad } else { Absent };
                map.insert(e(start, end, kind));
                model[usize::try_from(start).unwrap()..usize::try_from(end).unwrap()].fill(Some(kind));
            }
            let mut want = vec![];
            for (at, kind) in (0..).zip(model) {
                kind.into_iter().for_each(|kind| e(at, at + 1, kind).append(&mut want));
            }
            assert_eq!(map.iter().collect::<Vec<_>>(), want);
        }
    }

    #[test]
    fn a_window_of_a_map() {
        let map: ExtentMap = [e(0, 4, Bad), e(8, 12, Absent), e(20, 30, Bad)].into_iter().collect();
        let inside: Vec<_> = map.inside(ByteRange::span(2, 9)).collect();
        assert_eq!(inside, [e(2, 4, Bad), e(8, 9, Absent)]);
        assert_eq!((map.total(Bad), map.total(Absent)), (14, 4));
    }
}
