//! F2FS (kernel, `include/linux/f2fs_fs.h`).

use super::{Content, Window, sum, window::Bytes};

const MAGIC: u32 = 0xF2F5_2010;
const CP_UMOUNT: u32 = 0x1;

pub(super) fn probe(disk: &Window) -> Option<Content> {
    let sb = disk.get(1024, 3072)?;
    sb.magic(0, &MAGIC.to_le_bytes())?;
    let major_ver = sb.u16(4)?;
    let minor_ver = sb.u16(6)?;
    let log_blocksize = sb.u32(0x10)?;
    let log_blocks_per_seg = sb.u32(0x14)?;
    let checksum_offset = usize::try_from(sb.u32(0x20)?).ok()?;
    let block_count = sb.u64(0x24)?;
    let cp_blkaddr = u64::from(sb.u32(0x4C)?);
    let content = Content::filesystem("f2fs", "F2FS");
    if (major_ver, minor_ver) == (1, 0) {
        return Some(content);
    }
    let sum_of = |len| Some(sum::crc32(MAGIC, sb.slice(0, len)?));
    let good = checksum_offset == 0
        || sum_of(checksum_offset).is_some_and(|sum| sb.u32(checksum_offset) == Some(sum));
    let units = sb.slice(0x7C, 1024)?.as_chunks::<2>().0.iter().map(|unit| u16::from_le_bytes(*unit));
    let content =
        content.label_utf16(units).uuid(sb.array(0x6C)?).version(format!("{major_ver}.{minor_ver}"));
    let content = content.checksum(good);
    if log_blocksize != 12 || log_blocks_per_seg > 16 {
        return Some(content);
    }
    let pack = |first: u64| disk.get(first.checked_mul(4096)?, 4096);
    let second = cp_blkaddr.checked_add(1 << log_blocks_per_seg)?;
    let checkpoint = [pack(cp_blkaddr), pack(second)].into_iter().flatten().max_by_key(|cp| cp.u64(0));
    let content = content.space(4096, block_count, checkpoint.as_ref().and_then(free));
    Some(match checkpoint.and_then(|cp| cp.u32(132)) {
        Some(ckpt_flags) => content.clean_if(ckpt_flags & CP_UMOUNT != 0),
        None => content,
    })
}

/// Blocks of users less those that are valid.
fn free(checkpoint: &Bytes) -> Option<u64> {
    let user_block_count = checkpoint.u64(8)?;
    let valid_block_count = checkpoint.u64(16)?;
    user_block_count.checked_sub(valid_block_count)
}
