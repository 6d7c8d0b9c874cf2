//! Layers below a filesystem that keep their own superblock: bcache, bcachefs, DRBD, VDO.

use super::{Content, StateKind, Usage, Window, sum};

const BCACHE: &[u8] = b"\xC6\x85\x73\xF6\x4E\x1A\x45\xCA\x82\x65\xF5\x7F\x48\xBA\x6D\x81";
const BCACHEFS: &[u8] = b"\xC6\x85\x73\xF6\x66\xCE\x90\xA9\xD9\x6A\x60\xCF\x80\x3D\xF7\xEF";

pub(super) fn bcache(disk: &Window) -> Option<Content> {
    let sb = disk.get(4096, 4096)?;
    sb.magic(24, BCACHE)?;
    let keys = usize::from(sb.u16(206)?);
    let length = keys.checked_mul(8)?.checked_add(200)?;
    // A bcachefs of the first version has the same magic; its offset lies elsewhere.
    if sb.u64(8)? != 8 {
        return None;
    }
    let good = keys <= 256 && sb.slice(8, length).map(sum::crc64) == sb.u64(0);
    let role = match sb.u64(16)? {
        0 | 3 | 5 => "bcache cache",
        _ => "bcache backing device",
    };
    let content = Content::new("bcache", role, Usage::Other).uuid(sb.array(40)?);
    Some(content.attention(StateKind::Member, "used through bcache").checksum(good))
}

pub(super) fn bcachefs(disk: &Window) -> Option<Content> {
    let sb = disk.get(4096, 512)?;
    if !sb.has(24, BCACHE) && !sb.has(24, BCACHEFS) {
        return None;
    }
    let (dev_idx, nr_devices) = (sb.u8(122)?, sb.u8(123)?);
    if sb.u64(104)? != 8 || dev_idx >= nr_devices {
        return None;
    }
    let content = Content::filesystem("bcachefs", "bcachefs").label(sb.slice(72, 32)?).uuid(sb.array(56)?);
    let content = content.version(sb.u16(16)?);
    Some(if nr_devices > 1 {
        content.attention(StateKind::Member, format!("one of {nr_devices} devices"))
    } else {
        content
    })
}

/// DRBD 8 and 9 with internal metadata (drbd-headers, `drbd_meta_data.h`).
pub(super) fn drbd(disk: &Window) -> Option<Content> {
    if disk.size() < 0x1_0000 {
        return None;
    }
    let md = disk.get(disk.end_less(4096)?, 512)?;
    let known = |magic: u32| match magic {
        0x8374_026B => Some(("v08", 40, true)),
        0x8374_026C => Some(("v08", 40, false)),
        0x8374_026D => Some(("v09", 48, true)),
        _ => None,
    };
    // Version 9 reserves more before the UUID of the device; the magic did not move.
    let (version, device_uuid, clean) = known(md.be32(60)?)?;
    let content = Content::new("drbd", "DRBD", Usage::Raid).version(version).clean_if(clean);
    Some(match md.be64(device_uuid)? {
        0 => content,
        id => content.id(format!("{id:x}")),
    })
}

pub(super) fn vdo(disk: &Window) -> Option<Content> {
    let sb = disk.get(0, 64)?;
    sb.magic(0, b"dmvdo001")?;
    Some(Content::new("vdo", "VDO", Usage::Other).uuid(sb.array(40)?))
}
