//! LVM2 physical volumes (lvm2, `lib/format_text/layout.h`).

use super::{Content, StateKind, Usage, Window, sum, window::Bytes};

const INITIAL_CRC: u32 = 0xF597_A6CF;
/// Bytes of a text area that are searched for the name of the group.
const TEXT: usize = 4096;

pub(super) fn probe(disk: &Window) -> Option<Content> {
    (0..4u64).find_map(|sector| {
        let label = disk.get(sector.checked_mul(512)?, 512)?;
        label.magic(0, b"LABELONE")?;
        label.magic(24, b"LVM2 001")?;
        let crc = sum::crc32(INITIAL_CRC, label.slice(20, 492)?);
        if label.u64(8)? != sector || label.u32(16)? != crc {
            return None;
        }
        let group = group(disk, &label);
        let title = match &group {
            Some(name) => format!("LVM2 physical volume of {name}"),
            None => "LVM2 physical volume".to_owned(),
        };
        let content = Content::new("LVM2_member", title, Usage::Volume).version("LVM2 001");
        let content = content.id(pv_uuid(label.slice(32, 32)?)).space(1, label.u64(64)?, None);
        Some(match group {
            Some(_) => content.normal(StateKind::Member, "in a volume group"),
            None => content.normal(StateKind::Other, "in no volume group"),
        })
    })
}

/// 32 letters in groups of 6-4-4-4-4-4-6.
fn pv_uuid(id: &[u8]) -> String {
    let mut text = String::new();
    for (index, letter) in id.iter().enumerate() {
        if matches!(index, 6 | 10 | 14 | 18 | 22 | 26) {
            text.push('-');
        }
        text.push(char::from(*letter));
    }
    text
}

/// The name of the group: the first word of the committed text of the first metadata area.
fn group(disk: &Window, label: &Bytes) -> Option<String> {
    let mut at = usize::try_from(label.u32(20)?).ok()?.checked_add(40)?;
    // Two lists of (offset, size), each ended by zeroes: data areas, then metadata areas.
    while label.u64(at)? != 0 {
        at = at.checked_add(16)?;
    }
    let area = label.u64(at.checked_add(16)?)?;
    let mda_header = disk.get(area, 512)?;
    mda_header.magic(4, b" LVM2 x[5A%r0N*>")?;
    let raw_locn_offset = mda_header.u64(40)?;
    if raw_locn_offset == 0 {
        return None;
    }
    let text = disk.get(area.checked_add(raw_locn_offset)?, TEXT)?;
    let name = text.0.split(|byte| byte.is_ascii_whitespace()).next()?;
    let word = |byte: &u8| byte.is_ascii_alphanumeric() || b"+_.-".contains(byte);
    (!name.is_empty() && name.len() < 128 && name.iter().all(word))
        .then(|| String::from_utf8_lossy(name).into_owned())
}
