//! Checksums of metadata, as Linux has them since 3.5 (`metadata_csum`): CRC-32C that begins with what an object
//! is part of, so that a block of one file is none of another.

use block::field::{bytes_at, u16_at, u32_at};
use block::{Error, ErrorKind, Result};
use ferrosys::crc32c;
use ferrosys::ext::ondisk::SuperBlock;

const RO_COMPAT_METADATA_CSUM: u32 = 0x400;
const INCOMPAT_CSUM_SEED: u32 = 0x2000;
/// Where an inode has the two halves of its checksum, and says how far it goes behind its first 128 bytes.
const SUM_LOW: usize = 0x7C;
const SUM_HIGH: usize = 0x82;
const GENERATION: usize = 0x64;
const EXTRA_SIZE: usize = 0x80;
/// Bytes of the entry of no file at the end of a directory block, that has its checksum.
const TAIL: usize = 12;
/// Where a block of attributes has its checksum.
const ATTRIBUTES_SUM: usize = 16;

/// Begins the checksums of one filesystem, or of one file. `None`: it has none.
#[derive(Clone, Copy)]
pub(super) struct Sums(Option<u32>);

impl Sums {
    pub(super) fn new(sb: &SuperBlock) -> Self {
        Self((sb.feature_ro_compat & RO_COMPAT_METADATA_CSUM != 0).then(|| {
            match sb.feature_incompat & INCOMPAT_CSUM_SEED {
                0 => crc32c(!0, &sb.uuid),
                _ => sb.checksum_seed,
            }
        }))
    }

    /// Those of the blocks of a file, whose inode is `bytes`. Fails if that has another checksum itself.
    pub(super) fn of_file(self, number: u32, bytes: &[u8]) -> Result<Self> {
        let Some(seed) = self.0 else { return Ok(self) };
        let seed = crc32c(seed, &number.to_le_bytes());
        let seed = crc32c(seed, &u32_at(bytes, GENERATION).unwrap_or(0).to_le_bytes());
        // The upper half is there where the inode says that it goes that far.
        let wide = bytes.len() > 128 && u16_at(bytes, EXTRA_SIZE).is_some_and(|extra| extra >= 4);
        let stored = u16_at(bytes, SUM_LOW).zip(if wide { u16_at(bytes, SUM_HIGH) } else { Some(0) });
        let stored = stored.map(|(low, high)| u32::from(low) | (u32::from(high) << 16));
        let mut copy = bytes.to_vec();
        for at in [Some(SUM_LOW), wide.then_some(SUM_HIGH)].into_iter().flatten() {
            copy.iter_mut().skip(at).take(2).for_each(|byte| *byte = 0);
        }
        let sum = crc32c(seed, &copy) & if wide { u32::MAX } else { 0xFFFF };
        match stored == Some(sum) {
            true => Ok(Self(Some(seed))),
            false => Err(wrong(&format!("inode {number}"))),
        }
    }

    /// A block of an extent tree of this file.
    pub(super) fn check_extents(self, number: u64, bytes: &[u8]) -> Result<()> {
        let Some(seed) = self.0 else { return Ok(()) };
        // Behind the entries that it has room for.
        let eh_max = u16_at(bytes, 4).map(usize::from);
        let end = eh_max.and_then(|max| max.checked_add(1)?.checked_mul(12)).unwrap_or(usize::MAX);
        let sum = bytes.get(..end).map(|covered| crc32c(seed, covered));
        match sum.is_some() && sum == u32_at(bytes, end) {
            true => Ok(()),
            false => Err(wrong(&format!("block {number} of an extent tree"))),
        }
    }

    /// A block of names of this file. Those of its index are not looked at.
    pub(super) fn check_directory(self, number: u64, bytes: &[u8]) -> Result<()> {
        let covered = bytes.len().checked_sub(TAIL).and_then(|end| bytes.split_at_checked(end));
        let Some((seed, (covered, tail))) = self.0.zip(covered) else { return Ok(()) };
        // In a block of the index the last entry of a name goes to the end, over the remains of a tail.
        let mut at = 0_usize;
        while at < covered.len() {
            let len = u16_at(covered, at.saturating_add(4)).map_or(0, usize::from);
            at = at.saturating_add(len.max(4));
        }
        let is_tail = at == covered.len() && bytes_at(tail, 0) == Some([0, 0, 0, 0, 12, 0, 0, 0xDE]);
        match !is_tail || u32_at(tail, 8) == Some(crc32c(seed, covered)) {
            true => Ok(()),
            false => Err(wrong(&format!("block {number} of names"))),
        }
    }

    /// A block of extended attributes of this filesystem.
    pub(super) fn check_attributes(self, number: u64, bytes: &[u8]) -> Result<()> {
        let Some(seed) = self.0 else { return Ok(()) };
        let mut copy = bytes.to_vec();
        copy.iter_mut().skip(ATTRIBUTES_SUM).take(4).for_each(|byte| *byte = 0);
        let sum = crc32c(crc32c(seed, &number.to_le_bytes()), &copy);
        match u32_at(bytes, ATTRIBUTES_SUM) == Some(sum) {
            true => Ok(()),
            false => Err(wrong(&format!("block {number} of attributes"))),
        }
    }
}

fn wrong(what: &str) -> Error {
    Error::new(ErrorKind::Corrupt, format!("the checksum of {what} is wrong"))
}
