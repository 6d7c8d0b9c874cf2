//! btrfs (kernel, `include/uapi/linux/btrfs_tree.h`).

use super::{Content, StateKind, Window, sum};

pub(super) fn probe(disk: &Window) -> Option<Content> {
    let sb = disk.get(64 << 10, 4096)?;
    sb.magic(0x40, b"_BHRfS_M")?;
    let bytenr = sb.u64(0x30)?;
    let log_root = sb.u64(0x60)?;
    let total_bytes = sb.u64(0x70)?;
    let bytes_used = sb.u64(0x78)?;
    let num_devices = sb.u64(0x88)?;
    let csum_type = sb.u16(0xC4)?;
    let devid = sb.u64(0xC9)?;
    // The other kinds of checksum are not computed here.
    let crc32c = csum_type != 0 || !sum::crc32c(!0, sb.slice(32, 4064)?) == sb.u32(0)?;
    let content = Content::filesystem("btrfs", "btrfs").label(sb.slice(0x12B, 256)?).uuid(sb.array(0x20)?);
    let content = content.space(1, total_bytes, total_bytes.checked_sub(bytes_used));
    let content = if num_devices > 1 {
        content.attention(StateKind::Member, format!("device {devid} of {num_devices}"))
    } else {
        content
    };
    let content = content.checksum(crc32c && bytenr == 64 << 10);
    Some(if log_root == 0 {
        content
    } else {
        content.attention(StateKind::JournalReplay, "log tree needs replay")
    })
}
