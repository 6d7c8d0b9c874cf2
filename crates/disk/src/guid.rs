//! A GUID as GPT keeps it: the first three fields little-endian, the rest in order (UEFI 2.10, appendix A).

use std::fmt;

/// 16 bytes as they lie on the disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Guid(pub [u8; 16]);

impl Guid {
    /// The bytes on disk of the GUID that is written as the hex digits of `written`, hyphens left out.
    pub const fn from_digits(written: u128) -> Self {
        let [a, b, c, d, e, f, g, h, rest @ ..] = written.to_be_bytes();
        let [i, j, k, l, m, n, o, p] = rest;
        Self([d, c, b, a, f, e, h, g, i, j, k, l, m, n, o, p])
    }

    /// A random one (RFC 9562, version 4) of 16 random bytes.
    pub const fn version4(random: [u8; 16]) -> Self {
        let [a, b, c, d, e, f, g, version, variant, rest @ ..] = random;
        let [j, k, l, m, n, o, p] = rest;
        let (version, variant) = ((version & 0x0F) | 0x40, (variant & 0x3F) | 0x80);
        Self([a, b, c, d, e, f, g, version, variant, j, k, l, m, n, o, p])
    }

    /// All zero: what marks an entry as unused.
    pub fn is_zero(self) -> bool {
        self.0 == [0; 16]
    }
}

/// Upper case, as sfdisk prints it.
impl fmt::Display for Guid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, f0, g, h, i, j, node @ ..] = self.0;
        let first = u32::from_le_bytes([a, b, c, d]);
        let (second, third) = (u16::from_le_bytes([e, f0]), u16::from_le_bytes([g, h]));
        write!(f, "{first:08X}-{second:04X}-{third:04X}-{i:02X}{j:02X}-")?;
        node.iter().try_for_each(|byte| write!(f, "{byte:02X}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The bytes of an EFI system partition's type, from UEFI 2.10, table 5-7, as sgdisk writes them.
    #[test]
    fn mixed_endian() {
        let on_disk =
            [0x28, 0x73, 0x2A, 0xC1, 0x1F, 0xF8, 0xD2, 0x11, 0xBA, 0x4B, 0, 0xA0, 0xC9, 0x3E, 0xC9, 0x3B];
        assert_eq!(Guid(on_disk).to_string(), "C12A7328-F81F-11D2-BA4B-00A0C93EC93B");
        assert_eq!(Guid::from_digits(0xC12A7328_F81F_11D2_BA4B_00A0C93EC93B), Guid(on_disk));
        assert!(Guid::default().is_zero());
        assert_eq!(Guid::version4([0xFF; 16]).to_string(), "FFFFFFFF-FFFF-4FFF-BFFF-FFFFFFFFFFFF");
    }
}
