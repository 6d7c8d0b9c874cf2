//! The bytes of one file, with its holes, and as many of them as can be read.

use super::{Volumes, is_lost};
use crate::Context;
use block::{ByteRange, Error, ErrorKind, ExtentKind, ReadAt, Result, extents};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};

/// Bytes that are read at once.
const BUFFER: usize = 1 << 20;
/// What is read again after a failure, in bytes, and what a hole is made of.
const PIECE: usize = 4096;
/// How long a damaged file is tried before it is given up.
const PATIENCE: Duration = Duration::from_secs(20);

/// A buffer for one file after the other.
pub(super) struct Contents(Vec<u8>);

/// What was written of a file.
pub(super) struct Written {
    pub(super) bytes: u64,
    pub(super) lost: Option<LostBytes>,
}

/// What could not be read of it, and what is to be said.
pub(super) struct LostBytes {
    pub(super) bytes: u64,
    pub(super) words: String,
}

impl Default for Contents {
    fn default() -> Self {
        Self(vec![0; BUFFER])
    }
}

/// A copy under way.
struct Copy<'a> {
    volumes: &'a Volumes,
    source: &'a dyn ReadAt,
    to: &'a File,
    /// Zeroes that the source does not tell of are holes too.
    sparse: bool,
    /// Where the file ends that is being written.
    end: u64,
    lost: u64,
    first: Option<(u64, Error)>,
    failing: Duration,
}

impl Contents {
    /// Copies `source` into an empty file. What cannot be read is left a hole there, and told. Fails with what
    /// the file fails with, and with [`ErrorKind::Corrupt`] where the source is beyond hope.
    pub(super) fn copy(
        &mut self,
        volumes: &Volumes,
        source: &dyn ReadAt,
        to: &File,
        sparse: bool,
        ctx: &Context,
    ) -> Result<Written> {
        let size = source.size();
        let mut copy =
            Copy { volumes, source, to, sparse, end: 0, lost: 0, first: None, failing: Duration::ZERO };
        for extent in extents(source, ByteRange::span(0, size)) {
            let extent = extent?;
            let (mut at, end) = (extent.range.start(), extent.range.end());
            match extent.kind {
                ExtentKind::Zero => continue,
                ExtentKind::Bad | ExtentKind::Absent => {
                    // One read, to learn what the disk says.
                    let len = usize::try_from(extent.range.len()).unwrap_or(PIECE).min(PIECE);
                    let buf = &mut self.0[..len];
                    let kind =
                        if extent.kind == ExtentKind::Bad { ErrorKind::Media } else { ErrorKind::Absent };
                    let error = source.read_at(at, buf).err().unwrap_or_else(|| Error::new(kind, ""));
                    copy.lose(extent.range, error);
                    continue;
                }
                ExtentKind::Data => {}
            }
            while at < end {
                ctx.check_cancel()?;
                let len = usize::try_from(end - at).unwrap_or(BUFFER).min(BUFFER);
                let buf = &mut self.0[..len];
                match source.read_at(at, buf) {
                    Ok(()) => copy.write(at, buf)?,
                    Err(error) if is_lost(&error) => copy.pieces(at, buf)?,
                    Err(error) => return Err(error),
                }
                at += len as u64;
                ctx.advance(len as u64);
            }
        }
        if copy.end < size {
            to.set_len(size).map_err(writing)?;
        }
        let lost = copy.first.take().map(|(at, error)| {
            let bytes = copy.lost;
            let words = format!(
                "{bytes} bytes of it could not be read and are zero in the copy, the first at {at}: {error}"
            );
            LostBytes { bytes, words }
        });
        Ok(Written { bytes: size, lost })
    }
}

impl Copy<'_> {
    fn write(&mut self, at: u64, buf: &[u8]) -> Result<()> {
        if !self.sparse {
            self.to.write_all_at(buf, at).map_err(writing)?;
            self.end = at + buf.len() as u64;
            return Ok(());
        }
        // Runs of pieces that are not zero.
        let mut start = 0;
        for (n, piece) in buf.chunks(PIECE).enumerate() {
            let (here, behind) = (n * PIECE, n * PIECE + piece.len());
            let zero = image::is_zero(piece);
            let run = if zero { start..here } else { start..behind };
            let over = zero || behind == buf.len();
            if over && !run.is_empty() {
                self.to.write_all_at(&buf[run.clone()], at + run.start as u64).map_err(writing)?;
                self.end = at + run.end as u64;
            }
            if zero {
                start = behind;
            }
        }
        Ok(())
    }

    /// Piece by piece, what of a stretch can be read.
    fn pieces(&mut self, mut at: u64, buf: &mut [u8]) -> Result<()> {
        for piece in buf.chunks_mut(PIECE) {
            let began = Instant::now();
            match self.source.read_at(at, piece) {
                Ok(()) => self.write(at, piece)?,
                Err(failed) if is_lost(&failed) => {
                    self.failing += began.elapsed();
                    if self.failing > PATIENCE {
                        return Err(failed);
                    }
                    let end = at + piece.len() as u64;
                    // The disk said where when this piece failed, so its own error is told.
                    self.lose(ByteRange::span(at, end), failed);
                }
                Err(failed) => return Err(failed),
            }
            at += piece.len() as u64;
        }
        Ok(())
    }

    fn lose(&mut self, range: ByteRange, error: Error) {
        self.lost += range.len();
        if self.first.is_none() {
            // Located now: the disk forgets where it failed when it fails again.
            self.first = Some((range.start(), self.volumes.located(error)));
        }
    }
}

/// A failure of the file that is written, never one of the source.
fn writing(error: io::Error) -> Error {
    let error = Error::io(error, "writing");
    match error.kind() {
        ErrorKind::NoSpace => error,
        _ => error.with_kind(ErrorKind::Io),
    }
}
