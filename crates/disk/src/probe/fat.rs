//! FAT12, FAT16 and FAT32 (Microsoft, "FAT: General Overview of On-Disk Format" 1.03).

use super::{Content, StateKind, Window, bitlocker, uuid, window::Bytes};

const NO_NAME: &[u8] = b"NO NAME    ";
const FAT12_MAX: u64 = 0xFF4;
const FAT16_MAX: u64 = 0xFFF4;
const FAT32_MAX: u64 = 0x0FFF_FFF6;
/// Clusters of a FAT32 root directory that are searched for the label.
const ROOT_CLUSTERS: usize = 16;

/// The numbers of the BIOS parameter block that place everything else.
struct Bpb {
    sector: u64,
    cluster: u64,
    reserved: u64,
    fat_length: u64,
    root_entries: u64,
    data: u64,
    clusters: u64,
    sectors: u64,
    fat32: bool,
}

pub(super) fn probe(disk: &Window) -> Option<Content> {
    let boot = disk.get(0, 512)?;
    if bitlocker::probe(disk).is_some() {
        return None;
    }
    let bpb = bpb(&boot)?;
    let root = bpb.data.checked_sub(bpb.root_entries.checked_mul(32)?.div_ceil(bpb.sector))?;
    let (title, at_serial, at_label, at_state) = if bpb.fat32 {
        ("FAT32", 0x43, 0x47, 0x41)
    } else if bpb.clusters < FAT12_MAX {
        ("FAT12", 0x27, 0x2B, 0x25)
    } else {
        ("FAT16", 0x27, 0x2B, 0x25)
    };
    let label = if bpb.fat32 {
        label_fat32(disk, &bpb, boot.u32(0x2C)?)
    } else {
        let length = usize::try_from(bpb.root_entries).ok()?.checked_mul(32)?;
        disk.get(root.checked_mul(bpb.sector)?, length).and_then(|dir| label_in(&dir.0).ok().flatten())
    };
    let label =
        label.filter(|name| name != NO_NAME).or_else(|| boot.array(at_label)).filter(|name| name != NO_NAME);
    let free = if bpb.fat32 { fsinfo(disk, &bpb, boot.u16(0x30)?)? } else { None };
    let content = Content::filesystem("vfat", title).label(&label.unwrap_or_default());
    let content = content.id(uuid::serial(boot.u32(at_serial)?)).version(title);
    let content = Content { size: bpb.sectors.checked_mul(bpb.sector), ..content };
    let content = content.free(free.and_then(|n| n.checked_mul(bpb.cluster)?.checked_mul(bpb.sector)));
    let fat_clean = fat_says_clean(disk, &bpb, title).unwrap_or(true);
    let dirty = boot.u8(at_state)? & 1 != 0 || !fat_clean;
    Some(if dirty { content.attention(StateKind::Dirty, "not cleanly unmounted") } else { content })
}

fn bpb(boot: &Bytes) -> Option<Bpb> {
    let strong: [(usize, &[u8]); 6] = [
        (0x52, b"MSWIN"),
        (0x52, b"FAT32   "),
        (0x36, b"MSDOS"),
        (0x36, b"FAT16   "),
        (0x36, b"FAT12   "),
        (0x36, b"FAT     "),
    ];
    let strong = strong.iter().any(|(at, magic)| boot.has(*at, magic));
    let weak = boot.has(0x1FE, b"\x55\xAA") && !boot.has(0x36, b"JFS     ") && !boot.has(0x36, b"HPFS    ");
    if !strong && !weak {
        return None;
    }
    let sector = u64::from(boot.u16(0xB)?);
    let cluster = u64::from(boot.u8(0xD)?);
    let reserved = u64::from(boot.u16(0xE)?);
    let fats = u64::from(boot.u8(0x10)?);
    let root_entries = u64::from(boot.u16(0x11)?);
    let media = boot.u8(0x15)?;
    let sectors = match boot.u16(0x13)? {
        0 => u64::from(boot.u32(0x20)?),
        small => u64::from(small),
    };
    let (fat_length, fat32) = match boot.u16(0x16)? {
        0 => (u64::from(boot.u32(0x24)?), true),
        small => (u64::from(small), false),
    };
    let sane = sector.is_power_of_two() && (512..=4096).contains(&sector) && cluster.is_power_of_two();
    if !sane || reserved == 0 || fats == 0 || fat_length == 0 || !(media >= 0xF8 || media == 0xF0) {
        return None;
    }
    let root = root_entries.checked_mul(32)?.div_ceil(sector);
    let data = fat_length.checked_mul(fats)?.checked_add(reserved)?.checked_add(root)?;
    let clusters = sectors.checked_sub(data)?.checked_div(cluster)?;
    let most = if fat32 { FAT32_MAX } else { FAT16_MAX };
    (clusters <= most).then_some(Bpb {
        sector,
        cluster,
        reserved,
        fat_length,
        root_entries,
        data,
        clusters,
        sectors,
        fat32,
    })
}

/// The volume label among directory entries; `Err` if the directory ends here without one.
fn label_in(dir: &[u8]) -> Result<Option<[u8; 11]>, ()> {
    for entry in dir.as_chunks::<32>().0 {
        let [name @ .., attr] = *entry.first_chunk::<12>().ok_or(())?;
        let cluster = Bytes(entry.to_vec());
        match name.first() {
            Some(0) => return Err(()),
            Some(0xE5) => continue,
            _ => {}
        }
        let placed = cluster.u16(20) != Some(0) || cluster.u16(26) != Some(0);
        if !placed && attr & 0x3F != 0x0F && attr & 0x18 == 0x08 {
            return Ok(Some(name));
        }
    }
    Ok(None)
}

fn label_fat32(disk: &Window, bpb: &Bpb, first: u32) -> Option<[u8; 11]> {
    let bytes = usize::try_from(bpb.cluster.checked_mul(bpb.sector)?).ok()?;
    let fat = bpb.reserved.checked_mul(bpb.sector)?;
    let entries = bpb.fat_length.checked_mul(bpb.sector)? / 4;
    let mut next = u64::from(first);
    for _ in 0..ROOT_CLUSTERS {
        if next >= entries {
            return None;
        }
        let sector = next.checked_sub(2)?.checked_mul(bpb.cluster)?.checked_add(bpb.data)?;
        match label_in(&disk.get(sector.checked_mul(bpb.sector)?, bytes)?.0) {
            Ok(None) => {}
            Ok(found) => return found,
            Err(()) => return None,
        }
        let entry = disk.get(fat.checked_add(next.checked_mul(4)?)?, 4)?;
        next = u64::from(entry.u32(0)? & 0x0FFF_FFFF);
    }
    None
}

/// Free clusters by the FSInfo sector, which may be unset or stale; `None` if it is no FSInfo at all.
fn fsinfo(disk: &Window, bpb: &Bpb, sector: u16) -> Option<Option<u64>> {
    if sector == 0 {
        return Some(None);
    }
    let info = disk.get(bpb.sector.checked_mul(sector.into())?, 512)?;
    let lead = [b"RRaA", b"RRdA", b"\0\0\0\0"].iter().any(|magic| info.has(0, *magic));
    let body = [b"rrAa", b"\0\0\0\0"].iter().any(|magic| info.has(0x1E4, *magic));
    let free = u64::from(info.u32(0x1E8)?);
    let known = info.has(0x1E4, b"rrAa") && free <= bpb.clusters;
    (lead && body).then_some(known.then_some(free))
}

/// The ClnShutBit of the second entry of the table. FAT12 has none.
fn fat_says_clean(disk: &Window, bpb: &Bpb, title: &str) -> Option<bool> {
    let fat = disk.get(bpb.reserved.checked_mul(bpb.sector)?, 8)?;
    match title {
        "FAT32" => Some(fat.u32(4)? & 0x0800_0000 != 0),
        "FAT16" => Some(fat.u16(2)? & 0x8000 != 0),
        _ => None,
    }
}
