//! Checksums of btrfs, of nodes and of data.

use crate::fs::sums::crc32c;
use sha2::{Digest, Sha256};

/// Which one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SumKind {
    Crc32c,
    XxHash64,
    Sha256,
    /// Not computed here: everything fits.
    Blake2,
}

impl SumKind {
    pub(super) fn of(number: u16) -> Option<Self> {
        [Self::Crc32c, Self::XxHash64, Self::Sha256, Self::Blake2].get(usize::from(number)).copied()
    }

    /// Bytes of one.
    pub(super) const fn size(self) -> usize {
        match self {
            Self::Crc32c => 4,
            Self::XxHash64 => 8,
            Self::Sha256 | Self::Blake2 => 32,
        }
    }

    /// Is that what `stored` begins with?
    pub(super) fn fits(self, stored: &[u8], bytes: &[u8]) -> bool {
        match self {
            Self::Crc32c => stored.starts_with(&crc32c(&[bytes]).to_le_bytes()),
            Self::XxHash64 => stored.starts_with(&xxhash_rust::xxh64::xxh64(bytes, 0).to_le_bytes()),
            Self::Sha256 => stored.starts_with(Sha256::digest(bytes).as_slice()),
            Self::Blake2 => true,
        }
    }
}
