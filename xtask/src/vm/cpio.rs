//! The archive that the kernel unpacks as its first root: cpio in the format "newc".

use crate::Result;
use std::io::Write;

/// File types of `st_mode`.
const FOLDER: u32 = 0o040_000;
const FILE: u32 = 0o100_000;
const LINK: u32 = 0o120_000;

/// Writes an archive. A folder has to come before what lies in it.
pub(crate) struct Archive<W: Write> {
    out: W,
    entries: u32,
}

impl<W: Write> Archive<W> {
    /// An empty one.
    pub(crate) fn new(out: W) -> Self {
        Self { out, entries: 0 }
    }

    /// Adds a folder.
    pub(crate) fn folder(&mut self, path: &str) -> Result<()> {
        self.entry(path, FOLDER | 0o755, b"")
    }

    /// Adds a file, which may be run.
    pub(crate) fn file(&mut self, path: &str, bytes: &[u8]) -> Result<()> {
        self.entry(path, FILE | 0o755, bytes)
    }

    /// Adds a symbolic link.
    pub(crate) fn link(&mut self, path: &str, target: &str) -> Result<()> {
        self.entry(path, LINK | 0o777, target.as_bytes())
    }

    /// Ends it.
    pub(crate) fn finish(mut self) -> Result<W> {
        self.entry("TRAILER!!!", 0, b"")?;
        self.out.flush()?;
        Ok(self.out)
    }

    /// Documentation/driver-api/early-userspace/buffer-format.rst of the kernel: a header of 13 fields of
    /// eight hex digits, the name with its NUL, the bytes; both padded to four bytes.
    fn entry(&mut self, path: &str, mode: u32, bytes: &[u8]) -> Result<()> {
        self.entries += 1;
        let (inode, size, name) = (self.entries, u32::try_from(bytes.len())?, u32::try_from(path.len())? + 1);
        let fields = [inode, mode, 0, 0, 1, 0, size, 0, 0, 0, 0, name, 0];
        let mut head = String::from("070701");
        for field in fields {
            head.push_str(&format!("{field:08x}"));
        }
        head.push_str(path);
        head.push('\0');
        self.padded(head.as_bytes())?;
        self.padded(bytes)
    }

    fn padded(&mut self, bytes: &[u8]) -> Result<()> {
        let padding = bytes.len().next_multiple_of(4) - bytes.len();
        self.out.write_all(bytes)?;
        Ok(self.out.write_all(&[0; 3][..padding])?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_padded_and_the_trailer_ends_them() {
        let mut archive = Archive::new(vec![]);
        archive.folder("a").unwrap();
        archive.file("a/b", b"12345").unwrap();
        archive.link("l", "a/b").unwrap();
        let bytes = archive.finish().unwrap();
        let text = String::from_utf8_lossy(&bytes);
        assert_eq!(bytes.len() % 4, 0);
        // Header 110 and name 4 are 116 padded; five bytes are eight.
        assert_eq!(&bytes[112 + 116..][..8], b"12345\0\0\0");
        let ends = "07070100000004000000000000000000000000000000010000000000000000\
                    000000000000000000000000000000000000000b00000000TRAILER!!!\0";
        assert_eq!(text.matches("070701").count(), 4);
        assert!(text.trim_end_matches('\0').ends_with(ends.trim_end_matches('\0')), "{text:?}");
    }
}
