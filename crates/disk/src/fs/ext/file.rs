//! The content of a file as a source.

use super::blocks::Blocks;
use super::map::{self, MOST_BLOCKS, Node};
use block::{ByteRange, Error, ErrorKind, Extent, ExtentKind, ReadAt, Result};
use std::sync::Arc;

/// A file whose bytes are in blocks.
pub(super) struct File {
    blocks: Arc<Blocks>,
    node: Node,
    concurrency: usize,
}

impl File {
    /// Fails for a size that no file of this filesystem can have.
    pub(super) fn new(blocks: &Arc<Blocks>, node: Node, concurrency: usize) -> Result<Self> {
        let size = node.inode.size;
        if size > MOST_BLOCKS.saturating_mul(blocks.size.get()) {
            return Err(Error::new(ErrorKind::Corrupt, format!("its size of {size} makes no sense")));
        }
        Ok(Self { blocks: Arc::clone(blocks), node, concurrency })
    }

    /// From `offset` on: the block of the disk and the byte in it, or none, and how many bytes, not 0.
    fn run(&self, offset: u64) -> Result<(Option<(u64, u64)>, u64)> {
        let (at, within) = (offset / self.blocks.size, offset % self.blocks.size);
        let run = map::find(&self.blocks, &self.node, at)?;
        let bytes = run.count.saturating_mul(self.blocks.size.get()).saturating_sub(within);
        let left = self.node.inode.size.saturating_sub(offset);
        Ok((run.start.map(|start| (start, within)), bytes.min(left)))
    }
}

impl ReadAt for File {
    fn size(&self) -> u64 {
        self.node.inode.size
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<()> {
        let len = u64::try_from(buf.len()).unwrap_or(u64::MAX);
        let mut at = ByteRange::within(self.size(), offset, len)?.start();
        let mut rest = buf;
        while !rest.is_empty() {
            let (place, bytes) = self.run(at)?;
            let taken = rest.len().min(usize::try_from(bytes).unwrap_or(usize::MAX));
            let (now, later) = rest.split_at_mut(taken);
            match place {
                None => now.fill(0),
                Some((block, within)) => self.blocks.read(block, within, now)?,
            }
            (at, rest) = (at.saturating_add(u64::try_from(taken).unwrap_or(u64::MAX)), later);
        }
        Ok(())
    }

    fn extent_at(&self, offset: u64) -> Result<Extent> {
        ByteRange::within(self.size(), offset, 1)?;
        let (place, len) = self.run(offset)?;
        let (len, kind) = match place {
            None => (len, ExtentKind::Zero),
            Some((block, within)) => self.blocks.known(block, within, len)?,
        };
        Ok(Extent { range: ByteRange::within(self.size(), offset, len)?, kind })
    }

    fn concurrency(&self) -> usize {
        self.concurrency
    }
}

/// A file whose bytes are in its inode.
pub(super) struct Inline(pub(super) Vec<u8>);

impl ReadAt for Inline {
    fn size(&self) -> u64 {
        u64::try_from(self.0.len()).unwrap_or(0)
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<()> {
        let len = u64::try_from(buf.len()).unwrap_or(u64::MAX);
        let range = ByteRange::within(self.size(), offset, len)?;
        let bytes = self.0.get(range.index(0)).ok_or_else(|| Error::at(ErrorKind::OutOfRange, range))?;
        buf.copy_from_slice(bytes);
        Ok(())
    }
}
