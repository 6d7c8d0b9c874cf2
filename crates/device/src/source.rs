//! A disk or partition to read from, held so that nobody mounts it meanwhile.

use crate::Instance;
use crate::handle::{Handle, open};
use crate::permission::who_may;
use block::{Error, ErrorKind, ReadAt, Result};
use rustix::fd::OwnedFd;
use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use std::path::Path;
use std::sync::Arc;

/// How a device is opened for reading.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceOptions {
    /// Also if it is in use, where the copy may be torn. Means something with `exclusive` only.
    pub live: bool,
    /// Hold it alone as long as it is open, so that nothing mounts it.
    pub exclusive: bool,
}

/// A device that was opened for reading.
pub struct Opened {
    /// Its bytes.
    pub source: Arc<DeviceSource>,
    /// It is in use, so that its content may change while it is read.
    pub live: bool,
}

/// A block device, read past the page cache.
pub struct DeviceSource {
    handle: Handle,
    rotational: bool,
}

impl DeviceSource {
    /// Opens the device at `path`, which must be the one that was `shown`.
    ///
    /// `rotational`: it has a moving head, so that one thread reads it in order.
    ///
    /// Fails with [`ErrorKind::Refused`] if it is in use and shall be exclusive but not live, and with
    /// [`ErrorKind::Gone`] if it is another device than the one that was shown, or none.
    pub fn open(path: &Path, shown: Instance, how: SourceOptions, rotational: bool) -> Result<Opened> {
        let (opened, live) = match open(path, how.exclusive) {
            Err(Errno::BUSY) if how.exclusive && how.live => (open(path, false), true),
            opened => (opened, false),
        };
        let handle = Handle::new(opened.map_err(|error| refused(error, path))?, path)?;
        handle.must_be(shown)?;
        Ok(Opened { source: Arc::new(Self { handle, rotational }), live })
    }

    /// A device that another process opened, by the descriptor that came from it.
    pub fn received(fd: OwnedFd, path: &Path, rotational: bool) -> Result<Self> {
        Ok(Self { handle: Handle::new(fd, path)?, rotational })
    }

    /// What was opened.
    pub fn handle(&self) -> &Handle {
        &self.handle
    }

    /// It has a moving head.
    pub fn is_rotational(&self) -> bool {
        self.rotational
    }
}

/// Why it could not be opened, and what to do.
fn refused(error: Errno, path: &Path) -> Error {
    let name = path.file_name().unwrap_or(path.as_os_str()).display();
    match error {
        Errno::BUSY => Error::new(
            ErrorKind::Refused,
            format!("{name} is in use (mounted or held): unmount it, or --live for a copy that may be torn"),
        ),
        Errno::NOENT => Error::new(ErrorKind::Gone, format!("{name} is gone")),
        error => {
            let who = if error == Errno::ACCESS { who_may(path) } else { String::new() };
            Error::io(error.into(), format!("opening {} for reading{who}", path.display()))
        }
    }
}

impl ReadAt for DeviceSource {
    fn size(&self) -> u64 {
        self.handle.size()
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<()> {
        self.handle.read_at(offset, buf)
    }

    fn concurrency(&self) -> usize {
        if self.rotational { 1 } else { 4 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_errno_of_opening_decides() {
        let kind = |error| refused(error, Path::new("/dev/sda")).kind();
        let errors = [Errno::BUSY, Errno::NOENT, Errno::NXIO, Errno::NODEV, Errno::ACCESS, Errno::IO];
        use ErrorKind::{Gone, Media, Permission, Refused};
        assert_eq!(errors.map(kind), [Refused, Gone, Gone, Gone, Permission, Media]);
        assert!(refused(Errno::BUSY, Path::new("/dev/sda")).to_string().starts_with("sda is in use"));
    }
}
