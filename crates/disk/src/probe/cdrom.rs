//! ISO 9660 (ECMA-119) and UDF (ECMA-167, OSTA UDF 2.60).

use super::{Content, Window, uuid, window::Bytes};

const DESCRIPTORS: u64 = 32 << 10;
const SECTOR: u64 = 2048;

pub(super) fn iso9660(disk: &Window) -> Option<Content> {
    let first = disk.get(DESCRIPTORS, 2048)?;
    if first.has(9, b"CDROM") {
        let content = Content::filesystem("iso9660", "High Sierra").version("High Sierra");
        return Some(content.label(first.slice(48, 32)?));
    }
    first.magic(1, b"CD001")?;
    let descriptors = || descriptors(disk);
    let pvd = descriptors().find(|vd| vd.u8(0) == Some(1))?;
    let joliet = descriptors().find(is_joliet).and_then(|vd| {
        let units = vd.slice(40, 32)?.as_chunks::<2>().0;
        Some(units.iter().map(|unit| u16::from_be_bytes(*unit)).collect::<Vec<u16>>())
    });
    let content = Content::filesystem("iso9660", "ISO 9660");
    let content = content.space(pvd.u16(128)?.into(), pvd.u32(80)?.into(), None);
    let date = |at| iso_date(pvd.slice(at, 17)?);
    let content = match date(830).or_else(|| date(813)) {
        Some(id) => content.id(id),
        None => content,
    };
    let name = pvd.slice(40, 32)?;
    match joliet {
        None => Some(content.label(name)),
        // A Joliet label holds 16 characters: where they only begin the other one, that is the better.
        Some(units) if units.iter().zip(name).all(|(unit, byte)| *unit == u16::from(*byte)) => {
            Some(content.label(name).version("Joliet Extension"))
        }
        Some(units) => Some(content.label_utf16(units).version("Joliet Extension")),
    }
}

/// `2026-11-24-00-45-12-00`; `None` if unset.
fn iso_date(field: &[u8]) -> Option<String> {
    let (digits, zone) = field.split_at_checked(16)?;
    if !digits.iter().all(u8::is_ascii_graphic) || (digits.iter().all(|d| *d == b'0') && zone == [0]) {
        return None;
    }
    let mut text = String::from_utf8_lossy(digits).into_owned();
    for at in [14, 12, 10, 8, 6, 4] {
        text.insert(at, '-');
    }
    Some(text)
}

/// The volume descriptors, up to the one that ends them.
fn descriptors<'a>(disk: &'a Window) -> impl Iterator<Item = Bytes> + 'a {
    let at = |index: u64| index.checked_mul(SECTOR)?.checked_add(DESCRIPTORS);
    (0..16).map_while(move |index| disk.get(at(index)?, 2048)).take_while(|vd| vd.u8(0) != Some(0xFF))
}

fn is_joliet(vd: &Bytes) -> bool {
    vd.u8(0) == Some(2) && [b"%/@", b"%/C", b"%/E"].iter().any(|escape| vd.has(88, *escape))
}

pub(super) fn udf(disk: &Window) -> Option<Content> {
    let sector = [512u64, 1024, 2048, 4096]
        .into_iter()
        .find(|sector| recognised(disk, (*sector).max(2048)) && anchor(disk, *sector).is_some())?;
    let (length, location) = anchor(disk, sector)?;
    let mut content = Content::filesystem("udf", "UDF");
    let mut revision = None;
    for index in 0..length.checked_div(sector).unwrap_or(0).min(64) {
        let number = location.checked_add(index)?;
        let vd = disk.get(number.checked_mul(sector)?, 512)?;
        match vd.u16(0)? {
            1 => {
                if let Some(id) = dstring(&vd, 72, 128).and_then(|text| volume_set_id(&text)) {
                    content = content.id(id);
                }
            }
            6 => {
                if let Some(text) = dstring(&vd, 84, 128) {
                    content = content.label(text.as_bytes());
                }
                let compliant = vd.has(217, b"*OSTA UDF Compliant");
                revision = lvid(disk, &vd, sector).or_else(|| vd.u16(240).filter(|_| compliant));
            }
            0 | 8 => break,
            _ => {}
        }
    }
    Some(match revision {
        Some(revision) => content.version(format!("{}.{:02}", revision >> 8, revision & 0xFF)),
        None => content,
    })
}

/// A volume recognition sequence with an NSR descriptor.
fn recognised(disk: &Window, step: u64) -> bool {
    let ids = (0..64u64)
        .map_while(|index| disk.get(index.checked_mul(step)?.checked_add(DESCRIPTORS)?, 8)?.array::<5>(1));
    let known =
        |id: &[u8; 5]| [b"BEA01", b"BOOT2", b"CD001", b"CDW02", b"TEA01", b"NSR02", b"NSR03"].contains(&id);
    ids.take_while(known).any(|id| id.starts_with(b"NSR0"))
}

/// Length and sector of the main sequence, out of the anchor in sector 256.
fn anchor(disk: &Window, sector: u64) -> Option<(u64, u64)> {
    let avdp = disk.get(sector.checked_mul(256)?, 512)?;
    let good = avdp.u16(0)? == 2 && avdp.u32(12)? == 256;
    good.then_some((avdp.u32(16)?.into(), avdp.u32(20)?.into()))
}

/// Minimum revision for reading, out of the first logical volume integrity descriptor.
fn lvid(disk: &Window, lvd: &Bytes, sector: u64) -> Option<u16> {
    let location = lvd.u32(436)?;
    let vd = disk.get(u64::from(location).checked_mul(sector)?, 512)?;
    let partitions = usize::try_from(vd.u32(72)?).ok()?;
    let at = partitions.checked_mul(8)?.checked_add(120)?;
    let good = vd.u16(0)? == 9 && vd.u32(12)? == location && location != 0;
    vd.u16(at).filter(|revision| good && *revision != 0)
}

/// OSTA compressed Unicode of fixed length, the last byte of which says how much is used.
fn dstring(vd: &Bytes, at: usize, field: usize) -> Option<String> {
    let field = vd.slice(at, field)?;
    let (used, text) = field.split_last()?;
    let (kind, text) = text.split_first()?;
    let text = text.get(..usize::from(used.checked_sub(1)?))?;
    match kind {
        8 => Some(text.iter().map(|byte| char::from(*byte)).collect()),
        16 => {
            let units = text.as_chunks::<2>().0.iter().map(|unit| u16::from_be_bytes(*unit));
            Some(char::decode_utf16(units).map(|c| c.unwrap_or('\u{FFFD}')).collect())
        }
        _ => None,
    }
}

/// 16 digits out of the volume set identifier; what is not hexadecimal is written as its bytes.
fn volume_set_id(text: &str) -> Option<String> {
    let bytes = text.as_bytes();
    let digits = bytes.iter().take(16).take_while(|byte| byte.is_ascii_hexdigit()).count();
    let lower = |text: &[u8]| String::from_utf8_lossy(text).to_ascii_lowercase();
    let mut padded = bytes.to_vec();
    padded.resize(16.max(bytes.len()), 0);
    match digits {
        _ if bytes.len() < 8 => None,
        0..8 => Some(uuid::hex(padded.get(..8)?)),
        8..16 => Some(lower(padded.get(..8)?) + &uuid::hex(padded.get(8..12)?)),
        _ => Some(lower(padded.get(..16)?)),
    }
}
