//! Trees of btrfs: keys, nodes, and walking along the leaves.

use super::corrupt;
use super::volume::Volume;
use block::Result;
use block::field::{bytes_at, u32_at, u64_at};
use std::cmp::Ordering;

/// Bytes in front of the pointers or items of a node, of one pointer, and of one item without what it points to.
const HEAD: usize = 101;
const POINTER: usize = 33;
const ITEM: usize = 25;
/// Levels that a tree may have.
const MOST_LEVELS: u8 = 8;

/// What items are ordered by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Key {
    pub(super) object: u64,
    pub(super) kind: u8,
    pub(super) offset: u64,
}

impl Key {
    pub(super) fn parse(bytes: &[u8], at: usize) -> Option<Self> {
        let bytes: [u8; 17] = bytes_at(bytes, at)?;
        Some(Self { object: u64_at(&bytes, 0)?, kind: *bytes.get(8)?, offset: u64_at(&bytes, 9)? })
    }
}

/// Where a tree begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Root {
    /// Logical address of its topmost node.
    pub(super) at: u64,
    pub(super) level: u8,
    /// The commit that wrote it.
    pub(super) generation: u64,
}

/// A node whose checksum fits.
pub(super) struct Node {
    bytes: Vec<u8>,
    pub(super) level: u8,
    pub(super) generation: u64,
    count: usize,
}

impl Node {
    /// Of the node at `at`: every item is inside it. `None` if it is not that or does not hold together.
    pub(super) fn parse(bytes: Vec<u8>, at: u64) -> Option<Self> {
        let level = *bytes.get(100)?;
        let count = usize::try_from(u32_at(&bytes, 96)?).ok()?;
        let room = bytes.len().checked_sub(HEAD)?;
        let each = if level == 0 { ITEM } else { POINTER };
        if u64_at(&bytes, 48)? != at || level >= MOST_LEVELS || count.checked_mul(each)? > room {
            return None;
        }
        let generation = u64_at(&bytes, 80)?;
        let node = Self { bytes, level, generation, count };
        let whole = level != 0 || (0..count).all(|index| node.item(index).is_some());
        whole.then_some(node)
    }

    fn start(&self, index: usize) -> Option<usize> {
        let each = if self.level == 0 { ITEM } else { POINTER };
        index.checked_mul(each)?.checked_add(HEAD)
    }

    fn key(&self, index: usize) -> Option<Key> {
        Key::parse(&self.bytes, self.start(index)?).filter(|_| index < self.count)
    }

    /// Address and commit of a node below.
    fn child(&self, index: usize) -> Option<(u64, u64)> {
        let start = self.start(index)?;
        Some((u64_at(&self.bytes, start.checked_add(17)?)?, u64_at(&self.bytes, start.checked_add(25)?)?))
    }

    /// What an item of a leaf holds.
    fn item(&self, index: usize) -> Option<&[u8]> {
        let start = self.start(index)?;
        let offset = usize::try_from(u32_at(&self.bytes, start.checked_add(17)?)?).ok()?;
        let size = usize::try_from(u32_at(&self.bytes, start.checked_add(21)?)?).ok()?;
        self.bytes.get(HEAD..)?.get(offset..)?.get(..size)
    }

    /// The last one whose key is not greater, else the first.
    fn floor(&self, key: Key) -> usize {
        let (mut low, mut high) = (0, self.count);
        while low < high {
            let middle = usize::midpoint(low, high);
            match self.key(middle).map_or(Ordering::Greater, |other| other.cmp(&key)) {
                Ordering::Greater => high = middle,
                Ordering::Equal => return middle,
                Ordering::Less => low = middle.saturating_add(1),
            }
        }
        low.saturating_sub(1)
    }
}

/// What is called for each item; `false` ends it.
pub(super) type Each<'a> = &'a mut dyn FnMut(Key, &[u8]) -> Result<bool>;

/// Calls for every item from the last one that is not greater than `from` on. Ends for any bytes: levels fall
/// and keys ascend.
pub(super) fn walk_from_floor(volume: &Volume, root: Root, from: Key, each: Each<'_>) -> Result<()> {
    descend(volume, root, from, &mut None, each).map(drop)
}

/// The same from the first one that is not less than `from` on.
pub(super) fn walk(volume: &Volume, root: Root, from: Key, each: Each<'_>) -> Result<()> {
    walk_from_floor(volume, root, from, &mut |key, item| if key < from { Ok(true) } else { each(key, item) })
}

fn descend(volume: &Volume, root: Root, from: Key, last: &mut Option<Key>, each: Each<'_>) -> Result<bool> {
    let node = volume.node(root)?;
    if node.count == 0 {
        // Only a tree without anything has a leaf without anything.
        return if root.level == 0 && last.is_none() { Ok(true) } else { Err(corrupt("an empty node")) };
    }
    for index in node.floor(from)..node.count {
        if root.level == 0 {
            let Some((key, item)) = node.key(index).zip(node.item(index)) else {
                return Err(corrupt("a leaf"));
            };
            if last.is_some_and(|last| last >= key) {
                return Err(corrupt("the order of a tree"));
            }
            *last = Some(key);
            if !each(key, item)? {
                return Ok(false);
            }
        } else {
            let (at, generation) = node.child(index).ok_or_else(|| corrupt("a node"))?;
            let level = root.level.saturating_sub(1);
            if !descend(volume, Root { at, level, generation }, from, last, each)? {
                return Ok(false);
            }
        }
    }
    Ok(true)
}

/// Calls for every item of an object and of a kind.
pub(super) fn items(
    volume: &Volume,
    root: Root,
    (object, kind): (u64, u8),
    each: &mut dyn FnMut(u64, &[u8]) -> Result<bool>,
) -> Result<()> {
    walk(volume, root, Key { object, kind, offset: 0 }, &mut |key, item| {
        if (key.object, key.kind) == (object, kind) { each(key.offset, item) } else { Ok(false) }
    })
}

/// The item of a key.
pub(super) fn find(volume: &Volume, root: Root, key: Key) -> Result<Option<Vec<u8>>> {
    let mut found = None;
    walk(volume, root, key, &mut |other, item| {
        if other == key {
            found = Some(item.to_vec());
        }
        Ok(false)
    })?;
    Ok(found)
}

#[cfg(test)]
#[allow(clippy::indexing_slicing, clippy::arithmetic_side_effects)]
mod tests {
    use super::*;

    fn leaf(keys: &[u64]) -> Vec<u8> {
        let mut bytes = vec![0; 4096];
        bytes[48..56].copy_from_slice(&7u64.to_le_bytes());
        bytes[96..100].copy_from_slice(&u32::try_from(keys.len()).unwrap().to_le_bytes());
        for (index, key) in keys.iter().enumerate() {
            let at = HEAD + index * ITEM;
            bytes[at..at + 8].copy_from_slice(&key.to_le_bytes());
            bytes[at + 17..at + 21].copy_from_slice(&2000u32.to_le_bytes());
            bytes[at + 21..at + 25].copy_from_slice(&5u32.to_le_bytes());
        }
        bytes
    }

    #[test]
    fn floor_is_the_last_one_that_is_not_greater() {
        let node = Node::parse(leaf(&[10, 20, 30]), 7).unwrap();
        let floor = |object| node.floor(Key { object, kind: 0, offset: 0 });
        assert_eq!([5, 10, 15, 20, 29, 30, 99].map(floor), [0, 0, 0, 1, 1, 2, 2]);
    }

    #[test]
    fn nodes_that_do_not_hold_together_are_none() {
        assert!(Node::parse(leaf(&[1]), 8).is_none());
        let mut outside = leaf(&[1]);
        outside[HEAD + 17..HEAD + 21].copy_from_slice(&4000u32.to_le_bytes());
        assert!(Node::parse(outside, 7).is_none());
        let mut many = leaf(&[1]);
        many[96..100].copy_from_slice(&u32::MAX.to_le_bytes());
        assert!(Node::parse(many, 7).is_none());
        let mut high = leaf(&[1]);
        high[100] = MOST_LEVELS;
        assert!(Node::parse(high, 7).is_none());
        assert!(Node::parse(vec![0; 50], 0).is_none());
    }
}
