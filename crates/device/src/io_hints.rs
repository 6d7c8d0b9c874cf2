//! How a disk wants to be written, as the kernel knows it.

use crate::machine::number;
use crate::{Disk, Machine};
use serde::{Deserialize, Serialize};

/// What partitions should be aligned to, in bytes, and what it does by itself. 0: not known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct IoHints {
    /// What is written best as one: a stripe of an array. USB cases often say nonsense.
    pub optimal: u64,
    /// What the drive rewrites as one.
    pub physical_sector: u64,
    /// How far behind byte 0 the first physical sector begins.
    pub offset: u64,
    /// Bytes that it makes zero at one command; 0: it knows no such command.
    pub zeroes: u64,
}

impl Machine {
    /// Of a whole disk.
    pub fn io_hints(&self, disk: &Disk) -> IoHints {
        let dir = self.block(&disk.name);
        let bytes = |file: &str| number::<u64>(dir.join(file)).unwrap_or(0);
        IoHints {
            optimal: bytes("queue/optimal_io_size"),
            physical_sector: disk.physical_sector.into(),
            // -1 where the disk cannot be aligned at all.
            offset: bytes("alignment_offset"),
            zeroes: bytes("queue/write_zeroes_max_bytes"),
        }
    }
}
