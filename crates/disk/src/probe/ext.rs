//! ext2, ext3, ext4 and their external journal (Linux, `fs/ext4/ext4.h`), told apart as blkid does.

use super::{Content, StateKind, Usage, Window, sum};

const HAS_JOURNAL: u32 = 0x4;
const INCOMPAT_RECOVER: u32 = 0x4;
const INCOMPAT_JOURNAL_DEV: u32 = 0x8;
const INCOMPAT_64BIT: u32 = 0x80;
/// What the ext2 driver understands: filetype, meta_bg; sparse_super, large_file, btree_dir.
const EXT2_INCOMPAT: u32 = 0x12;
const EXT3_INCOMPAT: u32 = EXT2_INCOMPAT | INCOMPAT_RECOVER;
const EXT3_RO_COMPAT: u32 = 0x7;
const METADATA_CSUM: u32 = 0x400;
/// In `s_flags`: made for a kernel where ext4 was new.
const TEST_FILESYS: u32 = 0x4;
const VALID_FS: u16 = 1;
const ERROR_FS: u16 = 2;

pub(super) fn probe(disk: &Window) -> Option<Content> {
    let sb = disk.get(1024, 1024)?;
    sb.magic(0x38, b"\x53\xEF")?;
    let s_blocks_count = sb.u32(0x4)?;
    let s_free_blocks_count = sb.u32(0xC)?;
    let s_log_block_size = sb.u32(0x18)?;
    let s_state = sb.u16(0x3A)?;
    let s_minor_rev_level = sb.u16(0x3E)?;
    let s_rev_level = sb.u32(0x4C)?;
    let s_feature_compat = sb.u32(0x5C)?;
    let s_feature_incompat = sb.u32(0x60)?;
    let s_feature_ro_compat = sb.u32(0x64)?;
    let s_blocks_count_hi = sb.u32(0x150)?;
    let s_free_blocks_hi = sb.u32(0x158)?;
    let s_flags = sb.u32(0x160)?;
    let good =
        s_feature_ro_compat & METADATA_CSUM == 0 || sum::crc32c(!0, sb.slice(0, 0x3FC)?) == sb.u32(0x3FC)?;
    let version = format!("{s_rev_level}.{s_minor_rev_level}");
    let named =
        |content: Content| Some(content.label(sb.slice(0x78, 16)?).uuid(sb.array(0x68)?).version(&version));
    let unit = 1024u64.checked_shl(s_log_block_size).unwrap_or(0);
    if s_feature_incompat & INCOMPAT_JOURNAL_DEV != 0 {
        let journal = Content::new("jbd", "external journal of ext3 or ext4", Usage::Other);
        return named(journal.space(unit, s_blocks_count.into(), None).checksum(good));
    }
    let journal = s_feature_compat & HAS_JOURNAL != 0;
    let newer = s_feature_ro_compat & !EXT3_RO_COMPAT != 0 || s_feature_incompat & !EXT3_INCOMPAT != 0;
    let name = match (newer, journal) {
        _ if s_flags & TEST_FILESYS != 0 => "ext4dev",
        (true, _) => "ext4",
        (false, true) => "ext3",
        (false, false) if s_feature_incompat & !EXT2_INCOMPAT == 0 => "ext2",
        (false, false) => return None,
    };
    let wide = |low: u32, high: u32| {
        let high = if s_feature_incompat & INCOMPAT_64BIT != 0 { high } else { 0 };
        u64::from(low) | (u64::from(high) << 32)
    };
    let free = wide(s_free_blocks_count, s_free_blocks_hi);
    let content =
        Content::filesystem(name, name).space(unit, wide(s_blocks_count, s_blocks_count_hi), Some(free));
    let content = if s_feature_incompat & INCOMPAT_RECOVER != 0 {
        content.attention(StateKind::JournalReplay, "journal needs recovery")
    } else {
        content.clean_if(s_state & VALID_FS != 0)
    };
    let content = content.checksum(good);
    let content = if s_state & ERROR_FS != 0 {
        content.attention(StateKind::Other, "errors were found in it")
    } else {
        content
    };
    named(content)
}
