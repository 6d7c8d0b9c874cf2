//! exFAT (Microsoft, "exFAT file system specification").

use super::{Content, Window, uuid};

const VOLUME_DIRTY: u16 = 2;
const ENTRY_LABEL: u8 = 0x83;
/// Bytes of the root directory that are searched for the label.
const ROOT: u64 = 64 << 10;

pub(super) fn probe(disk: &Window) -> Option<Content> {
    let boot = disk.get(0, 512)?;
    boot.magic(3, b"EXFAT   ")?;
    let volume_length = boot.u64(72)?;
    let cluster_heap_offset = u64::from(boot.u32(88)?);
    let cluster_count = u64::from(boot.u32(92)?);
    let root_directory = u64::from(boot.u32(96)?);
    let revision = boot.u16(104)?;
    let volume_flags = boot.u16(106)?;
    let sector_shift = u32::from(boot.u8(108)?);
    let cluster_shift = u32::from(boot.u8(109)?);
    let percent_in_use = u64::from(boot.u8(112)?);
    let must_be_zero = boot.slice(11, 53)?.iter().all(|byte| *byte == 0);
    let content = Content::filesystem("exfat", "exFAT").id(uuid::serial(boot.u32(100)?));
    let content = content.version(format!("{}.{}", revision >> 8, revision & 0xFF));
    let framed = boot.has(0, b"\xEB\x76\x90") && boot.has(510, b"\x55\xAA") && must_be_zero;
    if !framed || !(9..=12).contains(&sector_shift) || cluster_shift > 25 || root_directory < 2 {
        // blkid gives up only where the size of a cluster, in 32 bits, comes out as nothing.
        let cluster = 1u32.wrapping_shl(sector_shift).wrapping_shl(cluster_shift);
        return (cluster != 0).then(|| content.checksum(false));
    }
    let content = content.checksum(boot_checksum(disk, 1 << sector_shift).unwrap_or(false));
    let cluster = 1u64.checked_shl(sector_shift.checked_add(cluster_shift)?)?;
    let heap = cluster_heap_offset.checked_mul(1 << sector_shift)?;
    let root = root_directory.checked_sub(2)?.checked_mul(cluster)?.checked_add(heap)?;
    let content = content.space(1 << sector_shift, volume_length, None);
    let used = cluster_count.checked_mul(percent_in_use).filter(|_| percent_in_use <= 100);
    let free = used.and_then(|used| cluster_count.checked_sub(used / 100)?.checked_mul(cluster));
    let content = content.free(free);
    let length = usize::try_from(cluster.min(ROOT)).ok()?;
    let units = disk.get(root, length).and_then(|dir| label(&dir.0)).unwrap_or_default();
    Some(content.label_utf16(units).clean_if(volume_flags & VOLUME_DIRTY == 0))
}

fn label(dir: &[u8]) -> Option<Vec<u16>> {
    let entries = dir.as_chunks::<32>().0.iter().take_while(|entry| entry.first() != Some(&0));
    let entry = entries.into_iter().find(|entry| entry.first() == Some(&ENTRY_LABEL))?;
    let units = entry.get(2..24)?.as_chunks::<2>().0.iter().map(|unit| u16::from_le_bytes(*unit));
    Some(units.take(entry.get(1).copied()?.into()).collect())
}

/// Section 3.4: sector 11 repeats the sum of the eleven before it, less the flags and the percentage in use.
fn boot_checksum(disk: &Window, sector: usize) -> Option<bool> {
    let region = disk.get(0, sector.checked_mul(12)?)?.0;
    let (summed, sums) = region.split_at_checked(sector.checked_mul(11)?)?;
    let counted = summed.iter().enumerate().filter(|(at, _)| !matches!(at, 106 | 107 | 112));
    let sum = counted.fold(0u32, |sum, (_, byte)| sum.rotate_right(1).wrapping_add(u32::from(*byte)));
    Some(sums.as_chunks::<4>().0.iter().all(|repeated| u32::from_le_bytes(*repeated) == sum))
}
