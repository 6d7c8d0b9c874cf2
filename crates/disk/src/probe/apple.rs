//! HFS, HFS+, APFS (Apple TN1150, "Apple File System Reference") and CoreStorage with FileVault 2 (libfvde).

use super::{Content, StateKind, Usage, Window, sum, window::Bytes};
use md5::{Digest, Md5};

const UNMOUNTED: u32 = 1 << 8;
const JOURNALED: u32 = 1 << 13;
/// The namespace that Apple hashes together with the eight bytes of a volume.
const NAMESPACE: [u8; 16] =
    [0xB3, 0xE2, 0x0F, 0x39, 0xF2, 0x92, 0x11, 0xD6, 0x97, 0xA4, 0x00, 0x30, 0x65, 0x43, 0xEC, 0xAC];

/// A UUID of version 3 from the identifier of the Finder.
fn with_uuid(content: Content, id: &[u8]) -> Option<Content> {
    if id.iter().all(|byte| *byte == 0) {
        return Some(content);
    }
    let digest = Md5::new().chain_update(NAMESPACE).chain_update(id).finalize();
    let mut uuid: [u8; 16] = digest.into();
    let [.., version, _, variant, _, _, _, _, _, _, _] = &mut uuid;
    *version = (*version & 0x0F) | 0x30;
    *variant = (*variant & 0x3F) | 0x80;
    Some(content.uuid(uuid))
}

fn is_plus(sb: &Bytes, at: usize) -> bool {
    sb.has(at, b"H+") || sb.has(at, b"HX")
}

pub(super) fn hfs(disk: &Window) -> Option<Content> {
    let mdb = disk.get(1024, 512)?;
    mdb.magic(0, b"BD")?;
    let attributes = mdb.be16(10)?;
    let blocks = mdb.be16(18)?;
    let block_size = mdb.be32(20)?;
    let free = mdb.be16(34)?;
    if is_plus(&mdb, 124) || block_size == 0 || block_size % 512 != 0 {
        return None;
    }
    let name = mdb.slice(37, usize::from(mdb.u8(36)?).min(27))?;
    let content = Content::filesystem("hfs", "HFS").label(name);
    let content = content.space(block_size.into(), blocks.into(), Some(free.into()));
    with_uuid(content.clean_if(attributes & 0x100 != 0), mdb.slice(116, 8)?)
}

pub(super) fn hfsplus(disk: &Window) -> Option<Content> {
    let mdb = disk.get(1024, 512)?;
    let (header, base) = if mdb.has(0, b"BD") && is_plus(&mdb, 124) {
        // Embedded in an HFS wrapper: first allocation block in sectors, then allocation blocks.
        let start = u64::from(mdb.be16(126)?).checked_mul(mdb.be32(20)?.into())?;
        let base = u64::from(mdb.be16(28)?).checked_mul(512)?.checked_add(start)?;
        (disk.get(base.checked_add(1024)?, 512)?, base)
    } else {
        (mdb, 0)
    };
    let attributes = header.be32(4)?;
    let block_size = u64::from(header.be32(40)?);
    let total_blocks = header.be32(44)?;
    let free_blocks = header.be32(48)?;
    if !is_plus(&header, 0) || block_size < 512 {
        return None;
    }
    let title = match (header.has(0, b"HX"), attributes & JOURNALED != 0) {
        (false, false) => "HFS+",
        (false, true) => "HFS+ (journaled)",
        (true, false) => "HFSX",
        (true, true) => "HFSX (journaled)",
    };
    let content = Content::filesystem("hfsplus", title);
    let content = content.space(block_size, total_blocks.into(), Some(free_blocks.into()));
    let content = content.clean_if(attributes & UNMOUNTED != 0);
    let content = content.label_utf16(volume_name(disk, &header, base, block_size).unwrap_or_default());
    with_uuid(content, header.slice(104, 8)?)
}

/// The name in the thread record of the root folder: the first key of the first leaf of the catalog.
fn volume_name(disk: &Window, header: &Bytes, base: u64, block_size: u64) -> Option<Vec<u16>> {
    let extent = |index: usize| {
        let at = index.checked_mul(8)?.checked_add(288)?;
        Some((u64::from(header.be32(at)?), u64::from(header.be32(at.checked_add(4)?)?)))
    };
    let at = |block: u64| block.checked_mul(block_size)?.checked_add(base);
    let tree = disk.get(at(extent(0)?.0)?, 512)?;
    let leaf_head = u64::from(tree.be32(24)?);
    let node_size = u64::from(tree.be16(32)?);
    let mut block = leaf_head.checked_mul(node_size)?.checked_div(block_size)?;
    for index in 0..8 {
        let (start, count) = extent(index)?;
        if block < count {
            let leaf = disk.get(at(start.checked_add(block)?)?, usize::try_from(node_size).ok()?)?;
            let length = usize::from(leaf.be16(20)?);
            if leaf.u8(8)? != 0xFF || leaf.be32(16)? != 1 || length > 255 {
                return None;
            }
            let units = leaf.slice(22, length.checked_mul(2)?)?.as_chunks::<2>().0;
            return Some(units.iter().map(|unit| u16::from_be_bytes(*unit)).collect());
        }
        block = block.checked_sub(count)?;
    }
    None
}

pub(super) fn apfs(disk: &Window) -> Option<Content> {
    let nx = disk.get(0, 4096)?;
    nx.magic(32, b"NXSB")?;
    let object_type = nx.u16(24)?;
    let block_size = nx.u32(36)?;
    let block_count = nx.u64(40)?;
    let (subtype, pad) = (nx.u16(28)?, nx.u16(30)?);
    if (object_type, subtype, pad, block_size) != (1, 0, 0, 4096) {
        return None;
    }
    let content = Content::filesystem("apfs", "APFS container").uuid(nx.array(72)?);
    let good = sum::fletcher64(nx.slice(8, 4088)?) == nx.u64(0)?;
    Some(content.space(4096, block_count, None).checksum(good))
}

/// A physical volume of CoreStorage that is encrypted with FileVault 2.
pub(super) fn filevault(disk: &Window) -> Option<Content> {
    let header = disk.get(0, 512)?;
    header.magic(88, b"CS")?;
    let seed = header.u32(4)?;
    let version = header.u16(8)?;
    let aes_xts = header.u16(10)? == 0x10 && header.u32(168)? == 16 && header.u32(172)? == 2;
    let good = sum::crc32c(seed, header.slice(8, 504)?) == header.u32(0)?;
    if version != 1 || header.u32(90)? != 1 || !aes_xts || !good {
        return None;
    }
    let content = Content::new("cs_fvault2", "FileVault 2", Usage::Crypto).version(version);
    let content = content.uuid(header.array(304)?).space(1, header.u64(64)?, None);
    Some(content.attention(StateKind::Encrypted, "encrypted"))
}
