//! Filesystems that are written once: cramfs, romfs, squashfs, EROFS.

use super::{Content, Window, sum};

pub(super) fn cramfs(disk: &Window) -> Option<Content> {
    let sb = disk.get(0, 64)?;
    let big = sb.has(0, b"\x28\xCD\x3D\x45");
    if !big {
        sb.magic(0, b"\x45\x3D\xCD\x28")?;
    }
    Some(Content::filesystem("cramfs", "cramfs").label(sb.slice(48, 16)?).space(
        1,
        sb.n32(4, big)?.into(),
        None,
    ))
}

pub(super) fn romfs(disk: &Window) -> Option<Content> {
    let sb = disk.get(0, 512)?;
    sb.magic(0, b"-rom1fs-")?;
    Some(Content::filesystem("romfs", "romfs").label(sb.slice(16, 16)?).space(1, sb.be32(8)?.into(), None))
}

pub(super) fn squashfs(disk: &Window) -> Option<Content> {
    let sb = disk.get(0, 96)?;
    let big = sb.has(0, b"sqsh");
    if !big {
        sb.magic(0, b"hsqs")?;
    }
    let number = |at| if big { sb.be16(at) } else { sb.u16(at) };
    let (s_major, s_minor) = (number(28)?, number(30)?);
    let name = match (s_major, big) {
        (1..=3, _) => "squashfs3",
        (4.., false) => "squashfs",
        _ => return None,
    };
    let content = Content::filesystem(name, "squashfs").version(format!("{s_major}.{s_minor}"));
    Some(if s_major >= 4 { content.space(1, sb.u64(40)?, None) } else { content })
}

pub(super) fn erofs(disk: &Window) -> Option<Content> {
    let mut sb = disk.get(1024, 3072)?;
    sb.magic(0, b"\xE2\xE1\xF5\xE0")?;
    let checksum = sb.u32(4)?;
    let feature_compat = sb.u32(8)?;
    let blkszbits = u32::from(sb.u8(12)?);
    let blocks = sb.u32(36)?;
    let content = Content::filesystem("erofs", "EROFS").label(sb.slice(64, 16)?).uuid(sb.array(48)?);
    // Over the rest of the block, which is that of 4 KiB wherever it was looked at.
    let good = feature_compat & 1 == 0 || blkszbits != 12 || {
        sb.0.get_mut(4..8)?.fill(0);
        sum::crc32c(!0, &sb.0) == checksum
    };
    let unit = 1u64.checked_shl(blkszbits).unwrap_or(0);
    Some(content.space(unit, blocks.into(), None).checksum(good))
}
