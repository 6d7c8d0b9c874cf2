//! The boot sector: how large things are, and where the master file table lies.

use block::field::{bytes_at, u16_at, u64_at};

/// Bytes of a record or an index block; real ones have 1 or 4 KiB.
pub(super) const RECORD_MAX: u64 = 64 << 10;
/// Every stride of this many bytes of a record or index block ends in two that stand elsewhere.
pub(super) const STRIDE: usize = 512;

/// In bytes, but where said.
#[derive(Debug)]
pub(crate) struct Geometry {
    /// Of a cluster: a power of two.
    pub(crate) cluster: u64,
    /// How many clusters there are.
    pub(crate) clusters: u64,
    /// Of the volume, without the copy of the boot sector behind it.
    pub(crate) length: u64,
    /// Of a record of the master file table.
    pub(crate) record: u64,
    /// Where the master file table begins.
    pub(crate) mft: u64,
    /// Where the copy of its first records is.
    pub(crate) mirror: u64,
}

impl Geometry {
    /// `None` where it makes no sense.
    pub(crate) fn parse(boot: &[u8]) -> Option<Self> {
        if bytes_at(boot, 3) != Some(*b"NTFS    ") {
            return None;
        }
        let bytes_per_sector = u64::from(u16_at(boot, 0x0B)?);
        let sectors_per_cluster = match *boot.get(0x0D)? {
            count @ (1 | 2 | 4 | 8 | 16 | 32 | 64 | 128) => u64::from(count),
            shift @ 240..=249 => 1_u64.checked_shl(256_u32.checked_sub(shift.into())?)?,
            _ => return None,
        };
        let number_of_sectors = u64_at(boot, 0x28)?;
        let clusters_per_mft_record = i8::from_le_bytes(bytes_at(boot, 0x40)?);
        let cluster = bytes_per_sector.checked_mul(sectors_per_cluster)?;
        let record = match clusters_per_mft_record {
            count @ 1.. => u64::try_from(count).ok()?.checked_mul(cluster)?,
            -31..=-9 => 1_u64.checked_shl(clusters_per_mft_record.unsigned_abs().into())?,
            _ => return None,
        };
        let sound = bytes_per_sector.is_power_of_two() && (256..=4096).contains(&bytes_per_sector);
        if !sound || cluster > 2 << 20 || !record.is_power_of_two() || !(512..=RECORD_MAX).contains(&record) {
            return None;
        }
        // One sector more than it says belongs to it: the copy of this one.
        number_of_sectors.checked_add(1)?.checked_mul(bytes_per_sector)?;
        let clusters = number_of_sectors.checked_div(sectors_per_cluster)?;
        let place = |lcn: u64| lcn.checked_mul(cluster).filter(|_| lcn < clusters);
        Some(Self {
            cluster,
            clusters,
            length: number_of_sectors.checked_mul(bytes_per_sector)?,
            record,
            mft: place(u64_at(boot, 0x30)?)?,
            mirror: place(u64_at(boot, 0x38)?).unwrap_or(0),
        })
    }
}

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects, clippy::indexing_slicing)]
mod tests {
    use super::*;

    fn boot() -> Vec<u8> {
        let mut boot = vec![0; 512];
        boot[3..11].copy_from_slice(b"NTFS    ");
        boot[0x0B..0x0E].copy_from_slice(&[0, 2, 8]);
        boot[0x28..0x2A].copy_from_slice(&[0xFF, 0x7F]);
        boot[0x30] = 4;
        boot[0x38] = 9;
        boot[0x40] = 0xF6;
        boot
    }

    #[test]
    fn a_boot_sector() {
        let geometry = Geometry::parse(&boot()).unwrap();
        assert_eq!((geometry.cluster, geometry.clusters, geometry.record), (4096, 4095, 1024));
        assert_eq!((geometry.mft, geometry.mirror), (16384, 36864));
    }

    #[test]
    fn what_makes_no_sense_is_none() {
        let changes: [(usize, u8); 7] =
            [(3, 0), (0x0B, 1), (0x0C, 0xFF), (0x0D, 3), (0x31, 0xFF), (0x40, 0), (0x40, 0x80)];
        for (at, byte) in changes {
            let mut boot = boot();
            boot[at] = byte;
            assert!(Geometry::parse(&boot).is_none(), "{at:#x}");
        }
        let mut large = boot();
        large[0x28..0x30].fill(0xFF);
        assert!(Geometry::parse(&large).is_none());
        assert!(Geometry::parse(&boot()[..0x40]).is_none());
    }
}
