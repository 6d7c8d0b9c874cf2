//! One error type for the whole library: a kind to match, where it was, and why.

use crate::ByteRange;
use std::error::Error as StdError;
use std::fmt;

/// What a caller may do about it. Exit codes and hints depend on this alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// Beyond the end of what was asked.
    OutOfRange,
    /// The medium could not deliver these bytes (EIO, ENODATA): a bad sector.
    Media,
    /// These bytes were never captured.
    Absent,
    /// Bytes are there and they are wrong: a digest, a structure, a length.
    Corrupt,
    /// Made by a newer version, or of a kind this version does not handle.
    Unsupported,
    /// The device is gone, or another one took its place.
    Gone,
    /// No room left where it is written.
    NoSpace,
    /// Nothing of this name.
    NotFound,
    /// The operating system does not permit it.
    Permission,
    /// Refused for safety.
    Refused,
    /// What was asked makes no sense here.
    Usage,
    /// Stopped by its user.
    Cancelled,
    /// Any other failure of the operating system.
    Io,
    /// Our own mistake.
    Bug,
}

/// What failed, where, and why. `Display` gives the sentence; [`StdError::source`] the cause.
#[derive(Debug)]
pub struct Error {
    kind: ErrorKind,
    range: Option<ByteRange>,
    context: String,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

/// Fails with [`Error`].
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// A kind and the sentence that a person reads: what failed, in which file, what to do.
    pub fn new(kind: ErrorKind, context: impl Into<String>) -> Self {
        Self { kind, range: None, context: context.into(), source: None }
    }

    /// A kind and the bytes that it is about, named as the caller of the failed function names them.
    pub fn at(kind: ErrorKind, range: ByteRange) -> Self {
        Self { kind, range: Some(range), context: String::new(), source: None }
    }

    /// A failure of the operating system; its errno decides the kind.
    pub fn io(source: std::io::Error, context: impl Into<String>) -> Self {
        Self { kind: kind_of(&source), range: None, context: context.into(), source: Some(source.into()) }
    }

    /// With the bytes that it is about.
    #[must_use]
    pub fn with_range(self, range: ByteRange) -> Self {
        Self { range: Some(range), ..self }
    }

    /// With the cause.
    #[must_use]
    pub fn with_source(self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self { source: Some(source.into()), ..self }
    }

    /// With another kind, for a caller who knows better.
    #[must_use]
    pub fn with_kind(self, kind: ErrorKind) -> Self {
        Self { kind, ..self }
    }

    /// With words in front: "writing x.zst: ...".
    #[must_use]
    pub fn context(self, words: impl fmt::Display) -> Self {
        let context =
            if self.context.is_empty() { words.to_string() } else { format!("{words}: {}", self.context) };
        Self { context, ..self }
    }

    /// What a caller may do about it.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// The bytes it is about.
    pub fn range(&self) -> Option<ByteRange> {
        self.range
    }

    /// A wrapper speaks of its own bytes, not of those of what it wraps: byte `from` is its byte `to`.
    #[must_use]
    pub fn moved(self, from: u64, to: u64) -> Self {
        Self { range: self.range.map(|range| range.moved(from, to)), ..self }
    }
}

/// VM measurements: O_DIRECT reports bad media as ENODATA, everything else as EIO.
fn kind_of(error: &std::io::Error) -> ErrorKind {
    const EIO: i32 = 5;
    const ENXIO: i32 = 6;
    const ENODEV: i32 = 19;
    const ENOSPC: i32 = 28;
    const EFBIG: i32 = 27;
    const ENODATA: i32 = 61;
    const EDQUOT: i32 = 122;
    match error.raw_os_error() {
        Some(EIO | ENODATA) => ErrorKind::Media,
        Some(ENXIO | ENODEV) => ErrorKind::Gone,
        Some(ENOSPC | EDQUOT | EFBIG) => ErrorKind::NoSpace,
        _ => match error.kind() {
            std::io::ErrorKind::NotFound => ErrorKind::NotFound,
            std::io::ErrorKind::PermissionDenied => ErrorKind::Permission,
            _ => ErrorKind::Io,
        },
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::OutOfRange => "out of range",
            Self::Media => "could not be read from the medium",
            Self::Absent => "not in this backup",
            Self::Corrupt => "corrupt",
            Self::Unsupported => "not supported",
            Self::Gone => "the device is gone",
            Self::NoSpace => "no space left",
            Self::NotFound => "not found",
            Self::Permission => "permission denied",
            Self::Refused => "refused",
            Self::Usage => "not possible",
            Self::Cancelled => "interrupted",
            Self::Io => "input/output failed",
            Self::Bug => "a mistake in selfsame itself",
        })
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.context.is_empty() {
            self.kind.fmt(f)?;
        } else {
            f.write_str(&self.context)?;
        }
        if let Some(range) = self.range {
            write!(f, " (bytes {} to {})", range.start(), range.end())?;
        }
        match &self.source {
            Some(source) => write!(f, ": {source}"),
            None => Ok(()),
        }
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_ref().map(|error| &**error as _)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_errno_decides_the_kind() {
        let kind = |errno| Error::io(std::io::Error::from_raw_os_error(errno), "").kind();
        assert_eq!([5, 61, 19, 28, 2, 13, 22].map(kind), {
            use ErrorKind::*;
            [Media, Media, Gone, NoSpace, NotFound, Permission, Io]
        });
    }

    #[test]
    fn says_where_and_why() {
        let why = std::io::Error::other("why");
        let error =
            Error::io(why, "reading x").with_range(ByteRange::span(5, 9)).moved(5, 1).context("verify");
        assert_eq!(error.to_string(), "verify: reading x (bytes 1 to 5): why");
    }
}
