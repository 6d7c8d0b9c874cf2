//! RAID of firmware: SNIA DDF and Intel Matrix, both at the end of the disk.

use super::{Content, StateKind, Usage, Window};

const DDF_MAGIC: [u8; 4] = [0xDE, 0x11, 0xDE, 0x11];

/// SNIA "Common RAID Disk Data Format" 2.0, the anchor header.
pub(super) fn ddf(disk: &Window) -> Option<Content> {
    if disk.size() < 0x3_0000 {
        return None;
    }
    [1u64, 257].iter().find_map(|sectors| {
        let offset = (disk.size() / 512).checked_sub(*sectors)?.checked_mul(512)?;
        let header = disk.get(offset, 512)?;
        let big = header.has(0, &DDF_MAGIC);
        if !big && header.u32(0)? != u32::from_be_bytes(DDF_MAGIC) {
            return None;
        }
        // The anchor names the place of the primary header.
        let primary = if big { header.be64(96) } else { header.u64(96) }?;
        if primary > 0 && disk.get(primary.checked_mul(512)?, 4)?.0 != header.slice(0, 4)? {
            return None;
        }
        let content = Content::new("ddf_raid_member", "DDF RAID", Usage::Raid).id_text(header.slice(8, 24)?);
        let revision = String::from_utf8_lossy(header.slice(32, 8)?).trim_end_matches('\0').to_owned();
        Some(content.version(revision).attention(StateKind::Member, "member of an array"))
    })
}

/// Intel Matrix Storage (mdadm, `super-intel.c`).
pub(super) fn isw(disk: &Window) -> Option<Content> {
    if disk.size() < 0x1_0000 {
        return None;
    }
    // The last sector but one, of either size.
    let mpb = [512u64, 4096].iter().find_map(|sector| {
        let at = disk.size().checked_div(*sector)?.checked_sub(2)?.checked_mul(*sector)?;
        disk.get(at, 512).filter(|mpb| mpb.has(0, b"Intel Raid ISM Cfg Sig. "))
    })?;
    let version = String::from_utf8_lossy(mpb.slice(24, 6)?).trim_end_matches('\0').to_owned();
    let content = Content::new("isw_raid_member", "Intel Matrix RAID", Usage::Raid).version(version);
    Some(content.attention(StateKind::Member, "member of an array"))
}
