//! XFS and its external log (kernel, `fs/xfs/libxfs/xfs_format.h`, `xfs_log_format.h`).

use super::{Content, StateKind, Usage, Window, sum, xfs_log};

pub(super) fn probe(disk: &Window) -> Option<Content> {
    let sb = disk.get(0, 512)?;
    sb.magic(0, b"XFSB")?;
    let sb_blocksize = sb.be32(4)?;
    let sb_dblocks = sb.be64(8)?;
    let sb_logstart = sb.be64(48)?;
    let sb_rextsize = sb.be32(80)?;
    let sb_agblocks = u64::from(sb.be32(84)?);
    let sb_agcount = u64::from(sb.be32(88)?);
    let sb_sectsize = sb.be16(102)?;
    let sb_inodesize = sb.be16(104)?;
    let sb_blocklog = sb.u8(120)?;
    let sb_sectlog = sb.u8(121)?;
    let sb_inodelog = sb.u8(122)?;
    let sb_inopblog = sb.u8(123)?;
    let sb_logblocks = u64::from(sb.be32(96)?);
    let sb_agblklog = sb.u8(124)?;
    let sb_versionnum = sb.be16(100)?;
    let sb_imax_pct = sb.u8(127)?;
    let sb_fdblocks = sb.be64(144)?;
    let power = |size: u32, log: u8| size.is_power_of_two() && size.trailing_zeros() == u32::from(log);
    let sane = power(sb_blocksize, sb_blocklog)
        && (512..=65536).contains(&sb_blocksize)
        && power(sb_sectsize.into(), sb_sectlog)
        && (512..=32768).contains(&sb_sectsize)
        && power(sb_inodesize.into(), sb_inodelog)
        && (256..=2048).contains(&sb_inodesize)
        && sb_blocklog.checked_sub(sb_inodelog) == Some(sb_inopblog)
        && (4 << 10..=1 << 30).contains(&sb_rextsize.wrapping_mul(sb_blocksize))
        && sb_imax_pct <= 100;
    let most = sb_agcount.checked_mul(sb_agblocks)?;
    let least = sb_agcount.checked_sub(1)?.checked_mul(sb_agblocks)?.checked_add(64)?;
    if !sane || !(least..=most).contains(&sb_dblocks) {
        return None;
    }
    let content = Content::filesystem("xfs", "XFS").label(sb.slice(108, 12)?).uuid(sb.array(32)?);
    // Version 5 has a checksum, of the sector with the checksum zero.
    let good = sb_versionnum & 0xF != 5 || {
        let mut sector = disk.get(0, sb_sectsize.into())?.0;
        let sb_crc = std::mem::take(sector.get_mut(224..228)?.first_chunk_mut::<4>()?);
        !sum::crc32c(!0, &sector) == u32::from_le_bytes(sb_crc)
    };
    let content = content.space(sb_blocksize.into(), sb_dblocks, Some(sb_fdblocks)).checksum(good);
    // A log that starts nowhere is on another device.
    let clean = (sb_logstart != 0).then(|| {
        // A block number is a group and a block in it, each group taking a power of two.
        let group = sb_logstart.checked_shr(sb_agblklog.into())?;
        let within = sb_logstart.checked_sub(group.checked_shl(sb_agblklog.into())?)?;
        let block = group.checked_mul(sb_agblocks)?.checked_add(within)?;
        let start = block.checked_mul(sb_blocksize.into())?;
        xfs_log::is_clean(disk, start, sb_logblocks.checked_mul(sb_blocksize.into())? / 512)
    });
    Some(match clean.flatten() {
        Some(true) => content.normal(StateKind::Clean, "clean"),
        Some(false) => content.attention(StateKind::JournalReplay, "log needs recovery"),
        None => content,
    })
}

/// A log record header in one of the first 512 sectors.
pub(super) fn external_log(disk: &Window) -> Option<Content> {
    if disk.size() < 10 << 20 {
        return None;
    }
    let log = disk.get(0, 256 << 10)?;
    if log.has(0, b"XFSB") {
        return None;
    }
    (0..512usize).find_map(|sector| {
        let at = sector.checked_mul(512)?;
        log.magic(at, b"\xFE\xED\xBA\xBE")?;
        let field = |offset: usize| log.be32(at.checked_add(offset)?);
        let (h_version, h_len, h_fmt) = (field(8)?, field(12)?, field(300)?);
        let sane =
            (1..=3).contains(&h_version) && (1..=0x7FFF_FFFF).contains(&h_len) && (1..=3).contains(&h_fmt);
        sane.then(|| Content::new("xfs_external_log", "external log of XFS", Usage::Other))
    })
}
