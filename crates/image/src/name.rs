//! File names of a backup (FORMAT 1).

use block::{Error, ErrorKind, Result};

/// One path component of `A-Z a-z 0-9 . _ -`, at most 255 of them, not beginning with `.` or `-`: fails
/// with [`ErrorKind::Corrupt`] for any other name.
pub(crate) fn check_name(name: &str) -> Result<()> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    if name.is_empty() || name.len() > 255 || name.starts_with(['.', '-']) || !name.bytes().all(allowed) {
        return Err(Error::new(ErrorKind::Corrupt, format!("{name:?} is no file name of a backup")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_plain_component() {
        assert!(check_name("cassandra-sda1.vfat.zst.000").is_ok());
        assert!(check_name(&"x".repeat(255)).is_ok());
        for wrong in ["", ".", "..", ".x", "-x", "a/b", "a\0b", "a b", "\u{e4}", &"x".repeat(256)] {
            assert!(check_name(wrong).is_err(), "{wrong:?}");
        }
    }
}
