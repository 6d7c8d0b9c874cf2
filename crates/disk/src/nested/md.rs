//! Members of Linux software RAID that hold all of their array: mirrors, and arrays of one disk.
//!
//! Kernel, `include/uapi/linux/raid/md_p.h`.

use super::{Inside, unsupported};
use block::{ByteRange, Error, ErrorKind, Result, Slice, Source, field};
use std::sync::Arc;

const MAGIC: u32 = 0xA92B_4EFC;
/// Bytes of a superblock that are looked at.
const SUPERBLOCK: usize = 4096;
/// Feature bits of version 1 that leave the data of an array in its place: bitmap, bad block log, cluster, journal, and
/// the policy and bitmap flags beside them.
const HARMLESS: u32 = 0x001 | 0x008 | 0x100 | 0x200 | 0x400 | 0x800;

/// What a superblock says, in either version.
struct Member {
    level: i32,
    raid_disks: u32,
    /// Its place in the array; none for spares and faulty ones.
    role: Option<u32>,
    data: ByteRange,
}

/// The array that this member is all of.
pub(super) fn look(source: &Source) -> Result<Inside> {
    let Some(member) = version_0(source)?.map_or_else(|| version_1(source), |member| Ok(Some(member)))?
    else {
        return Err(Error::new(ErrorKind::Corrupt, "the superblock of a RAID member"));
    };
    let Member { level, raid_disks, role, data } = member;
    if role.is_none_or(|role| role >= raid_disks) {
        return Err(unsupported("a spare or faulty member of a RAID: its data is old or none"));
    }
    match level {
        1 => {}
        -1 | 0 if raid_disks == 1 => {}
        _ => {
            let words =
                format!("a RAID of level {level} over {raid_disks} disks: all of them would be needed");
            return Err(unsupported(words));
        }
    }
    Ok(Inside::One(Arc::new(Slice::new(Source::clone(source), data)?)))
}

fn read(source: &Source, at: u64) -> Result<Option<Vec<u8>>> {
    let len = u64::try_from(SUPERBLOCK).unwrap_or(u64::MAX);
    if ByteRange::within(source.size(), at, len).is_err() {
        return Ok(None);
    }
    let mut bytes = vec![0; SUPERBLOCK];
    source.read_at(at, &mut bytes)?;
    Ok(Some(bytes))
}

/// Version 0.90, in the last whole 64 KiB but one; data from the first byte on.
fn version_0(source: &Source) -> Result<Option<Member>> {
    let Some(at) = (source.size() & !0xFFFF).checked_sub(64 << 10) else { return Ok(None) };
    let Some(sb) = read(source, at)? else { return Ok(None) };
    let word = |index: usize| field::u32_at(&sb, index.saturating_mul(4));
    if word(0) != Some(MAGIC) {
        return Ok(None);
    }
    let member = || {
        let level = i32::from_le_bytes(word(7)?.to_le_bytes());
        let blocks = u64::from(word(8)?);
        // The descriptor of this disk, at word 992: number, major, minor, raid_disk, state (bit 2: in sync).
        let in_sync = word(996)? & 4 != 0;
        let data = ByteRange::new(0, if blocks == 0 { at } else { blocks.checked_mul(1024)? })?;
        Some(Member { level, raid_disks: word(10)?, role: word(995).filter(|_| in_sync), data })
    };
    Ok(member())
}

/// Versions 1.0 at the end, 1.1 at the start, 1.2 behind 4 KiB.
fn version_1(source: &Source) -> Result<Option<Member>> {
    let at_end = (source.size() & !0xFFF).checked_sub(8 << 10);
    for at in at_end.into_iter().chain([0, 4096]) {
        let Some(sb) = read(source, at)? else { continue };
        let is_one = field::u32_at(&sb, 0) == Some(MAGIC) && field::u32_at(&sb, 4) == Some(1);
        if !is_one || field::u64_at(&sb, 144) != at.checked_div(512) {
            continue;
        }
        let features = field::u32_at(&sb, 8).unwrap_or(u32::MAX);
        if features & !HARMLESS != 0 {
            let words = format!("a RAID member that is being rebuilt or reshaped (features {features:#x})");
            return Err(unsupported(words));
        }
        let member = || {
            let number = usize::try_from(field::u32_at(&sb, 160)?).ok()?;
            let role = field::u16_at(&sb, number.checked_mul(2)?.checked_add(256)?);
            let sectors = |at: usize| field::u64_at(&sb, at)?.checked_mul(512);
            Some(Member {
                level: i32::from_le_bytes(field::bytes_at(&sb, 72)?),
                raid_disks: field::u32_at(&sb, 92)?,
                role: role.filter(|role| *role < 0xFFFE).map(u32::from),
                data: ByteRange::new(sectors(128)?, sectors(80)?.min(sectors(136)?))?,
            })
        };
        return Ok(member());
    }
    Ok(None)
}
