//! BitLocker of Windows Vista, 7 and later, and To Go (libyal, "BitLocker Drive Encryption format").

use super::{Content, StateKind, Usage, Window};

pub(super) fn probe(disk: &Window) -> Option<Content> {
    let boot = disk.get(0, 512)?;
    let content =
        Content::new("BitLocker", "BitLocker", Usage::Crypto).attention(StateKind::Encrypted, "encrypted");
    if boot.has(0, b"\xEB\x52\x90-FVE-FS-") {
        return Some(content);
    }
    let seven = boot.has(0, b"\xEB\x58\x90-FVE-FS-");
    let metadata = if seven {
        boot.u64(176)?
    } else {
        boot.magic(0, b"\xEB\x58\x90MSWIN4.1")?;
        boot.u64(440)?
    };
    if metadata == 0 {
        return None;
    }
    let fve = disk.get(metadata, 12)?;
    fve.magic(0, b"-FVE-FS-")?;
    let content = content.version(fve.u16(10)?);
    Some(match boot.array(67).map(i32::from_le_bytes)? {
        serial if seven && serial != 0 => content.id(format!("{serial:016}")),
        _ => content,
    })
}
