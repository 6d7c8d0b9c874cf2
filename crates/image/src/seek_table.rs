//! The seek table behind the frames of a `.zst` (Zstandard seekable format, FORMAT 3.2).

use crate::page::Frame;
use block::{ByteRange, Error, ErrorKind, Result};

const SKIPPABLE: u32 = 0x184D_2A5E;
const SEEKABLE: u32 = 0x8F92_EAB1;
/// Skippable frame's header, and the footer.
const HEADER: u64 = 8;
const FOOTER: u64 = 9;
/// Stored and plain length of one frame.
const ENTRY: u64 = 8;
/// Bytes that are written at a time.
const PIECE: usize = 64 << 10;

/// Bytes of the table of so many frames.
pub(crate) fn size(frames: u64) -> u64 {
    HEADER + frames * ENTRY + FOOTER
}

fn low(n: u64) -> Result<[u8; 4]> {
    let bug = |_| Error::new(ErrorKind::Bug, "too large for a seek table");
    u32::try_from(n).map(u32::to_le_bytes).map_err(bug)
}

fn entry(frame: &Frame) -> Result<Vec<u8>> {
    Ok([low(frame.stored.len())?, low(frame.plain.len())?].concat())
}

/// Number of frames, descriptor (no checksums), magic.
fn footer(count: u64) -> Result<Vec<u8>> {
    Ok([&low(count)?[..], &[0], &SEEKABLE.to_le_bytes()].concat())
}

/// Makes the table of `count` frames piece by piece; it is never whole in memory.
pub(crate) fn write(
    count: u64,
    frames: impl Iterator<Item = Result<Frame>>,
    mut out: impl FnMut(&[u8]) -> Result<()>,
) -> Result<()> {
    let mut piece = Vec::with_capacity(PIECE + 16);
    piece.extend(SKIPPABLE.to_le_bytes());
    piece.extend(low(size(count) - HEADER)?);
    let mut seen = 0;
    for frame in frames {
        piece.extend(entry(&frame?)?);
        seen += 1;
        if piece.len() >= PIECE {
            out(&piece)?;
            piece.clear();
        }
    }
    if seen != count {
        return Err(Error::new(ErrorKind::Bug, "a seek table of another number of frames"));
    }
    piece.extend(footer(count)?);
    out(&piece)
}

/// The bytes `range` of the table of `count` frames, cut to its end. `frames`: from one number on.
pub(crate) fn bytes<I: Iterator<Item = Result<Frame>>>(
    count: u64,
    range: ByteRange,
    frames: impl FnOnce(u64) -> I,
) -> Result<Vec<u8>> {
    let first = (range.start().saturating_sub(HEADER) / ENTRY).min(count);
    let mut table = vec![];
    let mut begins = HEADER + first * ENTRY;
    if range.start() < HEADER {
        table.extend(SKIPPABLE.to_le_bytes());
        table.extend(low(size(count) - HEADER)?);
        begins = 0;
    }
    let wanted = range.end().saturating_sub(begins);
    for frame in frames(first) {
        if table.len() as u64 >= wanted {
            break;
        }
        table.extend(entry(&frame?)?);
    }
    table.extend(footer(count)?);
    let wanted = ByteRange::span(begins, begins + table.len() as u64).intersect(range);
    Ok(table.get(wanted.index(begins)).unwrap_or(&[]).to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::{Sort, encode_stored, encode_zero};
    use std::io::Read;

    /// A foreign reader finds frames by the table.
    #[test]
    fn zeekstd_reads_it() {
        let mut file = vec![];
        let plain = testkit::pattern(1000);
        encode_stored(&plain, &mut file);
        let first = file.len() as u64;
        encode_zero(2000, &mut file);
        let frame = |plain, stored, sort| Ok(Frame { plain, stored, sort, digest: None, partial: false });
        let r = ByteRange::span;
        let end = file.len() as u64;
        let frames =
            [frame(r(0, 1000), r(0, first), Sort::Stored), frame(r(1000, 3000), r(first, end), Sort::Zero)];
        let table = |file: &mut Vec<u8>| {
            write(2, frames.into_iter(), |bytes| {
                file.extend_from_slice(bytes);
                Ok(())
            })
        };
        table(&mut file).unwrap();
        assert_eq!(file.len() as u64, end + size(2));
        let mut decoder = zeekstd::Decoder::new(std::io::Cursor::new(file)).unwrap();
        let mut all = vec![];
        decoder.read_to_end(&mut all).unwrap();
        assert_eq!(all[..1000], plain);
        assert_eq!(all[1000..], [0; 2000]);
    }
}
