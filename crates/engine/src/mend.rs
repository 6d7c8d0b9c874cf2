//! Makes a target equal to a source by writing only what differs.

use crate::context::{Context, Side, UNIT};
use crate::copy::copy;
use crate::plan::Plan;
use crate::sinks::{Check, ToTarget};
use crate::write_disk::Work;
use block::{Buf, Buffer, ByteRange, Encode, Error, ErrorKind, Extent, ExtentKind, Result, Sink, WriteAt};

/// What is compared and written as one: small enough that one changed sector does not cost a buffer.
const FRAME: u64 = 64 << 10;

/// What a mend changed.
#[derive(Debug, Default)]
pub(crate) struct Mended {
    /// Where, in whole buffers, ascending: what is to be read back.
    pub(crate) touched: Vec<ByteRange>,
    /// Bytes that were written.
    pub(crate) bytes: u64,
}

/// Compares all that `body` and `last` visit, and writes the frames that differ. Before the first one is
/// written what makes the target a disk is zeroed, and it is written when all else is: as if everything was
/// written. If nothing differs, nothing is written.
pub(crate) fn mend(
    work: &Work,
    [body, last]: [&Plan; 2],
    target: &dyn WriteAt,
    ctx: &Context,
) -> Result<Mended> {
    let source = &*work.source;
    ctx.phase("comparing and writing what differs", Side::Source, body.bytes() + last.bytes(), UNIT);
    let sink = Mend { target, work, room: ctx.buffer, mended: Mended::default() };
    let mut mended = copy(body, source, sink, ctx)?.summary;
    if mended.bytes == 0 {
        if ends_are_same(work, last, target, ctx)? {
            return Ok(mended);
        }
        work.zero_ends(target)?;
    }
    copy(last, source, ToTarget(target), ctx)?;
    mended.bytes += last.bytes();
    Ok(mended)
}

/// Does the target have the sectors that make it what it will be, and zeroes behind the disk?
fn ends_are_same(work: &Work, last: &Plan, target: &dyn WriteAt, ctx: &Context) -> Result<bool> {
    let check = Check::against(&*work.source, work.sector);
    // What cannot be read is not the same: writing it may heal it.
    let lost = |error: Error| if error.kind() == ErrorKind::Media { Ok(false) } else { Err(error) };
    match copy(last, target, check, ctx) {
        Ok(report) if !report.summary.is_empty() => return Ok(false),
        Ok(_) => {}
        Err(error) => return lost(error),
    }
    let end = work.source.size();
    for range in &work.last {
        let behind = ByteRange::span(range.start().max(end), range.end());
        let mut bytes = vec![0; behind.index(behind.start()).end];
        match target.read_at(behind.start(), &mut bytes) {
            Ok(()) if image::is_zero(&bytes) => {}
            Ok(()) => return Ok(false),
            Err(error) => return lost(error),
        }
    }
    Ok(true)
}

/// Writes the frames that differ.
struct Mend<'a> {
    target: &'a dyn WriteAt,
    work: &'a Work,
    /// Bytes that are read of the target at a time.
    room: usize,
    mended: Mended,
}

/// The parallel half: reads the target where the buffer goes.
struct Differ<'a> {
    target: &'a dyn WriteAt,
    memory: Buf,
    room: u64,
}

impl Differ<'_> {
    /// The frames of `here` in which the target has other bytes than these (none: zeroes). At most
    /// `room` bytes.
    fn differ(&mut self, here: ByteRange, bytes: &[u8], differ: &mut Vec<ByteRange>) -> Result<()> {
        self.memory.clear();
        let Some(there) = self.memory.grow(here.index(here.start()).end) else {
            return Err(Error::new(ErrorKind::Bug, "more to compare than there is room").with_range(here));
        };
        match self.target.read_at(here.start(), there) {
            Ok(()) => {}
            // What cannot be read is written: that may heal it.
            Err(error) if error.kind() == ErrorKind::Media => {
                append(differ, here);
                return Ok(());
            }
            Err(error) => return Err(error),
        }
        let mut left = here;
        while !left.is_empty() {
            let frame = ByteRange::span(left.start(), (left.start() / FRAME + 1) * FRAME).intersect(here);
            let place = frame.index(here.start());
            let same = match bytes.get(place.clone()) {
                Some(bytes) => bytes == &there[place],
                None => image::is_zero(&there[place]),
            };
            if !same {
                append(differ, frame);
            }
            left = ByteRange::span(frame.end(), here.end());
        }
        Ok(())
    }
}

/// Adds to a list in which neighbours are one range.
fn append(list: &mut Vec<ByteRange>, range: ByteRange) {
    match list.last_mut() {
        Some(last) if last.end() == range.start() => *last = ByteRange::span(last.start(), range.end()),
        _ => list.push(range),
    }
}

impl Encode for Differ<'_> {
    type Out = Vec<ByteRange>;

    fn encode(&mut self, buffer: &Buffer) -> Result<Vec<ByteRange>> {
        let mut differ = vec![];
        for (_, Extent { range, kind }, bytes) in buffer.pieces() {
            if kind == ExtentKind::Absent {
                continue;
            }
            for here in range.pieces(self.room) {
                // A run, and what is bad, has no bytes: zeroes.
                let bytes = bytes.get(here.index(range.start())).unwrap_or(&[]);
                self.differ(here, bytes, &mut differ)?;
            }
        }
        Ok(differ)
    }
}

impl<'a> Sink for Mend<'a> {
    type Encoder = Differ<'a>;
    type Summary = Mended;

    fn encoder(&self) -> Differ<'a> {
        Differ { target: self.target, memory: Buf::with_capacity(self.room), room: self.room as u64 }
    }

    fn commit(&mut self, buffer: &Buffer, differ: Vec<ByteRange>) -> Result<()> {
        if differ.is_empty() {
            return Ok(());
        }
        if self.mended.bytes == 0 {
            self.work.zero_ends(self.target)?;
        }
        for (_, extent, bytes) in buffer.pieces() {
            for range in differ.iter().map(|range| range.intersect(extent.range)) {
                match bytes.get(range.index(extent.range.start())) {
                    _ if range.is_empty() => {}
                    Some(bytes) if extent.kind == ExtentKind::Data => {
                        self.target.write_at(range.start(), bytes)?;
                    }
                    _ => self.target.write_zeroes(range)?,
                }
                self.mended.bytes += range.len();
            }
            // A whole buffer, so that the list stays short whatever differs.
            append(&mut self.mended.touched, extent.range);
        }
        Ok(())
    }

    fn finish(self) -> Result<Mended> {
        if self.mended.bytes > 0 {
            self.target.sync()?;
        }
        Ok(self.mended)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::write_disk::{ends, write};
    use std::sync::atomic::Ordering;
    use testkit::{Memory, pattern};

    const SIZE: usize = 5 << 20;

    fn work(source: Memory) -> Work {
        Work { mend: true, ..Work::whole(source) }
    }

    fn ctx() -> Context {
        let mut ctx = Context::new(64 << 10, |_| {});
        (ctx.buffer, ctx.workers) = (256 << 10, 2);
        ctx
    }

    /// A target whose bytes at these places are not those of the source.
    fn target(wrong: &[usize]) -> Memory {
        let mut bytes = pattern(SIZE);
        wrong.iter().for_each(|at| bytes[*at] ^= 1);
        Memory::new(bytes)
    }

    fn mended(source: Memory, target: &Memory) -> (u64, Vec<(u64, u64)>) {
        let written = write(&work(source), target, &ctx()).unwrap();
        (written.mended.unwrap(), written.differ)
    }

    #[test]
    fn nothing_is_written_where_nothing_differs() {
        let target = target(&[]);
        let work = work(Memory::new(pattern(SIZE)));
        assert_eq!(write(&work, &target, &ctx()).unwrap().mended, Some(0));
        assert!(target.writes.lock().unwrap().is_empty());
        assert!(!work.touched.load(Ordering::Relaxed));
    }

    #[test]
    fn what_differs_is_written_and_what_makes_a_disk_again() {
        let both_ends = 2 << 20;
        for (wrong, bytes) in [
            (&[2 << 20][..], FRAME + both_ends),
            (&[(2 << 20) + 1, (2 << 20) + 60_000], FRAME + both_ends),
            (&[(2 << 20) - 1, 2 << 20], 2 * FRAME + both_ends),
            (&[0], both_ends),
            (&[SIZE - 1], both_ends),
            (&[700, 3 << 20, SIZE - 700], FRAME + both_ends),
        ] {
            let target = target(wrong);
            assert_eq!(mended(Memory::new(pattern(SIZE)), &target), (bytes, vec![]), "{wrong:?}");
            assert!(target.bytes() == pattern(SIZE), "{wrong:?}");
            let writes = target.writes.lock().unwrap().clone();
            let is_end =
                |range: &ByteRange| ends(ByteRange::span(0, 5 << 20)).iter().any(|end| end.overlaps(*range));
            assert!(is_end(&writes[0]) && is_end(&writes[1]) && is_end(writes.last().unwrap()));
        }
    }

    #[test]
    fn holes_of_the_source_are_zeroed() {
        let hole = ByteRange::span(1_500_000, 3_000_000);
        let mut bytes = pattern(SIZE);
        bytes[hole.index(0)].fill(0);
        let source = Memory::new(bytes.clone()).with(|source| source.holes = vec![hole]);
        let target = target(&[]);
        let (count, differ) = mended(source, &target);
        assert!(count >= hole.len() && differ.is_empty(), "{count}");
        assert!(target.bytes() == bytes);
    }

    #[test]
    fn a_mend_that_fails_leaves_no_disk() {
        for n in 2..5 {
            let target = target(&[2 << 20, 3 << 20]).with(|target| target.fail_write = Some(n));
            write(&work(Memory::new(pattern(SIZE))), &target, &ctx()).unwrap_err();
            let bytes = target.bytes();
            assert!(image::is_zero(&bytes[..1 << 20]) && image::is_zero(&bytes[SIZE - (1 << 20)..]), "{n}");
        }
    }

    /// An old table at the end of a larger target must not stay.
    #[test]
    fn what_lies_behind_the_disk_at_the_end_of_the_target_is_zeroed() {
        let mut bytes = pattern(SIZE);
        bytes.resize(SIZE + (3 << 20), 0);
        *bytes.last_mut().unwrap() = 7;
        let target = Memory::new(bytes);
        let end = ByteRange::span(7 << 20, 8 << 20);
        let mut work = work(Memory::new(pattern(SIZE)));
        work.last.push(end);
        let written = write(&work, &target, &ctx()).unwrap();
        assert_eq!(written.mended, Some(2 << 20));
        assert!(image::is_zero(&target.bytes()[SIZE..]));
        assert_eq!(write(&work, &target, &ctx()).unwrap().mended, Some(0));
    }
}
