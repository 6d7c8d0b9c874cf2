//! What went to a target, remembered by digests: the read-back needs no second look at the source, which may
//! have changed since, or be dying.

use crate::sinks::ToTarget;
use block::{Buffer, Encode, Result, Sink, WriteAt};

/// The digest of each buffer that was written: 4 MiB of a disk in 16 bytes.
#[derive(Debug, Default)]
pub(crate) struct Passed {
    /// Offset in the plan's file and digest, ascending.
    buffers: Vec<(u64, u64)>,
}

impl Passed {
    /// Are the bytes of this buffer those that were written there? `false` too if it was cut otherwise.
    pub(crate) fn holds(&self, buffer: &Buffer) -> bool {
        let found = self.buffers.binary_search_by_key(&buffer.offset, |(offset, _)| *offset);
        found.is_ok_and(|at| self.buffers[at].1 == digest(buffer))
    }

    fn add(&mut self, offset: u64, digest: u64) {
        // What comes last in the plan lies at both ends.
        let at = self.buffers.partition_point(|(other, _)| *other < offset);
        self.buffers.insert(at, (offset, digest));
    }
}

/// 64 bits: what a target did with its own bytes is no forgery.
fn digest(buffer: &Buffer) -> u64 {
    let [a, b, c, d, e, f, g, h, ..] = *blake3::hash(&buffer.data).as_bytes();
    u64::from_le_bytes([a, b, c, d, e, f, g, h])
}

/// [`ToTarget`] that remembers what it wrote. For plans with one file.
pub(crate) struct Recorded<'a> {
    to: ToTarget<'a>,
    passed: &'a mut Passed,
}

impl<'a> Recorded<'a> {
    pub(crate) fn new(target: &'a dyn WriteAt, passed: &'a mut Passed) -> Self {
        Self { to: ToTarget(target), passed }
    }
}

/// The parallel half.
pub(crate) struct Digest;

impl Encode for Digest {
    /// `None` of a run, which has no bytes.
    type Out = Option<u64>;

    fn encode(&mut self, buffer: &Buffer) -> Result<Option<u64>> {
        Ok((!buffer.is_run()).then(|| digest(buffer)))
    }
}

impl Sink for Recorded<'_> {
    type Encoder = Digest;
    type Summary = ();

    fn encoder(&self) -> Digest {
        Digest
    }

    fn commit(&mut self, buffer: &Buffer, out: Option<u64>) -> Result<()> {
        self.to.commit(buffer, ())?;
        if let Some(digest) = out {
            self.passed.add(buffer.offset, digest);
        }
        Ok(())
    }

    fn finish(self) -> Result<()> {
        self.to.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Context, Plan, copy};
    use block::ByteRange;
    use testkit::{Memory, pattern};

    #[test]
    fn knows_what_was_written_and_nothing_else() {
        let disk = Memory::new(pattern(300_000));
        let target = Memory::new(vec![0; 300_000]);
        let mut ctx = Context::new(64 << 10, |_| {});
        ctx.buffer = 64 << 10;
        let (body, last) = Plan::whole(300_000)
            .unwrap()
            .split(&[ByteRange::span(0, 1024), ByteRange::span(299_000, 300_000)]);
        let mut passed = Passed::default();
        for part in [&body, &last] {
            copy(part, &disk, Recorded::new(&target, &mut passed), &ctx).unwrap();
        }
        assert_eq!(target.bytes(), pattern(300_000));
        assert!(passed.buffers.is_sorted() && passed.buffers.len() > 5);
        let at = |offset: u64, bytes: &[u8]| {
            let mut buffer =
                Buffer { offset, data: block::Buf::with_capacity(bytes.len()), ..Buffer::default() };
            buffer.data.grow(bytes.len()).unwrap().copy_from_slice(bytes);
            passed.holds(&buffer)
        };
        let bytes = pattern(300_000);
        assert!(at(0, &bytes[..1024]) && at(64 << 10, &bytes[64 << 10..128 << 10]));
        assert!(!at(0, &bytes[..1023]) && !at(64 << 10, &bytes[..64 << 10]) && !at(1, &bytes[1..1024]));
    }
}
