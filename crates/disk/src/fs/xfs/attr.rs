//! Extended attributes of XFS: in the inode, or as leaves whose large values lie apart.

use super::hash::Block;
use super::inode::{FORMAT_LOCAL, Fork, Inode};
use super::map::{Map, unwrapped};
use super::{Volume, corrupt};
use crate::fs::Xattr;
use block::Result;
use block::field::{be16_at, be32_at};
use std::sync::Arc;

/// Flags of an entry: its value is beside it; its namespace; a link to a parent, which is not shown; not
/// finished.
const LOCAL: u8 = 0x01;
const ROOT: u8 = 0x02;
const SECURE: u8 = 0x04;
const PARENT: u8 = 0x08;
const INCOMPLETE: u8 = 0x80;
/// Bytes of a value.
const MOST_VALUE: u32 = 64 << 10;
/// Bytes of all values of a file together.
const MOST_VALUES: usize = 64 << 20;
/// Leaves that are followed, far more than Linux lets a file have.
const MOST_LEAVES: usize = 4096;

/// Every attribute of a file.
pub(super) fn all(volume: &Arc<Volume>, inode: &Inode) -> Result<Vec<Xattr>> {
    let mut found = vec![];
    let Some(fork) = &inode.attributes else { return Ok(found) };
    if fork.format == FORMAT_LOCAL {
        short(&fork.bytes, &mut found).ok_or_else(|| inode.corrupt("attributes"))?;
        return Ok(found);
    }
    if fork.extents == 0 {
        return Ok(found);
    }
    leaves(volume, fork, &mut found)?;
    Ok(found)
}

/// Total size, count, then each: lengths, flags, name, value.
fn short(bytes: &[u8], found: &mut Vec<Xattr>) -> Option<()> {
    let count = *bytes.get(2)?;
    let mut at = 4usize;
    for _ in 0..count {
        let (name_len, value_len) = (*bytes.get(at)?, *bytes.get(at.checked_add(1)?)?);
        let flags = *bytes.get(at.checked_add(2)?)?;
        let start = at.checked_add(3)?;
        let middle = start.checked_add(name_len.into())?;
        let end = middle.checked_add(value_len.into())?;
        push(found, flags, bytes.get(start..middle)?, bytes.get(middle..end)?);
        at = end;
    }
    Some(())
}

/// With the name that Linux gives it.
fn push(found: &mut Vec<Xattr>, flags: u8, name: &[u8], value: &[u8]) {
    if flags & (PARENT | INCOMPLETE) != 0 {
        return;
    }
    let acl = match name {
        b"SGI_ACL_FILE" => Some(&b"system.posix_acl_access"[..]),
        b"SGI_ACL_DEFAULT" => Some(&b"system.posix_acl_default"[..]),
        _ => None,
    };
    if let Some(name) = acl.filter(|_| flags & ROOT != 0)
        && let Some(value) = posix_acl(value)
    {
        found.push(Xattr { name: name.to_vec(), value });
        return;
    }
    let prefix: &[u8] = match flags {
        _ if flags & ROOT != 0 => b"trusted.",
        _ if flags & SECURE != 0 => b"security.",
        _ => b"user.",
    };
    found.push(Xattr { name: [prefix, name].concat(), value: value.to_vec() });
}

/// An access list as the system calls of Linux have it: version 2, then tag, permissions, whom; little-endian.
/// On the disk: count, then tag, whom, permissions; big-endian.
fn posix_acl(value: &[u8]) -> Option<Vec<u8>> {
    /// Tags of a user and of a group; the others concern nobody by number.
    const NAMED: [u32; 2] = [0x02, 0x08];
    let count = usize::try_from(be32_at(value, 0)?).ok()?;
    let entries = value.get(4..)?.get(..count.checked_mul(12)?)?;
    let mut list = 2u32.to_le_bytes().to_vec();
    for entry in entries.as_chunks::<12>().0 {
        let (tag, permissions) = (be32_at(entry, 0)?, be16_at(entry, 8)?);
        let whom = if NAMED.contains(&tag) { be32_at(entry, 4)? } else { u32::MAX };
        list.extend_from_slice(&u16::try_from(tag).ok()?.to_le_bytes());
        list.extend_from_slice(&permissions.to_le_bytes());
        list.extend_from_slice(&whom.to_le_bytes());
    }
    Some(list)
}

/// From the leftmost leaf on to the right.
fn leaves(volume: &Arc<Volume>, fork: &Fork, found: &mut Vec<Xattr>) -> Result<()> {
    let map = Map::new(volume, fork, u64::MAX)?;
    let size = volume.geometry.block;
    let mut block = Block::read(volume, &map, 0, size)?;
    for _ in 0..MOST_LEAVES {
        if block.is_node() {
            let first = block.pairs(block.skip())?.first().map(|(_, below)| *below);
            block = Block::read(volume, &map, first.ok_or_else(|| corrupt("attributes"))?, size)?;
            continue;
        }
        if !matches!(block.magic, 0xFBEE | 0x3BEE) {
            return Err(corrupt("leaf of attributes"));
        }
        leaf(volume, &map, &block, found)?;
        if block.right == 0 {
            return Ok(());
        }
        block = Block::read(volume, &map, block.right, size)?;
    }
    Err(corrupt("chain of attributes"))
}

fn leaf(volume: &Volume, map: &Map, block: &Block, found: &mut Vec<Xattr>) -> Result<()> {
    let bytes = block.bytes();
    let wrong = || corrupt("an attribute");
    // Behind count, bytes in use, first of them, holes and a map of free places.
    for (_, place) in block.pairs(if block.head == 56 { 24 } else { 20 })? {
        let [high, low, flags, _] = place.to_be_bytes();
        let at = usize::from(u16::from_be_bytes([high, low]));
        if flags & (PARENT | INCOMPLETE) != 0 {
            continue;
        }
        let byte = |by: usize| bytes.get(at.saturating_add(by)).copied().map(usize::from).ok_or_else(wrong);
        let piece = |from: usize, len: usize| {
            bytes.get(at.saturating_add(from)..).and_then(|rest| rest.get(..len)).ok_or_else(wrong)
        };
        if flags & LOCAL != 0 {
            let (len, name_len) = (be16_at(bytes, at).ok_or_else(wrong)?, byte(2)?);
            let value = piece(name_len.saturating_add(3), len.into())?;
            push(found, flags, piece(3, name_len)?, value);
        } else {
            let first = be32_at(bytes, at).ok_or_else(wrong)?;
            let len = be32_at(bytes, at.saturating_add(4)).ok_or_else(wrong)?;
            let value = remote(volume, map, first, len)?;
            let all: usize = found.iter().map(|xattr| xattr.value.len()).sum();
            if all.saturating_add(value.len()) > MOST_VALUES {
                return Err(corrupt("number of large attributes"));
            }
            push(found, flags, piece(9, byte(8)?)?, &value);
        }
    }
    Ok(())
}

/// A value in blocks of its own, each with a header in version 5.
fn remote(volume: &Volume, map: &Map, first: u32, len: u32) -> Result<Vec<u8>> {
    let size = volume.geometry.block;
    let len = usize::try_from(len.min(MOST_VALUE)).unwrap_or(0);
    let mut value = vec![];
    let mut at = u64::from(first).saturating_mul(size);
    while value.len() < len {
        let block = map.bytes(at, size)?;
        value.extend_from_slice(unwrapped(volume, &block, b"XARM")?);
        at = at.saturating_add(size);
    }
    value.truncate(len);
    Ok(value)
}

#[cfg(test)]
#[allow(clippy::indexing_slicing, clippy::arithmetic_side_effects)]
mod tests {
    use super::*;

    #[test]
    fn names_by_their_namespace() {
        let bytes =
            [&[0, 0, 3, 0][..], &[1, 2, 0], b"avv", &[1, 0, ROOT], b"b", &[1, 1, SECURE], b"cw"].concat();
        let mut found = vec![];
        short(&bytes, &mut found).unwrap();
        let names: Vec<_> = found.iter().map(|xattr| (&xattr.name[..], &xattr.value[..])).collect();
        assert_eq!(names, [(&b"user.a"[..], &b"vv"[..]), (b"trusted.b", b""), (b"security.c", b"w")]);
        assert!(short(&bytes[..bytes.len() - 1], &mut found).is_none());
    }

    #[test]
    fn an_access_list_that_is_none_stays_as_it_is() {
        let mut found = vec![];
        push(&mut found, ROOT, b"SGI_ACL_FILE", &[0, 0, 0, 9]);
        push(
            &mut found,
            ROOT,
            b"SGI_ACL_FILE",
            &[&[0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 3, 232, 0, 6, 0, 0][..]].concat(),
        );
        assert_eq!(found[0].name, b"trusted.SGI_ACL_FILE");
        assert_eq!(found[1].name, b"system.posix_acl_access");
        assert_eq!(found[1].value, [2, 0, 0, 0, 2, 0, 6, 0, 232, 3, 0, 0]);
    }
}
