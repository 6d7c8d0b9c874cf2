//! NTFS and ReFS (the Linux-NTFS documentation).

use super::ntfs_files::{Data, Files, find};
use super::{Content, StateKind, Window};

const ATTRIBUTE_VOLUME_NAME: u32 = 0x60;
const ATTRIBUTE_VOLUME_INFORMATION: u32 = 0x70;
const VOLUME_IS_DIRTY: u16 = 1;
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
    let files = Files { disk, cluster, record, mft };
    disk.get(mft.checked_add(record.checked_mul(VOLUME)?)?, 4)?.magic(0, b"FILE")?;
    let volume = files.record(VOLUME);
    let value = |kind| match Data::of(&find(volume.as_ref()?, kind)?)? {
        Data::Resident(value) => Some(value),
        Data::Runs(_) => None,
    };
    let content = Content::filesystem("ntfs", "NTFS").id(format!("{volume_serial:016X}"));
    let content = content.space(bytes_per_sector, number_of_sectors, None);
    let content = match value(ATTRIBUTE_VOLUME_NAME) {
        Some(name) => {
            content.label_utf16(name.0.as_chunks::<2>().0.iter().map(|unit| u16::from_le_bytes(*unit)))
        }
        None => content,
    };
    Some(with_state(content, &files, value(ATTRIBUTE_VOLUME_INFORMATION).and_then(|value| value.u16(10))))
}

/// What the flags of the volume, its journal and its hibernation file say.
fn with_state(content: Content, files: &Files, flags: Option<u16>) -> Content {
    let dirty = flags.map(|flags| flags & VOLUME_IS_DIRTY != 0);
    let log_clean = files.log_is_clean();
    let hibernated = files.hibernated() == Some(true);
    let content = match dirty {
        Some(true) => content.attention(StateKind::Dirty, "marked dirty"),
        Some(false) if log_clean != Some(false) && !hibernated => content.normal(StateKind::Clean, "clean"),
        _ => content,
    };
    let content = if log_clean == Some(false) {
        content.attention(StateKind::JournalReplay, "journal needs recovery")
    } else {
        content
    };
    if hibernated {
        content.attention(StateKind::Hibernated, "Windows is hibernated (hiberfil.sys)")
    } else {
        content
    }
}

/// ReFS: only its name is known.
pub(super) fn refs(disk: &Window) -> Option<Content> {
    disk.get(0, 512)?.magic(0, b"\0\0\0ReFS\0")?;
    Some(Content::filesystem("ReFS", "ReFS"))
}
