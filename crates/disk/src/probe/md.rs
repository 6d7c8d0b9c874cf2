//! Linux software RAID 0.90, 1.0, 1.1 and 1.2 (kernel, `include/uapi/linux/raid/md_p.h`).

use super::{Content, StateKind, Usage, Window, window::Bytes};
use block::ByteRange;

const MAGIC: u32 = 0xA92B_4EFC;
const RESERVED: u64 = 64 << 10;
const SPARE: u16 = 0xFFFF;
const FAULTY: u16 = 0xFFFE;

pub(super) fn probe(disk: &Window) -> Option<Content> {
    let at_end = || {
        let aligned = disk.size() & !0xFFF;
        version_1(disk, aligned.checked_sub(8 << 10)?, "1.0")
    };
    version_0(disk)
        .or_else(at_end)
        .or_else(|| version_1(disk, 0, "1.1"))
        .or_else(|| version_1(disk, 4096, "1.2"))
}

fn version_0(disk: &Window) -> Option<Content> {
    let offset = (disk.size() & !0xFFFF).checked_sub(RESERVED)?;
    let sb = disk.get(offset, 4096)?;
    let big = sb.be32(0)? == MAGIC;
    let word = |index: usize| sb.n32(index.checked_mul(4)?, big);
    if word(0)? != MAGIC {
        return None;
    }
    let (major, minor, patch) = (word(1)?, word(2)?, word(3)?);
    let size = u64::from(word(8)?).checked_mul(1024)?;
    // The last partition may end where the disk does: then an array in it seems to be one of the disk.
    let data = ByteRange::span(offset.checked_sub(size)?, offset.checked_add(RESERVED)?);
    if disk.in_partition(data) {
        return None;
    }
    let rest = if minor >= 90 { [word(13)?, word(14)?, word(15)?] } else { [0; 3] };
    let mut set_uuid = [0; 16];
    let words = [word(5)?].into_iter().chain(rest).flat_map(u32::to_be_bytes);
    set_uuid.iter_mut().zip(words).for_each(|(to, from)| *to = from);
    // The descriptor of this disk is the last one, at word 992: number, major, minor, raid_disk.
    let level = i32::from_le_bytes(word(7)?.to_le_bytes());
    let state = member(level, word(995).and_then(|role| u16::try_from(role).ok()), word(10)?);
    let content = Content::new("linux_raid_member", title(level), Usage::Raid);
    Some(
        content
            .uuid(set_uuid)
            .version(format!("{major}.{minor}.{patch}"))
            .attention(StateKind::Member, state),
    )
}

fn version_1(disk: &Window, offset: u64, version: &str) -> Option<Content> {
    let sb = disk.get(offset, 4096)?;
    let max_dev = usize::try_from(sb.u32(220)?).ok()?;
    let super_offset = sb.u64(144)?;
    if sb.u32(0)? != MAGIC || sb.u32(4)? != 1 || super_offset != offset / 512 {
        return None;
    }
    let level = i32::from_le_bytes(sb.array(72)?);
    let dev_number = usize::try_from(sb.u32(160)?).ok()?;
    let role = (dev_number < max_dev).then(|| sb.u16(dev_number.checked_mul(2)?.checked_add(256)?)).flatten();
    let state = member(level, role, sb.u32(92)?);
    let content = Content::new("linux_raid_member", title(level), Usage::Raid).label(sb.slice(32, 32)?);
    let content = content.uuid(sb.array(16)?).version(version).attention(StateKind::Member, state);
    Some(content.checksum(sum_1(&sb, max_dev) == sb.u32(216)))
}

/// The words up to the end of the roles, without this sum itself, folded (kernel, `calc_sb_1_csum`).
fn sum_1(sb: &Bytes, max_dev: usize) -> Option<u32> {
    let mut summed = sb.slice(0, max_dev.checked_mul(2)?.checked_add(256)?)?.to_vec();
    summed.get_mut(216..220)?.fill(0);
    // An odd number of roles ends with half a word.
    summed.resize(summed.len().next_multiple_of(4), 0);
    let words = summed.as_chunks::<4>().0.iter().map(|word| u64::from(u32::from_le_bytes(*word)));
    let sum = words.sum::<u64>();
    u32::try_from(sum & 0xFFFF_FFFF).ok()?.wrapping_add(u32::try_from(sum >> 32).ok()?).into()
}

fn title(level: i32) -> String {
    match level {
        -1 => "Linux RAID linear".to_owned(),
        -4 => "Linux RAID multipath".to_owned(),
        level => format!("Linux RAID{level}"),
    }
}

fn member(level: i32, role: Option<u16>, raid_disks: u32) -> String {
    match role {
        Some(SPARE) => format!("spare of {}", title(level)),
        Some(FAULTY) => format!("faulty member of {}", title(level)),
        Some(role) if u32::from(role) < raid_disks => {
            format!("member {} of {raid_disks}", u32::from(role).saturating_add(1))
        }
        _ => format!("member of {raid_disks}"),
    }
}
