//! `PART[:VOLUME][/PATH]`, as it is typed.

use block::{Error, ErrorKind, Result};
use std::ffi::OsStr;
use std::fmt;
use std::os::unix::ffi::OsStrExt;

/// Which filesystem of a source, and what in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Locator {
    /// As the kernel counts; 0 the whole disk. `None`: not typed.
    pub part: Option<u32>,
    /// What lies inside the partition: a logical volume.
    pub volume: Option<String>,
    /// Inside the filesystem, as typed, without the slash in front; names are bytes.
    pub path: Vec<u8>,
}

impl Locator {
    /// Fails with [`ErrorKind::Usage`] where it does not begin with a number.
    pub fn parse(typed: &OsStr) -> Result<Self> {
        Self::parse_bytes(typed.as_bytes())
    }

    /// The same of bytes: what of a path lies inside a disk image.
    pub fn parse_bytes(bytes: &[u8]) -> Result<Self> {
        if bytes.is_empty() {
            return Ok(Self::default());
        }
        let slash = bytes.iter().position(|byte| *byte == b'/');
        let (head, path) = slash.map_or((bytes, &[][..]), |at| (&bytes[..at], &bytes[at + 1..]));
        let usage = || {
            let typed = String::from_utf8_lossy(bytes);
            let words = format!(
                "{typed}: begin with the number of a partition: 5/home, or 0 where there is no table"
            );
            Error::new(ErrorKind::Usage, words)
        };
        let head = std::str::from_utf8(head).map_err(|_| usage())?;
        let (number, volume) = match head.split_once(':') {
            Some((number, volume)) if !volume.is_empty() => (number, Some(volume.to_owned())),
            Some(_) => return Err(usage()),
            None => (head, None),
        };
        if !number.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(usage());
        }
        let part = number.parse().map_err(|_| usage())?;
        Ok(Self { part: Some(part), volume, path: path.to_vec() })
    }
}

/// The filesystem, without the path: `3:root`.
impl fmt::Display for Locator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.part, &self.volume) {
            (Some(part), Some(volume)) => write!(f, "{part}:{volume}"),
            (Some(part), None) => write!(f, "{part}"),
            (None, _) => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(typed: &[u8]) -> Option<(Option<u32>, Option<String>, Vec<u8>)> {
        let locator = Locator::parse(OsStr::from_bytes(typed)).ok()?;
        Some((locator.part, locator.volume, locator.path))
    }

    #[test]
    fn a_number_a_volume_and_a_path() {
        assert_eq!(parse(b"").unwrap(), (None, None, vec![]));
        assert_eq!(parse(b"5").unwrap(), (Some(5), None, vec![]));
        assert_eq!(parse(b"0/a/b/").unwrap(), (Some(0), None, b"a/b/".to_vec()));
        assert_eq!(parse(b"5/a:b\xff").unwrap(), (Some(5), None, b"a:b\xff".to_vec()));
        assert_eq!(parse(b"3:root/etc").unwrap(), (Some(3), Some("root".into()), b"etc".to_vec()));
        for wrong in [&b"home"[..], b"/home", b"3:", b":root", b"+5", b"99999999999", b"\xff/x"] {
            assert_eq!(parse(wrong), None, "{wrong:?}");
        }
    }
}
