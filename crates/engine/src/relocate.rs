//! A disk for another geometry, or with other ids, is a composed source, not a mode.

use crate::plan::Plan;
use block::{ByteRange, Extent, ExtentKind, ReadAt, Region, Result, Role, Source};
use std::sync::Arc;

/// Bytes, and the offset at which they stand in place of those of the disk.
type Patch = (u64, Vec<u8>);

/// Where a patch lies.
pub(crate) fn place((start, bytes): &Patch) -> ByteRange {
    ByteRange::span(*start, start + bytes.len() as u64)
}

/// The first bytes of a disk with some of them replaced, and more behind its end, which read as zeroes.
struct Patched {
    inner: Source,
    size: u64,
    /// Ascending and disjoint.
    patches: Vec<Patch>,
}

impl Patched {
    fn ranges(&self) -> impl Iterator<Item = (ByteRange, &[u8])> {
        self.patches.iter().map(|patch| (place(patch), &patch.1[..]))
    }
}

impl ReadAt for Patched {
    fn size(&self) -> u64 {
        self.size
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<()> {
        let want = ByteRange::within(self.size, offset, buf.len() as u64)?;
        let inside = want.intersect(ByteRange::span(0, self.inner.size()));
        let (there, behind) = buf.split_at_mut(inside.index(inside.start()).end);
        if !there.is_empty() {
            self.inner.read_at(offset, there)?;
        }
        behind.fill(0);
        for (range, bytes) in self.ranges() {
            let hit = range.intersect(want);
            if !hit.is_empty() {
                buf[hit.index(offset)].copy_from_slice(&bytes[hit.index(range.start())]);
            }
        }
        Ok(())
    }

    fn extent_at(&self, offset: u64) -> Result<Extent> {
        ByteRange::within(self.size, offset, 1)?;
        if let Some((range, _)) = self.ranges().find(|(range, _)| range.contains(offset)) {
            return Ok(Extent { range: ByteRange::span(offset, range.end()), kind: ExtentKind::Data });
        }
        let known = if offset < self.inner.size() {
            self.inner.extent_at(offset)?
        } else {
            Extent { range: ByteRange::span(offset, self.size), kind: ExtentKind::Zero }
        };
        let next = self.ranges().map(|(range, _)| range.start()).find(|start| *start > offset);
        let end = known.range.end().min(next.unwrap_or(self.size)).min(self.size);
        Ok(Extent { range: ByteRange::span(offset, end), ..known })
    }

    fn concurrency(&self) -> usize {
        self.inner.concurrency()
    }

    fn granule(&self) -> u64 {
        self.inner.granule()
    }
}

/// The same disk as one of `size` bytes, cut off or filled up with zeroes, with `patches` in place of its
/// bytes.
pub(crate) fn patched(inner: Source, size: u64, mut patches: Vec<Patch>) -> Source {
    patches.sort_unstable_by_key(|(start, _)| *start);
    Arc::new(Patched { inner, size, patches })
}

/// The same disk on a larger one of `size` bytes with `patches` in place of its sectors.
/// What lies between its end and the patches behind it is not visited.
pub(crate) fn larger(inner: Source, plan: &Plan, size: u64, patches: Vec<Patch>) -> Result<(Source, Plan)> {
    let old = inner.size();
    let more = Region { range: ByteRange::span(old, size), role: Role::Tail };
    let regions = plan.regions().iter().map(|placed| (placed.region, placed.file));
    let plan = Plan::new(size, regions.chain([(more, Some(plan.files().len()))]))?;
    let first = patches.iter().map(|(start, _)| *start).filter(|start| *start >= old).min().unwrap_or(size);
    let (plan, _) = plan.split(&[ByteRange::span(old, first)]);
    Ok((patched(inner, size, patches), plan))
}

#[cfg(test)]
mod tests {
    use super::*;
    use testkit::{Memory, pattern};

    #[test]
    fn patches_replace_and_the_rest_stays() {
        let mut want = pattern(1000);
        let inner: Source = Arc::new(Memory::new(want.clone()));
        let plan = Plan::whole(1000).unwrap();
        let patches = vec![(1900, vec![7; 100]), (10, vec![9; 5])];
        let (source, plan) = larger(inner, &plan, 2000, patches).unwrap();
        want.resize(2000, 0);
        want[10..15].fill(9);
        want[1900..].fill(7);
        let mut have = vec![1; 2000];
        source.read_at(0, &mut have).unwrap();
        assert_eq!(have, want);
        assert_eq!(plan.bytes(), 1100, "what lies between is not touched");
        assert_eq!(source.extent_at(1000).unwrap().kind, ExtentKind::Zero);
        assert_eq!(source.extent_at(3).unwrap().range, ByteRange::span(3, 10));
    }

    #[test]
    fn what_is_cut_off_is_gone() {
        let inner: Source = Arc::new(Memory::new(pattern(1000)));
        let source = patched(inner, 600, vec![(590, vec![7; 10]), (0, vec![9; 5])]);
        let mut have = vec![1; 600];
        source.read_at(0, &mut have).unwrap();
        let mut want = pattern(600);
        want[..5].fill(9);
        want[590..].fill(7);
        assert_eq!(have, want);
        assert_eq!(source.extent_at(5).unwrap().range, ByteRange::span(5, 590));
        assert!(source.extent_at(600).is_err() && source.read_at(599, &mut [0; 2]).is_err());
        let nothing_behind = patched(Arc::new(Memory::new(pattern(1000))), 600, vec![]);
        assert_eq!(nothing_behind.extent_at(5).unwrap().range, ByteRange::span(5, 600));
    }
}
