//! Values that NTFS compresses: in units of mostly 64 KiB, each of which is packed, plain or a hole, as the
//! number of its clusters tells.

use super::attribute::Attribute;
use super::content::Plain;
use super::runs::Runs;
use super::{corrupt, lznt1};
use crate::fs::recent::Recent;
use crate::fs::runs::read_pieces;
use block::{ByteRange, Extent, ExtentKind, ReadAt, Result, Source};
use std::sync::Arc;

/// Bytes of a unit that are unpacked at once; real ones have 64 KiB.
const UNIT_MAX: u64 = 1 << 20;
/// An extent of data is not looked for longer than so many units.
const UNITS: u64 = 256;

/// Bytes of a unit, from the flags of an attribute and the power of two of clusters in one. `None`: it is
/// compressed by another method than LZNT1, or in units that cannot be.
pub(super) fn unit_bytes(flags: u16, unit: u8, cluster: u64) -> Option<u64> {
    let clusters = 1_u64.checked_shl(unit.into()).filter(|_| flags & Attribute::COMPRESSION == 1)?;
    cluster.checked_mul(clusters).filter(|bytes| unit != 0 && *bytes <= UNIT_MAX)
}

/// How a value is compressed, for whoever found its clusters by other ways than a [`super::file::File`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lznt1 {
    /// Bytes of a cluster.
    cluster: u64,
    /// Bytes of a unit.
    unit: u64,
    /// Bytes that were ever written.
    initialized: u64,
}

impl Lznt1 {
    /// Of an attribute with these flags, see [`unit_bytes`].
    pub(crate) fn of(flags: u16, unit: u8, cluster: u64, initialized: u64) -> Option<Self> {
        let unit = unit_bytes(flags, unit, cluster)?;
        Some(Self { cluster, unit, initialized })
    }

    /// The value of `size` bytes in these runs of `disk`: bytes of whole clusters, and where; `None` is a hole.
    pub(crate) fn open(
        self,
        disk: Source,
        runs: impl IntoIterator<Item = (u64, Option<u64>)>,
        size: u64,
    ) -> Result<Source> {
        let clusters = |bytes: u64| bytes.checked_div(self.cluster).unwrap_or(0);
        let runs = Runs::of(runs.into_iter().map(|(len, at)| (clusters(len), at.map(clusters))))?;
        let (cluster, initialized) = (self.cluster, self.initialized.min(size));
        let plain = Plain { disk, cluster, runs, size, initialized };
        Ok(Arc::new(Compressed::new(plain, self.unit)))
    }
}

/// The bytes of such a value.
pub(super) struct Compressed {
    /// All its clusters as they are, to the last byte of the last.
    stored: Plain,
    /// Bytes of a unit.
    unit: u64,
    size: u64,
    initialized: u64,
    /// The unit that was unpacked last.
    last: Recent<u64, Arc<[u8]>>,
}

impl Compressed {
    /// `unit`: bytes, a multiple of the cluster.
    pub(super) fn new(plain: Plain, unit: u64) -> Self {
        let (size, initialized) = (plain.size, plain.initialized);
        let all = plain.runs.end().saturating_mul(plain.cluster);
        let stored = Plain { size: all, initialized: all, ..plain };
        Self { stored, unit, size, initialized, last: Recent::new(1) }
    }

    /// The unit that a byte is in: its number and what it is of the value.
    fn unit_of(&self, offset: u64) -> (u64, ByteRange) {
        let number = offset.checked_div(self.unit).unwrap_or(0);
        let start = number.saturating_mul(self.unit);
        (number, ByteRange::span(start, start.saturating_add(self.unit)))
    }

    /// Clusters from `start` on that are on the disk, in bytes, and where the hole behind them ends.
    fn stored_of(&self, unit: ByteRange) -> Result<(u64, u64)> {
        let cluster = self.stored.cluster;
        let bytes = |clusters: u64| clusters.saturating_mul(cluster);
        let mut at = unit.start();
        while at < unit.end() {
            let run = at.checked_div(cluster).and_then(|vcn| self.stored.runs.at(vcn));
            match run {
                Some(run) if run.lcn.is_some() => at = bytes(run.first.saturating_add(run.count)),
                Some(hole) => {
                    let end = bytes(hole.first.saturating_add(hole.count));
                    if end < unit.end() && end < self.stored.size {
                        return Err(
                            corrupt("a compressed file has a hole where none can be").with_range(unit)
                        );
                    }
                    return Ok((at.saturating_sub(unit.start()), end));
                }
                None if at == unit.start() => {
                    return Err(corrupt("the pieces of a file end before it does").with_range(unit));
                }
                None => return Ok((at.saturating_sub(unit.start()), at)),
            }
        }
        Ok((unit.len(), at))
    }

    /// Where the hole that a byte is in ends, if it is in one.
    fn hole_end(&self, offset: u64) -> Result<Option<u64>> {
        if offset >= self.initialized {
            return Ok(Some(self.size));
        }
        let (_, unit) = self.unit_of(offset);
        let (stored, end) = self.stored_of(unit)?;
        // What is left of a unit at the end of a long hole belongs to what follows.
        let whole = self.unit_of(end).1.start().max(unit.end());
        Ok((stored == 0).then_some(whole.min(self.size)))
    }

    fn unpacked(&self, number: u64, unit: ByteRange) -> Result<Arc<[u8]>> {
        self.last.get(number, || self.unpack(unit))
    }

    fn unpack(&self, unit: ByteRange) -> Result<Arc<[u8]>> {
        let (stored, _) = self.stored_of(unit)?;
        let len = |bytes: u64| usize::try_from(bytes.min(UNIT_MAX)).unwrap_or(0);
        let mut packed = vec![0; len(stored)];
        self.stored.read_at(unit.start(), &mut packed)?;
        if stored < unit.len() {
            let mut bytes = vec![0; len(unit.len().min(self.size.saturating_sub(unit.start())))];
            let done = lznt1::unpack(&packed, &mut bytes);
            done.ok_or_else(|| corrupt("a compressed file is damaged").with_range(unit))?;
            packed = bytes;
        }
        let written = len(self.initialized.saturating_sub(unit.start()));
        if let Some(never) = packed.get_mut(written..) {
            never.fill(0);
        }
        Ok(packed.into())
    }
}

impl ReadAt for Compressed {
    fn size(&self) -> u64 {
        self.size
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<()> {
        let piece = |at: u64| {
            Ok(match self.hole_end(at)? {
                Some(end) => (ByteRange::span(at, end), None),
                None => (self.unit_of(at).1, Some(self.unit_of(at))),
            })
        };
        read_pieces(self.size, offset, buf, piece, |range, unit, now| {
            let Some((number, unit)) = unit else {
                now.fill(0);
                return Ok(());
            };
            // Clusters are no bytes of the value: where one cannot be had the unit cannot.
            let unpacked = self.unpacked(number, unit).map_err(|error| error.with_range(range))?;
            let known = unpacked.get(range.index(unit.start()));
            now.copy_from_slice(
                known.ok_or_else(|| corrupt("a compressed file is damaged").with_range(range))?,
            );
            Ok(())
        })
    }

    fn extent_at(&self, offset: u64) -> Result<Extent> {
        ByteRange::within(self.size, offset, 1)?;
        if let Some(end) = self.hole_end(offset)? {
            return Ok(Extent { range: ByteRange::span(offset, end), kind: ExtentKind::Zero });
        }
        let most = offset.saturating_add(self.unit.saturating_mul(UNITS));
        let mut end = offset;
        while end < self.size.min(most) && self.hole_end(end)?.is_none() {
            end = self.unit_of(end).1.end().min(self.size);
        }
        Ok(Extent { range: ByteRange::span(offset, end), kind: ExtentKind::Data })
    }

    fn concurrency(&self) -> usize {
        self.stored.concurrency()
    }

    fn granule(&self) -> u64 {
        self.unit
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_that_cannot_be_are_none() {
        assert_eq!(unit_bytes(1, 4, 4096), Some(64 << 10));
        // No unit, another method, too many bytes, and powers of two that lead out of the number.
        for (flags, unit, cluster) in [(1, 0, 4096), (2, 4, 4096), (1, 9, 4096), (1, 52, 4096), (1, 64, 512)]
        {
            assert_eq!(unit_bytes(flags, unit, cluster), None, "{flags} {unit} {cluster}");
        }
    }
}
