//! Memory that devices can write into directly.

use std::ops::{Deref, DerefMut};

/// Alignment of large buffers: a huge page. A 4 MiB request into huge pages goes down to the device whole;
/// into small pages it is split at the queue's segment limit and costs seven times the CPU.
const HUGE: usize = 2 << 20;
/// Alignment of small ones: what O_DIRECT asks of any device.
const PAGE: usize = 4096;

/// Bytes at an aligned address with a length that may change up to a fixed capacity. The memory never
/// moves and is never zeroed again: what [`Buf::grow`] adds holds old bytes, which its caller overwrites.
#[derive(Default)]
pub struct Buf {
    memory: Vec<u8>,
    start: usize,
    len: usize,
    capacity: usize,
}

impl Buf {
    /// Empty, with room for `capacity` bytes. The address is a multiple of 2 MiB if it is that large,
    /// else of 4096.
    pub fn with_capacity(capacity: usize) -> Self {
        let align = if capacity >= HUGE { HUGE } else { PAGE };
        let memory = vec![0; capacity + align - 1];
        let start = memory.as_ptr().align_offset(align);
        Self { memory, start, len: 0, capacity }
    }

    /// The most it can hold, in bytes.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// Adds `len` bytes of unspecified content at the end and returns them; the caller fills them.
    /// `None` if they do not fit.
    pub fn grow(&mut self, len: usize) -> Option<&mut [u8]> {
        let end = self.len.checked_add(len).filter(|end| *end <= self.capacity)?;
        let added = self.len..end;
        self.len = end;
        Some(&mut self[added])
    }

    /// Keeps the first `len` bytes; all of them if there are not so many.
    pub fn truncate(&mut self, len: usize) {
        self.len = self.len.min(len);
    }

    /// Back to empty.
    pub fn clear(&mut self) {
        self.len = 0;
    }
}

impl Deref for Buf {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.memory[self.start..self.start + self.len]
    }
}

impl DerefMut for Buf {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.memory[self.start..self.start + self.len]
    }
}

impl std::fmt::Debug for Buf {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Buf({} of {} bytes)", self.len, self.capacity)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_aligned_and_bounded() {
        for (capacity, align) in [(512, PAGE), (HUGE - 1, PAGE), (2 * HUGE, HUGE)] {
            let mut buf = Buf::with_capacity(capacity);
            assert!(buf.grow(capacity + 1).is_none());
            buf.grow(capacity).unwrap().fill(1);
            assert_eq!(buf.as_ptr().align_offset(align), 0);
            assert!(buf.grow(1).is_none());
            buf.clear();
            assert!(buf.is_empty());
        }
        assert!(Buf::default().grow(1).is_none());
    }
}
