//! Inodes, names and attributes of btrfs.

use super::tree::Key;
use crate::fs::{FileKind, Metadata, Time};
use block::field::{u16_at, u32_at, u64_at};

/// Kinds of items.
pub(super) const INODE: u8 = 1;
pub(super) const INODE_REF: u8 = 12;
pub(super) const INODE_EXTREF: u8 = 13;
pub(super) const XATTR: u8 = 24;
pub(super) const DIR_ITEM: u8 = 84;
pub(super) const DIR_INDEX: u8 = 96;
pub(super) const EXTENT: u8 = 108;
pub(super) const ROOT: u8 = 132;
pub(super) const ROOT_REF: u8 = 156;

/// What an inode says.
pub(super) fn metadata(item: &[u8]) -> Option<Metadata> {
    let mode = u32_at(item, 52)?;
    let device = u64_at(item, 56)?;
    let kind = FileKind::of_mode(mode, || {
        // As the kernel has them inside: 20 bits of the minor number.
        let half = |number: u64| u32::try_from(number).unwrap_or(u32::MAX);
        (half(device >> 20), half(device & 0xF_FFFF))
    });
    let time = |at: usize| {
        let nanos = u32_at(item, at.checked_add(8)?)?;
        let seconds = u64_at(item, at)?.cast_signed();
        Some(Time { seconds, nanos: if nanos < 1_000_000_000 { nanos } else { 0 } })
    };
    let size = u64_at(item, 16).filter(|size| *size <= i64::MAX.unsigned_abs())?;
    Some(Metadata {
        allocated: u64_at(item, 24),
        links: u32_at(item, 40)?,
        mode: u16::try_from(mode & 0o7777).ok(),
        uid: u32_at(item, 44),
        gid: u32_at(item, 48),
        accessed: Some(time(112)?),
        changed: Some(time(124)?),
        modified: Some(time(136)?),
        created: Some(time(148)?),
        ..Metadata::new(kind, size)
    })
}

/// A name in a directory, or of an attribute with its value.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Entry<'a> {
    /// The inode, or the root of a subvolume.
    pub(super) location: Key,
    /// `FT_*`.
    pub(super) sort: u8,
    pub(super) name: &'a [u8],
    pub(super) value: &'a [u8],
}

/// Entries of an item: names of one hash lie in one. `None` if they do not fit.
pub(super) fn entries(item: &[u8]) -> Option<Vec<Entry<'_>>> {
    let (mut rest, mut found) = (item, vec![]);
    while !rest.is_empty() {
        let (value_len, name_len) = (usize::from(u16_at(rest, 25)?), usize::from(u16_at(rest, 27)?));
        let (location, sort) = (Key::parse(rest, 0)?, *rest.get(29)?);
        let (name, behind) = rest.get(30..)?.split_at_checked(name_len)?;
        let (value, behind) = behind.split_at_checked(value_len)?;
        found.push(Entry { location, sort, name, value });
        rest = behind;
    }
    Some(found)
}

/// Devices do not say here which.
pub(super) fn kind_of(sort: u8) -> Option<FileKind> {
    match sort {
        1 => Some(FileKind::File),
        2 => Some(FileKind::Directory),
        5 => Some(FileKind::Fifo),
        6 => Some(FileKind::Socket),
        7 => Some(FileKind::Symlink),
        _ => None,
    }
}

/// The names of a file in an item that says where it is: parent and name.
pub(super) fn references(key: Key, item: &[u8]) -> Option<Vec<(u64, &[u8])>> {
    let (mut rest, mut found) = (item, vec![]);
    while !rest.is_empty() {
        // The place in the directory, the length; with the parent in front where the key has a hash.
        let (parent, head): (u64, usize) = match key.kind {
            INODE_REF => (key.offset, 10),
            _ => (u64_at(rest, 0)?, 18),
        };
        let len = usize::from(u16_at(rest, head.checked_sub(2)?)?);
        let (name, behind) = rest.get(head..)?.split_at_checked(len)?;
        found.push((parent, name));
        rest = behind;
    }
    Some(found)
}

#[cfg(test)]
#[allow(clippy::indexing_slicing, clippy::arithmetic_side_effects)]
mod tests {
    use super::*;

    #[test]
    fn several_names_of_one_hash() {
        let mut item = vec![];
        for (inode, name, value) in [(257u64, &b"one"[..], &b"v"[..]), (300, b"other", b"")] {
            item.extend_from_slice(&inode.to_le_bytes());
            item.extend_from_slice(&[0; 17]);
            item.extend_from_slice(&u16::try_from(value.len()).unwrap().to_le_bytes());
            item.extend_from_slice(&u16::try_from(name.len()).unwrap().to_le_bytes());
            item.push(1);
            item.extend_from_slice(name);
            item.extend_from_slice(value);
        }
        let found = entries(&item).unwrap();
        let found: Vec<_> = found.iter().map(|e| (e.location.object, e.name, e.value)).collect();
        assert_eq!(found, [(257, &b"one"[..], &b"v"[..]), (300, b"other", b"")]);
        assert_eq!(entries(item.get(1..).unwrap()), None);
    }

    #[test]
    fn references_of_both_kinds() {
        let plain =
            [&[1, 0, 0, 0, 0, 0, 0, 0, 2, 0][..], b"ab", &[2, 0, 0, 0, 0, 0, 0, 0, 1, 0], b"c"].concat();
        let key = Key { object: 300, kind: INODE_REF, offset: 256 };
        assert_eq!(references(key, &plain).unwrap(), [(256, &b"ab"[..]), (256, b"c")]);
        let far = [&9u64.to_le_bytes()[..], &[1, 0, 0, 0, 0, 0, 0, 0, 2, 0], b"xy"].concat();
        assert_eq!(references(Key { kind: INODE_EXTREF, ..key }, &far).unwrap(), [(9, &b"xy"[..])]);
        assert_eq!(references(key, &plain[..5]), None);
    }
}
