//! Swap space and what hibernation leaves in it (kernel, `include/linux/swap.h`).

use super::{Content, StateKind, Usage, Window, window::Bytes};

/// Where the magic ends the first page, for each page size that exists.
const MAGIC: [u64; 5] = [0xFF6, 0x1FF6, 0x3FF6, 0x7FF6, 0xFFF6];
const TUXONICE: &[u8] = b"\xED\xC3\x02\xE9\x98\x56\xE5\x0C";
const LEAST: u64 = 10 * 4096;

fn magic_at(disk: &Window, magic: &[u8]) -> Option<u64> {
    MAGIC.iter().copied().find(|at| disk.get(*at, magic.len()).is_some_and(|found| found.has(0, magic)))
}

pub(super) fn probe(disk: &Window) -> Option<Content> {
    if disk.size() < LEAST || disk.get(0, 8)?.has(0, TUXONICE) {
        return None;
    }
    if magic_at(disk, b"SWAP-SPACE").is_some() {
        return Some(Content::new("swap", "swap (version 0)", Usage::Swap).version("0"));
    }
    let page = magic_at(disk, b"SWAPSPACE2")?.checked_add(10)?;
    let header = disk.get(1024, 512)?;
    let big = header.be32(0)? == 1;
    let last_page = header.n32(4, big)?;
    if header.n32(0, big)? != 1 || last_page == 0 {
        return None;
    }
    let pages = u64::from(last_page).checked_add(1)?;
    Some(named(Content::new("swap", "swap", Usage::Swap), &header)?.version("1").space(page, pages, None))
}

pub(super) fn suspended(disk: &Window) -> Option<Content> {
    if disk.size() < LEAST {
        return None;
    }
    let known: [(&[u8], &str); 4] = [
        (b"S1SUSPEND", "s1suspend"),
        (b"S2SUSPEND", "s2suspend"),
        (b"ULSUSPEND", "ulsuspend"),
        (b"LINHIB0001", "linhib0001"),
    ];
    let version = if disk.get(0, 8)?.has(0, TUXONICE) {
        "tuxonice"
    } else {
        known.iter().find(|(magic, _)| magic_at(disk, magic).is_some())?.1
    };
    let content = named(Content::new("swsuspend", "swap", Usage::Swap), &disk.get(1024, 512)?)?;
    Some(content.version(version).attention(StateKind::Hibernated, "holds a hibernation image"))
}

/// Label and UUID, unless what follows shows that they are something else.
fn named(content: Content, header: &Bytes) -> Option<Content> {
    if header.u64(172)? != 0 {
        return Some(content);
    }
    Some(content.label(header.slice(28, 16)?).uuid(header.array(12)?))
}
