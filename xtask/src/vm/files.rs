//! Files that the laboratory makes: in its cache, or in a folder that goes away.

use crate::Result;
use std::fs::File;
use std::io::BufWriter;
use std::path::Path;

/// A new file, or an old one emptied.
#[expect(clippy::disallowed_methods, reason = "files of the laboratory")]
pub(crate) fn create(path: &Path) -> Result<BufWriter<File>> {
    Ok(BufWriter::new(File::create(path).map_err(|error| at(path, &error))?))
}

/// A file of these bytes.
#[expect(clippy::disallowed_methods, reason = "files of the laboratory")]
pub(crate) fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    std::fs::write(path, bytes).map_err(|error| at(path, &error).into())
}

/// A copy with its permissions.
#[expect(clippy::disallowed_methods, reason = "files of the laboratory")]
pub(crate) fn copy(from: &Path, to: &Path) -> Result<()> {
    std::fs::copy(from, to).map(drop).map_err(|error| at(from, &error).into())
}

/// All bytes of a file.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).map_err(|error| at(path, &error).into())
}

/// The end of a text, at most so many lines; of a file that is not there, nothing.
pub(crate) fn tail(path: &Path, lines: usize) -> String {
    let text = String::from_utf8_lossy(&std::fs::read(path).unwrap_or_default()).replace('\r', "");
    let all: Vec<&str> = text.lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}

fn at(path: &Path, error: &std::io::Error) -> String {
    format!("{}: {error}", path.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_log() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        assert_eq!(tail(&path, 3), "");
        write(&path, b"a\r\nb\nc\n").unwrap();
        assert_eq!((tail(&path, 2), tail(&path, 9)), ("b\nc".to_owned(), "a\nb\nc".to_owned()));
    }
}
