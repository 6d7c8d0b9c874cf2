//! Chunks of btrfs: where logical addresses lie on the device.

use super::tree::Key;
use block::ByteRange;
use block::field::{u16_at, u64_at};

/// Kind of an item that is a chunk.
pub(super) const CHUNK: u8 = 228;
/// Bits of a chunk's type: stripes that take turns, copies on several devices, both; parity.
const RAID0: u64 = 1 << 3;
const RAID1: u64 = 1 << 4 | 1 << 9 | 1 << 10;
const DUP: u64 = 1 << 5;
const RAID10: u64 = 1 << 6;
const PARITY: u64 = 1 << 7 | 1 << 8;

/// A run of logical addresses.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Chunk {
    pub(super) range: ByteRange,
    /// Where its copies begin on this device; none if it takes more devices or is laid out as we cannot read.
    pub(super) copies: Vec<u64>,
}

impl Chunk {
    /// Of a key and its item; `devid` is this device.
    pub(super) fn parse(key: Key, item: &[u8], devid: u64) -> Option<Self> {
        if key.kind != CHUNK {
            return None;
        }
        let range = ByteRange::new(key.offset, u64_at(item, 0)?).filter(|range| !range.is_empty())?;
        let (kind, count) = (u64_at(item, 24)?, usize::from(u16_at(item, 44)?));
        let stripes = item.get(48..)?.get(..count.checked_mul(32)?)?.as_chunks::<32>().0;
        let ours = stripes.iter().filter(|stripe| u64_at(*stripe, 0) == Some(devid));
        let linear = match kind & (RAID0 | RAID1 | DUP | RAID10 | PARITY) {
            0 => count == 1,
            kind if kind & PARITY != 0 => false,
            kind if kind & (RAID0 | RAID10) != 0 => count == 1,
            _ => true,
        };
        let copies = ours.filter_map(|stripe| u64_at(stripe, 8)).filter(|_| linear).collect();
        Some(Self { range, copies })
    }
}

#[cfg(test)]
#[allow(clippy::indexing_slicing, clippy::arithmetic_side_effects)]
mod tests {
    use super::*;

    fn made(kind: u64, stripes: &[(u64, u64)]) -> Option<Chunk> {
        let mut item = vec![0; 48];
        let mut put = |at: usize, value: u64| item.splice(at..at + 8, value.to_le_bytes()).for_each(drop);
        put(0, 1 << 20);
        put(24, kind);
        item[44] = u8::try_from(stripes.len()).unwrap();
        for (devid, offset) in stripes {
            item.extend_from_slice(&devid.to_le_bytes());
            item.extend_from_slice(&offset.to_le_bytes());
            item.extend_from_slice(&[0; 16]);
        }
        Chunk::parse(Key { object: 256, kind: CHUNK, offset: 4096 }, &item, 1)
    }

    #[test]
    fn copies_on_this_device_and_none_of_what_is_spread() {
        let copies = |kind, stripes: &[(u64, u64)]| made(kind, stripes).unwrap().copies;
        assert_eq!(copies(1, &[(1, 7)]), [7]);
        assert_eq!(copies(4 | DUP, &[(1, 7), (1, 9)]), [7, 9]);
        assert_eq!(copies(4 | 1 << 4, &[(1, 7), (2, 9)]), [7]);
        assert_eq!(copies(1 | RAID0, &[(1, 7)]), [7]);
        assert!(copies(1 | RAID0, &[(1, 7), (1, 9)]).is_empty());
        assert!(copies(1 | 1 << 7, &[(1, 7), (2, 9)]).is_empty());
        assert!(copies(1, &[(2, 7)]).is_empty());
    }
}
