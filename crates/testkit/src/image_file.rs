//! A file as a disk.

use block::{ByteRange, Error, ReadAt, Result};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// A file, or a device, of which this many bytes are the disk.
#[derive(Debug)]
pub struct ImageFile(File, u64);

impl ImageFile {
    /// The first `size` bytes of `path`.
    pub fn open(path: &Path, size: u64) -> std::io::Result<Self> {
        Ok(Self(File::open(path)?, size))
    }
}

impl ReadAt for ImageFile {
    fn size(&self) -> u64 {
        self.1
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<()> {
        ByteRange::within(self.1, offset, buf.len() as u64)?;
        self.0.read_exact_at(buf, offset).map_err(|error| Error::io(error, "image"))
    }
}
