//! A range of a disk with a role. The regions of a disk cover it without gap or overlap.

use crate::ByteRange;

/// Why a region is one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// From sector 0 to the first partition, at most 1 MiB: MBR, primary GPT, boot loader.
    Preamble,
    /// The partition that the kernel gives this number.
    Partition(u32),
    /// The sector of an extended boot record.
    Ebr,
    /// Between the others.
    Gap,
    /// The backup GPT at the end.
    Tail,
    /// All of it in one: no table, or kept `--whole`.
    Whole,
}

/// A range of the disk, in bytes, and its role.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Region {
    /// Bytes on the disk.
    pub range: ByteRange,
    /// What it is.
    pub role: Role,
}

impl std::fmt::Display for Role {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Preamble => f.write_str("preamble"),
            Self::Partition(number) => write!(f, "partition {number}"),
            Self::Ebr => f.write_str("EBR"),
            Self::Gap => f.write_str("gap"),
            Self::Tail => f.write_str("tail"),
            Self::Whole => f.write_str("whole disk"),
        }
    }
}
