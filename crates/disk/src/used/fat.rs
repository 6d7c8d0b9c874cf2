//! FAT12, FAT16 and FAT32: a cluster is in use if its entry in any copy of the table is not zero.

use super::Mapped;
use super::runs::{First, Runs, set_bits};
use super::volume::{OrCorrupt, Volume, byte, corrupt, le16, le32, units};
use crate::probe::Content;
use block::Result;

/// More clusters than this are FAT16, as Linux has it.
const FAT12_MAX: u64 = 4084;
const FAT16_MAX: u64 = 65524;
const FAT32_MAX: u64 = 0x0FFF_FFF6;
/// Bytes of a table that are looked at together: whole entries of 12 bits too.
const PIECE: u64 = 3 << 19;
const ODD: &str = "its parameter block contradicts itself";

/// The BIOS parameter block.
struct Bpb {
    /// Bytes of a sector.
    sector: u64,
    /// Bytes of a cluster.
    cluster: u64,
    /// First sector of the first table.
    reserved: u64,
    fats: u64,
    /// Sectors of a table.
    fat_length: u64,
    /// First sector of cluster 2.
    data: u64,
    sectors: u64,
    media: u64,
    /// Cluster of the root directory; 0 where it lies in front of the clusters.
    root: u64,
    /// Bits of an entry.
    bits: u64,
}

impl Bpb {
    fn parse(boot: &[u8]) -> Option<Self> {
        let sector = le16(boot, 0x0B)?;
        let in_cluster = byte(boot, 0x0D)?;
        let (reserved, fats) = (le16(boot, 0x0E)?, byte(boot, 0x10)?);
        let root_entries = le16(boot, 0x11)?;
        let sectors = le16(boot, 0x13).filter(|count| *count != 0).or_else(|| le32(boot, 0x20))?;
        let small = le16(boot, 0x16)?;
        let fat32 = small == 0;
        let fat_length = if fat32 { le32(boot, 0x24)? } else { small };
        let root_sectors = root_entries.checked_mul(32)?.div_ceil(sector.max(1));
        let data = fat_length.checked_mul(fats)?.checked_add(reserved)?.checked_add(root_sectors)?;
        let clusters = sectors.checked_sub(data)?.checked_div(in_cluster)?;
        let (bits, most) = match (fat32, clusters) {
            (true, _) => (32, FAT32_MAX),
            (false, count) if count <= FAT12_MAX => (12, FAT12_MAX),
            (false, _) => (16, FAT16_MAX),
        };
        let sane = sector.is_power_of_two() && (512..=4096).contains(&sector) && in_cluster.is_power_of_two();
        (sane && reserved > 0 && (1..=2).contains(&fats) && fat_length > 0 && clusters <= most).then_some(
            Self {
                sector,
                cluster: in_cluster.checked_mul(sector)?,
                reserved,
                fats,
                fat_length,
                data,
                sectors,
                media: byte(boot, 0x15)?,
                root: if fat32 { le32(boot, 0x2C)? } else { 0 },
                bits,
            },
        )
    }

    /// Clusters that there are and that the table has entries for.
    fn clusters(&self) -> Option<u64> {
        let bytes = self.sectors.checked_sub(self.data)?.checked_mul(self.sector)?;
        let entries = self.fat_length.checked_mul(self.sector)?.checked_mul(8)?.checked_div(self.bits)?;
        Some(bytes.checked_div(self.cluster)?.min(entries.checked_sub(2)?))
    }
}

pub(super) fn map(volume: &Volume<'_>, _: &Content) -> Result<Mapped> {
    let bpb = Bpb::parse(&volume.read(0, 512)?).or_corrupt(ODD)?;
    let clusters = bpb.clusters().or_corrupt(ODD)?;
    let end = units(bpb.sector, 0, bpb.sectors)?.end();
    let heap = units(bpb.sector, bpb.data, 0)?.start();
    let mut used = Runs::default();
    used.add(block::ByteRange::span(0, heap))?;
    let length = units(bpb.sector, bpb.reserved, bpb.fat_length)?.len();
    let (mut at, mut entry, mut differ) = (0, 0u64, false);
    while at < length && entry < clusters.saturating_add(2) {
        let here = PIECE.min(length.saturating_sub(at));
        let mut bits = vec![];
        for copy in 0..bpb.fats {
            let first = bpb.fat_length.checked_mul(copy).and_then(|more| more.checked_add(bpb.reserved));
            let start = units(bpb.sector, first.or_corrupt(ODD)?, 0)?.start();
            let table = volume.read(start.saturating_add(at), here)?;
            if at == 0 && byte(&table, 0) != Some(bpb.media) {
                return Err(corrupt("its table does not begin as its parameter block says"));
            }
            let one = taken(&table, bpb.bits);
            match copy {
                0 => bits = one,
                _ => {
                    differ |= bits != one;
                    bits.iter_mut().zip(one).for_each(|(all, one)| *all |= one);
                }
            }
        }
        let entries = here.saturating_mul(8).checked_div(bpb.bits).unwrap_or(0);
        let count = entries.min(clusters.saturating_add(2).saturating_sub(entry));
        set_bits(&bits, count, First::Lowest, |from, to| {
            // The first two entries are of no cluster.
            let cluster = |number: u64| number.saturating_add(entry).saturating_sub(2);
            let run = units(bpb.cluster, cluster(from), cluster(to).saturating_sub(cluster(from)))?;
            used.add(run.moved(0, heap))
        })?;
        at = at.saturating_add(here);
        entry = entry.saturating_add(entries);
    }
    // What no entry stands for.
    let behind = units(bpb.cluster, clusters, 0)?.moved(0, heap).start();
    used.add(block::ByteRange::span(behind, end))?;
    if bpb.bits == 32 {
        let root = bpb.root.checked_sub(2).filter(|root| *root < clusters).or_corrupt(ODD)?;
        let covered = used.cover(units(bpb.cluster, root, 1)?.moved(0, heap));
        covered.then_some(()).or_corrupt("its root directory is free by its own count")?;
    }
    let more = differ.then(|| "the copies of its table differ; what is used in either counts".to_owned());
    Ok(Mapped { used, end, more })
}

/// A bit for each entry of a table that is not zero.
fn taken(table: &[u8], bits: u64) -> Vec<u8> {
    let used: Vec<bool> = match bits {
        12 => {
            let pairs = table.chunks(3).flat_map(|three| {
                let at = |place: usize| three.get(place).copied().unwrap_or(0);
                [at(0) != 0 || at(1) & 0x0F != 0, at(1) & 0xF0 != 0 || at(2) != 0]
            });
            pairs.collect()
        }
        16 => table.chunks_exact(2).map(|entry| entry != [0; 2]).collect(),
        // The highest four bits are not of the number.
        _ => table
            .chunks_exact(4)
            .map(|entry| le32(entry, 0).is_some_and(|next| next & 0x0FFF_FFFF != 0))
            .collect(),
    };
    let byte = |eight: &[bool]| eight.iter().rev().fold(0u8, |byte, used| (byte << 1) | u8::from(*used));
    used.chunks(8).map(byte).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_of_each_width() {
        assert_eq!(taken(&[0, 0x10, 0, 0, 0, 0x02], 12), [0b1010]);
        assert_eq!(taken(&[0, 0, 1, 0, 0, 1], 16), [0b110]);
        assert_eq!(taken(&[0, 0, 0, 0xF0, 0, 0, 0, 0x08], 32), [0b10]);
    }
}
