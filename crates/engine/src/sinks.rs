//! The sinks that are not formats.

use crate::passed::Passed;
use block::{
    Buf, Buffer, ByteRange, Encode, Extent, ExtentKind, ReadAt, Result, SectorSize, Sink, WriteAt, extents,
};
use image::Backup;

/// Nothing to encode.
pub struct AsIs;

impl Encode for AsIs {
    type Out = ();

    fn encode(&mut self, _: &Buffer) -> Result<()> {
        Ok(())
    }
}

/// Writes to a target. Bad becomes zeroes (the report tells); Absent leaves the old bytes, unless the
/// source fills it.
pub struct ToTarget<'a>(
    /// What is written.
    pub &'a dyn WriteAt,
);

impl Sink for ToTarget<'_> {
    type Encoder = AsIs;
    type Summary = ();

    fn encoder(&self) -> AsIs {
        AsIs
    }

    fn commit(&mut self, buffer: &Buffer, (): ()) -> Result<()> {
        buffer.pieces().try_for_each(|(_, extent, bytes)| match extent.kind {
            ExtentKind::Data => self.0.write_at(extent.range.start(), bytes),
            ExtentKind::Zero | ExtentKind::Bad => self.0.write_zeroes(extent.range),
            ExtentKind::Absent => Ok(()),
        })
    }

    fn finish(self) -> Result<()> {
        self.0.sync()
    }
}

/// Lists where what is copied differs from a reference. Differences are an answer, not an error.
#[derive(Clone)]
pub struct Check<'a> {
    reference: &'a dyn ReadAt,
    unit: u64,
    proof: Known<'a>,
    differ: Vec<ByteRange>,
}

/// Digests that tell what is the same, so that the reference is read only where something differs.
#[derive(Clone, Copy)]
enum Known<'a> {
    Nothing,
    /// Of a backup, but for what does not come from it as it is.
    Backup(&'a Backup, &'a [ByteRange]),
    /// Of what went to a target.
    Passed(&'a Passed),
}

/// The parallel half of [`Check`].
pub struct Compare<'a> {
    check: Check<'a>,
    piece: Buf,
}

/// Bytes of the reference that are read at a time: a multiple of every sector size.
const PIECE: usize = 1 << 20;

impl<'a> Check<'a> {
    /// Compares with `reference`, and names what differs in units of `unit` bytes (a sector). What the
    /// reference does not have is not compared.
    pub fn against(reference: &'a dyn ReadAt, unit: SectorSize) -> Self {
        Self { reference, unit: unit.bytes(), proof: Known::Nothing, differ: vec![] }
    }

    /// The reference is this backup, by the same stored files, but for the `patched` ranges of the disk.
    /// So its digests tell what is the same, and it is decoded only where something differs.
    #[must_use]
    pub fn proved_by(self, backup: &'a Backup, patched: &'a [ByteRange]) -> Self {
        Self { proof: Known::Backup(backup, patched), ..self }
    }

    /// The reference is what went to a target while these digests were taken, in the same buffers.
    #[must_use]
    pub(crate) fn known_by(self, passed: &'a Passed) -> Self {
        Self { proof: Known::Passed(passed), ..self }
    }

    /// Do the digests say that all of it is the same?
    fn proves(&self, buffer: &Buffer) -> Result<bool> {
        if buffer.is_run() {
            return Ok(false);
        }
        match self.proof {
            Known::Nothing => Ok(false),
            Known::Backup(backup, patched) => {
                let is_patched = |extent: &Extent| patched.iter().any(|range| range.overlaps(extent.range));
                if buffer.extents.iter().any(is_patched) {
                    return Ok(false);
                }
                backup.holds(buffer.file, buffer.offset, &buffer.data)
            }
            Known::Passed(passed) => Ok(passed.holds(buffer)),
        }
    }
}

/// Adds to a list in which neighbours are one range.
fn append(list: &mut Vec<ByteRange>, range: ByteRange) {
    match list.last_mut() {
        Some(last) if last.end() == range.start() => *last = ByteRange::span(last.start(), range.end()),
        _ => list.push(range),
    }
}

impl Compare<'_> {
    /// Where the reference's bytes are not these (none: zeroes), in whole units. At most [`PIECE`] bytes.
    fn compare(&mut self, here: ByteRange, bytes: &[u8], differ: &mut Vec<ByteRange>) -> Result<()> {
        self.piece.clear();
        let Some(piece) = self.piece.grow(here.index(here.start()).end) else { return Ok(()) };
        self.check.reference.read_at(here.start(), piece)?;
        let same = |part: ByteRange| match bytes.get(part.index(here.start())) {
            Some(bytes) => bytes == &piece[part.index(here.start())],
            None => image::is_zero(&piece[part.index(here.start())]),
        };
        if same(here) {
            return Ok(());
        }
        let mut left = here;
        while !left.is_empty() {
            let end = (left.start() / self.check.unit + 1) * self.check.unit;
            let part = ByteRange::span(left.start(), end).intersect(here);
            if !same(part) {
                append(differ, part);
            }
            left = ByteRange::span(part.end(), here.end());
        }
        Ok(())
    }
}

impl Encode for Compare<'_> {
    type Out = Vec<ByteRange>;

    fn encode(&mut self, buffer: &Buffer) -> Result<Vec<ByteRange>> {
        let mut differ = vec![];
        if self.check.proves(buffer)? {
            return Ok(differ);
        }
        // Of what is lost on either side nothing is known, so nothing is compared.
        for (_, Extent { range, kind }, bytes) in buffer.pieces().filter(|(_, e, _)| !e.kind.is_lost()) {
            for known in extents(self.check.reference, range) {
                let known = known?;
                let both_zero = kind == ExtentKind::Zero && known.kind == ExtentKind::Zero;
                if both_zero || known.kind.is_lost() {
                    continue;
                }
                for here in known.range.pieces(PIECE as u64) {
                    let bytes = bytes.get(here.index(range.start())).unwrap_or(&[]);
                    self.compare(here, bytes, &mut differ)?;
                }
            }
        }
        Ok(differ)
    }
}

impl<'a> Sink for Check<'a> {
    type Encoder = Compare<'a>;
    /// Where it differs, in the order of the plan.
    type Summary = Vec<ByteRange>;

    fn encoder(&self) -> Compare<'a> {
        Compare { check: self.clone(), piece: Buf::with_capacity(PIECE) }
    }

    fn commit(&mut self, _: &Buffer, differ: Vec<ByteRange>) -> Result<()> {
        differ.into_iter().for_each(|range| append(&mut self.differ, range));
        Ok(())
    }

    fn finish(self) -> Result<Vec<ByteRange>> {
        Ok(self.differ)
    }
}
