//! LUKS 1 and 2 (cryptsetup, "LUKS On-Disk Format Specification").

use super::{Content, StateKind, Usage, Window};

/// Where LUKS2 keeps its second header.
const SECONDARY: [u64; 9] =
    [0x4000, 0x8000, 0x1_0000, 0x2_0000, 0x4_0000, 0x8_0000, 0x10_0000, 0x20_0000, 0x40_0000];

pub(super) fn probe(disk: &Window) -> Option<Content> {
    let primary = header(disk, 0, b"LUKS\xBA\xBE");
    primary.or_else(|| {
        let damaged = SECONDARY.iter().find_map(|offset| header(disk, *offset, b"SKUL\xBA\xBE"))?;
        Some(damaged.attention(StateKind::Other, "primary header lost"))
    })
}

fn header(disk: &Window, offset: u64, magic: &[u8]) -> Option<Content> {
    let phdr = disk.get(offset, 512)?;
    phdr.magic(0, magic)?;
    let version = phdr.be16(6)?;
    let content = match version {
        1 => {
            let name =
                |at| Some(String::from_utf8_lossy(phdr.slice(at, 32)?).trim_end_matches('\0').to_owned());
            let title = format!("LUKS1 encrypted ({}-{})", name(8)?, name(40)?);
            Content::new("crypto_LUKS", title, Usage::Crypto)
        }
        2 => Content::new("crypto_LUKS", "LUKS2 encrypted", Usage::Crypto).label(phdr.slice(24, 48)?),
        _ => {
            return Some(
                Content::new("crypto_LUKS", "LUKS of an unknown version", Usage::Crypto).version(version),
            );
        }
    };
    let content = content.id_text(phdr.slice(168, 40)?).version(version);
    let misplaced = version == 2 && phdr.be64(256)? != offset;
    let content = if misplaced {
        content.attention(StateKind::Damaged, "its header belongs to another place")
    } else {
        content
    };
    Some(content.attention(StateKind::Encrypted, "encrypted"))
}
