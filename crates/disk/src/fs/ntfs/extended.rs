//! Extended attributes of OS/2, in which WSL keeps owners, modes and devices.

use block::field::{u16_at, u32_at};

/// Bytes of all that a file has.
pub(super) const EXTENDED_MAX: u64 = 64 << 10;

/// What WSL keeps there.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Wsl {
    pub(super) uid: Option<u32>,
    pub(super) gid: Option<u32>,
    /// All of it, also what sort of file.
    pub(super) mode: Option<u32>,
    /// Major and minor.
    pub(super) device: Option<(u32, u32)>,
}

impl Wsl {
    /// From an EA attribute; ends where it is damaged.
    pub(super) fn parse(value: &[u8]) -> Self {
        let (mut wsl, mut rest) = (Self::default(), value);
        loop {
            let Some((name, value, next)) = entry(rest) else { return wsl };
            match name {
                b"$LXUID" => wsl.uid = u32_at(value, 0),
                b"$LXGID" => wsl.gid = u32_at(value, 0),
                b"$LXMOD" => wsl.mode = u32_at(value, 0),
                b"$LXDEV" => wsl.device = u32_at(value, 0).zip(u32_at(value, 4)),
                _ => {}
            }
            match rest.get(next..) {
                Some(after) if next >= 8 => rest = after,
                _ => return wsl,
            }
        }
    }
}

/// The first entry: its name, its value, and where the next one begins.
fn entry(bytes: &[u8]) -> Option<(&[u8], &[u8], usize)> {
    let next_entry_offset = usize::try_from(u32_at(bytes, 0)?).ok()?;
    let (name_length, value_length) = (usize::from(*bytes.get(5)?), usize::from(u16_at(bytes, 6)?));
    let (name, rest) = bytes.get(8..)?.split_at_checked(name_length)?;
    // A zero is between them.
    Some((name, rest.get(1..)?.get(..value_length)?, next_entry_offset))
}

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects, clippy::indexing_slicing)]
mod tests {
    use super::*;

    fn entry(name: &str, value: &[u8]) -> Vec<u8> {
        let byte = |len: usize| u8::try_from(len).unwrap();
        let mut bytes = vec![0, 0, 0, 0, 0, byte(name.len()), byte(value.len()), 0];
        bytes.extend(name.as_bytes());
        bytes.push(0);
        bytes.extend(value);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes[0] = byte(bytes.len());
        bytes
    }

    #[test]
    fn what_wsl_keeps() {
        let all = [
            entry("$LXUID", &1000_u32.to_le_bytes()),
            entry("OTHER", b"value"),
            entry("$LXMOD", &0o100_644_u32.to_le_bytes()),
            entry("$LXDEV", &[8, 0, 0, 0, 1, 0, 0, 0]),
        ]
        .concat();
        let want = Wsl { uid: Some(1000), gid: None, mode: Some(0o100_644), device: Some((8, 1)) };
        assert_eq!(Wsl::parse(&all), want);
        for len in 0..all.len() {
            let _ = Wsl::parse(&all[..len]);
        }
    }
}
