//! Smaller and older filesystems: ReiserFS, JFS, HPFS, minix, NILFS2.

use super::{Content, StateKind, Window, sum, uuid, window::Bytes};

pub(super) fn reiserfs(disk: &Window) -> Option<Content> {
    if disk.size() < 128 << 10 {
        return None;
    }
    [8u64, 64].iter().find_map(|kib| {
        let sb = disk.get(kib.checked_mul(1024)?, 512)?;
        let version = if *kib == 64 && sb.has(52, b"ReIsEr2Fs") {
            "3.6"
        } else if *kib == 64 && sb.has(52, b"ReIsEr3Fs") {
            "JR"
        } else {
            sb.magic(52, b"ReIsErFs")?;
            "3.5"
        };
        let s_block_count = sb.u32(0)?;
        let s_free_blocks = sb.u32(4)?;
        let s_journal_block = u64::from(sb.u32(12)?);
        let s_blocksize = u64::from(sb.u16(44)?);
        let s_umount_state = sb.u16(50)?;
        let inside_journal = kib.checked_div(s_blocksize / 512)? > s_journal_block / 2;
        if inside_journal {
            return None;
        }
        let content = Content::filesystem("reiserfs", "ReiserFS").version(version);
        let content = content.space(s_blocksize, s_block_count.into(), Some(s_free_blocks.into()));
        let content = content.clean_if(s_umount_state == 1);
        Some(if version == "3.5" { content } else { content.label(sb.slice(100, 16)?).uuid(sb.array(84)?) })
    })
}

pub(super) fn jfs(disk: &Window) -> Option<Content> {
    let sb = disk.get(32 << 10, 512)?;
    sb.magic(0, b"JFS1")?;
    let s_size = sb.u64(8)?;
    let s_bsize = sb.u32(16)?;
    let s_l2bsize = sb.u16(20)?;
    let s_l2bfactor = sb.u16(22)?;
    let s_pbsize = sb.u32(24)?;
    let s_l2pbsize = sb.u16(28)?;
    let s_state = sb.u32(40)?;
    let power = |size: u32, log: u16| 1u32.checked_shl(log.into()) == Some(size);
    let factor = s_l2bsize.checked_sub(s_l2pbsize) == Some(s_l2bfactor);
    if !power(s_bsize, s_l2bsize) || !power(s_pbsize, s_l2pbsize) || !factor || disk.size() < 16 << 20 {
        return None;
    }
    let content = Content::filesystem("jfs", "JFS").label(sb.slice(152, 16)?).uuid(sb.array(136)?);
    Some(content.space(s_pbsize.into(), s_size, None).clean_if(s_state == 0))
}

pub(super) fn hpfs(disk: &Window) -> Option<Content> {
    let sb = disk.get(0x2000, 512)?;
    sb.magic(0, b"\x49\xE8\x95\xF9")?;
    let spare = disk.get(0x2200, 512)?;
    spare.magic(0, b"\x49\x18\x91\xF9")?;
    let content = Content::filesystem("hpfs", "HPFS").version(sb.u8(8)?);
    let content = content.space(512, sb.u32(16)?.into(), None).clean_if(spare.u8(8)? & 1 == 0);
    let boot = disk.get(0, 512)?;
    if boot.has(510, b"\x55\xAA") && boot.has(54, b"HPFS") && boot.u8(38)? == 0x28 {
        return Some(content.label(boot.slice(43, 11)?).id(uuid::serial(boot.u32(39)?)));
    }
    Some(content)
}

pub(super) fn minix(disk: &Window) -> Option<Content> {
    let sb = disk.get(1024, 64)?;
    if sb.has(0x38, b"\x53\xEF") {
        return None;
    }
    let version = |magic: Option<u16>| match magic? {
        0x137F | 0x138F => Some(1u8),
        0x2468 | 0x2478 => Some(2),
        _ => None,
    };
    let third = |magic: Option<u16>| (magic == Some(0x4D5A)).then_some(3u8);
    let little = version(sb.u16(16)).or_else(|| third(sb.u16(24)));
    let big = little.is_none();
    let version = little.or_else(|| version(sb.be16(16)))?;
    let number = |at| if big { sb.be16(at) } else { sb.u16(at) }.map(u64::from);
    // Version 3 has more inodes, so that what follows lies two bytes further.
    let (s_ninodes, maps, zones) = match version {
        1 => (number(0)?, 4, number(2)?),
        2 => (number(0)?, 4, sb.n32(20, big)?.into()),
        _ => (sb.n32(0, big)?.into(), 6, sb.n32(20, big)?.into()),
    };
    let field = |index: usize| number(index.checked_mul(2)?.checked_add(maps)?);
    let (s_imap_blocks, s_zmap_blocks, s_firstdatazone, s_log_zone_size) =
        (field(0)?, field(1)?, field(2)?, field(3)?);
    let bits = |blocks: u64| blocks.saturating_mul(8192);
    let data = zones.checked_sub(s_firstdatazone)?;
    let inodes = s_ninodes != 0 && s_ninodes != u32::MAX.into() && bits(s_imap_blocks) > s_ninodes;
    if !inodes || s_log_zone_size != 0 || bits(s_zmap_blocks) <= data {
        return None;
    }
    let content = Content::filesystem("minix", "minix").version(version);
    if version == 3 {
        return Some(content.space(number(28)?, zones, None));
    }
    let s_state = number(18)?;
    if s_state > 3 {
        return None;
    }
    let content = content.space(1024, zones, None).clean_if(s_state & 1 != 0);
    Some(if s_state & 2 != 0 {
        content.attention(StateKind::Other, "errors were found in it")
    } else {
        content
    })
}

/// The newer of the two superblocks that are good.
pub(super) fn nilfs(disk: &Window) -> Option<Content> {
    let second = (disk.size() / 512).checked_sub(8)?.checked_mul(512)?;
    let good = |offset| disk.get(offset, 1024).filter(|sb| nilfs_good(sb).is_some());
    // A second one that belongs to a disk of another size is not ours.
    let second = good(second).filter(|sb| sb.u64(32) == Some(disk.size()));
    let sb = [second, good(1024)].into_iter().flatten().max_by_key(|sb| sb.u64(56))?;
    let s_rev_level = sb.u32(0)?;
    let s_log_block_size = sb.u32(20)?;
    let s_dev_size = sb.u64(32)?;
    let s_free_blocks_count = sb.u64(80)?;
    let s_state = sb.u16(116)?;
    let unit = 1024u64.checked_shl(s_log_block_size).filter(|unit| *unit <= 65536)?;
    let content = Content::filesystem("nilfs2", "NILFS2").label(sb.slice(168, 80)?).uuid(sb.array(152)?);
    let content = content.version(s_rev_level).space(1, s_dev_size, s_free_blocks_count.checked_mul(unit));
    Some(content.clean_if(s_state & 1 != 0))
}

fn nilfs_good(sb: &Bytes) -> Option<()> {
    sb.magic(6, b"\x34\x34")?;
    let s_bytes = usize::from(sb.u16(8)?);
    let s_crc_seed = sb.u32(12)?;
    let rest = sb.0.get(20..s_bytes)?;
    let crc = [sb.slice(0, 16)?, &[0; 4], rest].iter().fold(s_crc_seed, |crc, part| sum::crc32(crc, part));
    (crc == sb.u32(16)?).then_some(())
}
