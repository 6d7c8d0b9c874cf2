//! NTFS and ReFS (the Linux-NTFS documentation).

use super::{Content, StateKind, Window, window::Bytes};

const ATTRIBUTE_VOLUME_NAME: u32 = 0x60;
const ATTRIBUTE_VOLUME_INFORMATION: u32 = 0x70;
const ATTRIBUTE_END: u32 = 0xFFFF_FFFF;
const VOLUME_IS_DIRTY: u16 = 1;
/// Bytes of a record that are looked at.
const RECORD_MAX: u64 = 64 << 10;
/// The number of $Volume in the master file table.
const VOLUME: u64 = 3;

pub(super) fn probe(disk: &Window) -> Option<Content> {
    let boot = disk.get(0, 512)?;
    boot.magic(3, b"NTFS    ")?;
    let bytes_per_sector = u64::from(boot.u16(0x0B)?);
    let sectors_per_cluster = match boot.u8(0x0D)? {
        count @ (1 | 2 | 4 | 8 | 16 | 32 | 64 | 128) => u64::from(count),
        shift @ 240..=249 => 1u64.checked_shl(256u32.checked_sub(shift.into())?)?,
        _ => return None,
    };
    let number_of_sectors = boot.u64(0x28)?;
    let mft_lcn = boot.u64(0x30)?;
    let clusters_per_mft_record = boot.array::<1>(0x40).map(i8::from_le_bytes)?;
    let volume_serial = boot.u64(0x48)?;
    let unused = [0x0E, 0x0F, 0x10, 0x11, 0x12, 0x13, 0x14, 0x16, 0x17, 0x20, 0x21, 0x22, 0x23];
    let unused = unused.iter().all(|at| boot.u8(*at) == Some(0));
    let cluster = bytes_per_sector.checked_mul(sectors_per_cluster)?;
    let clusters = number_of_sectors.checked_div(sectors_per_cluster)?;
    let outside = mft_lcn > clusters || boot.u64(0x38)? > clusters;
    if !unused || !(256..=4096).contains(&bytes_per_sector) || cluster > 2 << 20 || outside {
        return None;
    }
    let record = match clusters_per_mft_record {
        count @ (1 | 2 | 4 | 8 | 16 | 32 | 64) => u64::try_from(count).ok()?.checked_mul(cluster)?,
        -31..=-9 => 1u64.checked_shl(clusters_per_mft_record.unsigned_abs().into())?,
        _ => return None,
    };
    let mft = mft_lcn.checked_mul(cluster)?;
    disk.get(mft, 4)?.magic(0, b"FILE")?;
    let volume = mft.checked_add(record.checked_mul(VOLUME)?)?;
    // Records have 1 or 4 KiB; what claims more is not searched.
    let volume = disk.get(volume, usize::try_from(record.min(RECORD_MAX)).ok()?)?;
    volume.magic(0, b"FILE")?;
    let volume = fixed_up(volume).unwrap_or(Bytes(vec![]));
    let content = Content::filesystem("ntfs", "NTFS").id(format!("{volume_serial:016X}"));
    let content = content.space(bytes_per_sector, number_of_sectors, None);
    let content = match attribute(&volume, ATTRIBUTE_VOLUME_NAME) {
        Some(name) => {
            content.label_utf16(name.as_chunks::<2>().0.iter().map(|unit| u16::from_le_bytes(*unit)))
        }
        None => content,
    };
    let information = attribute(&volume, ATTRIBUTE_VOLUME_INFORMATION).map(|value| Bytes(value.to_vec()));
    Some(match information.and_then(|value| value.u16(10)) {
        Some(flags) if flags & VOLUME_IS_DIRTY == 0 => content.normal(StateKind::Clean, "clean"),
        Some(_) => content.attention(StateKind::Dirty, "marked dirty"),
        None => content,
    })
}

/// A record with the last two bytes of each of its 512-byte strides put back.
fn fixed_up(mut record: Bytes) -> Option<Bytes> {
    record.magic(0, b"FILE")?;
    let array = usize::from(record.u16(4)?);
    let count = usize::from(record.u16(6)?);
    for stride in 1..count {
        let original = record.array::<2>(array.checked_add(stride.checked_mul(2)?)?)?;
        let end = stride.checked_mul(512)?;
        record.0.get_mut(end.checked_sub(2)?..end)?.copy_from_slice(&original);
    }
    Some(record)
}

/// The value of the first resident attribute of this type.
fn attribute(record: &Bytes, wanted: u32) -> Option<&[u8]> {
    let mut at = usize::from(record.u16(20)?);
    loop {
        let (kind, length) = (record.u32(at)?, usize::try_from(record.u32(at.checked_add(4)?)?).ok()?);
        if kind == ATTRIBUTE_END || length < 16 {
            return None;
        }
        if kind == wanted && record.u8(at.checked_add(8)?)? == 0 {
            let value_length = usize::try_from(record.u32(at.checked_add(16)?)?).ok()?;
            let value_offset = usize::from(record.u16(at.checked_add(20)?)?);
            return record.slice(at.checked_add(value_offset)?, value_length);
        }
        at = at.checked_add(length)?;
    }
}

/// ReFS: only its name is known.
pub(super) fn refs(disk: &Window) -> Option<Content> {
    disk.get(0, 512)?.magic(0, b"\0\0\0ReFS\0")?;
    Some(Content::filesystem("ReFS", "ReFS"))
}
