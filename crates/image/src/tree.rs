//! BLAKE3 values of frames, and how they merge into that of a file (FORMAT 4).

use blake3::hazmat::{ChainingValue, HasherExt, Mode, merge_subtrees_non_root, merge_subtrees_root};

/// The digest of plain bytes at `offset` in a file of `length` bytes: the chaining value of their
/// subtree, or the root hash if they are the whole file. `offset` must be a multiple of the bytes'
/// length rounded up to a power of two, which is at least 1024 unless they are the whole file.
pub fn value(bytes: &[u8], offset: u64, length: u64) -> [u8; 32] {
    value_of(&[bytes], offset, length)
}

/// The same of bytes that lie in pieces.
pub(crate) fn value_of(pieces: &[&[u8]], offset: u64, length: u64) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    hasher.set_input_offset(offset);
    let mut count = 0;
    for piece in pieces {
        hasher.update(piece);
        count += piece.len() as u64;
    }
    if count == length { *hasher.finalize().as_bytes() } else { hasher.finalize_non_root() }
}

/// A subtree: plain bytes from `offset` on, with their digest if it is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Node {
    pub(crate) offset: u64,
    pub(crate) len: u64,
    pub(crate) value: Option<[u8; 32]>,
}

impl Node {
    /// The parent of two neighbours, in a file of `length` bytes. Unknown if either is.
    pub(crate) fn parent(left: &Self, right: &Self, length: u64) -> Self {
        let len = left.len + right.len;
        let merge = |a: [u8; 32], b: [u8; 32]| match len == length {
            true => *merge_subtrees_root(&a, &b, Mode::Hash).as_bytes(),
            false => merge_subtrees_non_root(&a, &b, Mode::Hash),
        };
        let value = left.value.zip(right.value).map(|(a, b): (ChainingValue, _)| merge(a, b));
        Self { offset: left.offset, len, value }
    }

    /// Are they the two halves of one aligned subtree?
    pub(crate) fn is_left_of(&self, right: &Self) -> bool {
        self.len == right.len
            && self.len.is_power_of_two()
            && self.offset.is_multiple_of(2 * self.len)
            && right.offset == self.offset + self.len
    }
}

/// Merges the frames of a file, in order, into its BLAKE3.
#[derive(Debug)]
pub(crate) struct Tree {
    length: u64,
    /// Whole subtrees whose sibling has not come yet: their sizes fall.
    open: Vec<Node>,
}

impl Tree {
    /// For a file of `length` bytes.
    pub(crate) fn new(length: u64) -> Self {
        Self { length, open: vec![] }
    }

    pub(crate) fn push(&mut self, mut node: Node) {
        while let Some(left) = self.open.pop_if(|left| left.is_left_of(&node)) {
            node = Node::parent(&left, &node, self.length);
        }
        self.open.push(node);
    }

    /// The file's digest; `None` if one of a frame is unknown or frames are missing.
    pub(crate) fn finish(mut self) -> Option<[u8; 32]> {
        let mut right = self.open.pop()?;
        while let Some(left) = self.open.pop() {
            right = Node::parent(&left, &right, self.length);
        }
        (right.offset == 0 && right.len == self.length).then_some(right.value)?
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GRID: u64 = 1024;

    /// Cuts into cells, and now and then merges two equal neighbours before they are pushed, as zero
    /// frames are.
    fn digest(bytes: &[u8], merge: bool) -> Option<[u8; 32]> {
        let length = bytes.len() as u64;
        let mut nodes: Vec<Node> = vec![];
        for (i, cell) in (0..).zip(bytes.chunks(1024)) {
            let offset = i * GRID;
            let mut node = Node { offset, len: cell.len() as u64, value: Some(value(cell, offset, length)) };
            while let Some(left) = nodes.pop_if(|left| merge && left.is_left_of(&node)) {
                node = Node::parent(&left, &node, length);
            }
            nodes.push(node);
        }
        let mut tree = Tree::new(length);
        nodes.into_iter().for_each(|node| tree.push(node));
        tree.finish()
    }

    #[test]
    fn merged_values_are_the_hash_of_the_whole() {
        for len in (1..40).map(|n| n * 997).chain([1, 1023, 1024, 1025, 2048, 4096, 8192, 65536]) {
            let bytes = testkit::pattern(len);
            let want = Some(*blake3::hash(&bytes).as_bytes());
            assert_eq!((digest(&bytes, false), digest(&bytes, true)), (want, want), "{len} bytes");
        }
    }

    #[test]
    fn what_is_unknown_stays_unknown() {
        let mut tree = Tree::new(2048);
        tree.push(Node { offset: 0, len: 1024, value: Some([1; 32]) });
        tree.push(Node { offset: 1024, len: 1024, value: None });
        assert_eq!(tree.finish(), None);
        assert_eq!(Tree::new(5).finish(), None);
    }
}
