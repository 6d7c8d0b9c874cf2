//! Members of ZFS pools ("ZFS On-Disk Specification"): labels of 256 KiB, two at each end.

use super::{Content, StateKind, Usage, Window, window::Bytes};

const LABEL: u64 = 256 << 10;
const MAGIC: u64 = 0x00BA_B10C;
/// Uberblocks that make a match, as blkid wants.
const ENOUGH: usize = 4;

pub(super) fn probe(disk: &Window) -> Option<Content> {
    if disk.size() < 64 << 20 {
        return None;
    }
    let aligned = disk.size() & !(LABEL.checked_sub(1)?);
    let ends = [aligned.checked_sub(512 << 10)?, aligned.checked_sub(LABEL)?];
    let mut found = 0usize;
    for label in [0, LABEL].into_iter().chain(ends) {
        let ring = disk.get(label.checked_add(128 << 10)?, 128 << 10)?;
        let blocks = ring.0.as_chunks::<1024>().0.iter().filter_map(uberblock);
        let versions: Vec<u64> = blocks.collect();
        found = found.saturating_add(versions.len());
        if let (true, Some(version)) = (found >= ENOUGH, versions.last()) {
            let content = Content::new("zfs_member", "ZFS pool member", Usage::Raid).version(version);
            let pairs = disk.get(label.checked_add(16 << 10)?, 4096)?;
            return named(content, &pairs)
                .map(|content| content.attention(StateKind::Member, "member of a pool"));
        }
    }
    None
}

/// The version, if there is an uberblock in either byte order.
fn uberblock(block: &[u8; 1024]) -> Option<u64> {
    let block = Bytes(block.to_vec());
    if block.u64(0)? == MAGIC { block.u64(8) } else { (block.be64(0)? == MAGIC).then(|| block.be64(8))? }
}

/// Name and GUID of the pool out of the XDR pairs.
fn named(mut content: Content, pairs: &Bytes) -> Option<Content> {
    let mut at = 12usize;
    while let Some(size) =
        pairs.be32(at).and_then(|size| usize::try_from(size).ok()).filter(|size| *size > 12)
    {
        let length = usize::try_from(pairs.be32(at.checked_add(8)?)?).ok()?;
        let name = at.checked_add(12)?;
        let value = name.checked_add(length.checked_next_multiple_of(4)?)?;
        match pairs.slice(name, length) {
            Some(b"name") => {
                let length = usize::try_from(pairs.be32(value.checked_add(8)?)?).ok()?;
                content = content.label(pairs.slice(value.checked_add(12)?, length)?);
            }
            Some(b"pool_guid") => content = content.id(pairs.be64(value.checked_add(8)?)?.to_string()),
            _ => {}
        }
        at = at.checked_add(size)?;
    }
    Some(content)
}
