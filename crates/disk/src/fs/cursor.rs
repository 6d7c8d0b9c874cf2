//! A source for crates that want `Read` and `Seek`, and what became of their errors.

use block::{ByteRange, Error, ErrorKind, Source};
use std::cell::RefCell;
use std::error::Error as StdError;
use std::io::{self, Read, Seek, SeekFrom, Write};

thread_local! {
    /// How a source failed last in this thread: its words, and what they are of. Some crates keep nothing but
    /// the words of an error.
    static FAILED: RefCell<Option<Failure>> = const { RefCell::new(None) };
}

struct Failure {
    words: String,
    kind: ErrorKind,
    range: Option<ByteRange>,
}

/// A place in a source. Made anew for each call or kept in a [`super::pool::Pool`].
#[derive(Clone)]
pub(super) struct Cursor {
    source: Source,
    at: u64,
}

impl Cursor {
    pub(super) fn new(source: &Source) -> Self {
        Self { source: Source::clone(source), at: 0 }
    }
}

impl Read for Cursor {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let left = self.source.size().saturating_sub(self.at);
        let len = buf.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        let Some(buf @ [_, ..]) = buf.get_mut(..len) else { return Ok(0) };
        self.source.read_at(self.at, buf).map_err(|error| {
            let (words, kind, range) = (error.to_string(), error.kind(), error.range());
            FAILED.set(Some(Failure { words, kind, range }));
            io::Error::other(error)
        })?;
        self.at = self.at.saturating_add(u64::try_from(len).unwrap_or(0));
        Ok(len)
    }
}

impl Seek for Cursor {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let to = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::End(by) => self.source.size().checked_add_signed(by),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
        };
        self.at = to.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.at)
    }
}

/// Some crates ask for it and never write when they only read.
impl Write for Cursor {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// An error of a crate as one of ours: of the kind that the source failed with, if it did, else corrupt.
pub(super) fn failed(error: impl StdError + Send + Sync + 'static) -> Error {
    failed_as(ErrorKind::Corrupt, error)
}

/// The same, of another kind where the source did not fail.
pub(super) fn failed_as(kind: ErrorKind, error: impl StdError + Send + Sync + 'static) -> Error {
    let from_source = source_failure(&error).map(|failure| (failure.kind(), failure.range()));
    let words = error.to_string();
    let last = FAILED.take().filter(|last| words.contains(&last.words));
    match from_source.or(last.map(|last| (last.kind, last.range))) {
        Some((kind, Some(range))) => Error::new(kind, words).with_range(range),
        Some((kind, None)) => Error::new(kind, words),
        None => Error::new(kind, words),
    }
}

/// Our own error at the bottom of theirs.
fn source_failure<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a Error> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(ours) = error.downcast_ref::<Error>() {
            return Some(ours);
        }
        // What an io::Error was made of is not its source but its inside.
        let inside = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        if let Some(ours) = inside.and_then(|inside| source_failure(inside)) {
            return Some(ours);
        }
        next = error.source();
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use testkit::Memory;

    #[test]
    fn what_the_source_said_survives_the_crate_between() {
        let bad = ByteRange::span(0, 512);
        let disk: Source = Arc::new(Memory::new(vec![0; 1024]).with(|disk| disk.bad = vec![bad]));
        let error = Cursor::new(&disk).read(&mut [0; 16]).unwrap_err();
        let error = failed(io::Error::other(error));
        assert_eq!(error.kind(), ErrorKind::Media);
        assert!(error.range().is_some());
        assert_eq!(failed(io::Error::other("other")).kind(), ErrorKind::Corrupt);
        // Where the crate keeps the words only.
        let error = Cursor::new(&disk).read(&mut [0; 16]).unwrap_err();
        let error = failed(io::Error::other(format!("reading an inode: {error}")));
        assert!(error.kind() == ErrorKind::Media && error.range().is_some());
    }

    #[test]
    fn reads_up_to_the_end_and_seeks_beyond() {
        let disk: Source = Arc::new(Memory::new(vec![5; 100]));
        let mut cursor = Cursor::new(&disk);
        assert_eq!(cursor.seek(SeekFrom::End(-3)).unwrap(), 97);
        assert_eq!(cursor.read(&mut [0; 16]).unwrap(), 3);
        assert_eq!(cursor.seek(SeekFrom::Start(200)).unwrap(), 200);
        assert_eq!(cursor.read(&mut [0; 16]).unwrap(), 0);
        assert!(cursor.seek(SeekFrom::Current(-201)).is_err());
    }
}
