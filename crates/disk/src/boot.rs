//! Whose code a boot sector holds, in words.

/// Marks in a sector and what they mean, the surest first.
const MARKS: &[(&[u8], &str)] = &[
    (b"BOOTMGR", "Windows Vista or later (BOOTMGR)"),
    (b"NTLDR", "Windows NT, 2000 or XP (NTLDR)"),
    (b"TCPA", "Windows Vista or later boot code"),
    (b"GRUB \0Geom\0Hard Disk\0Read\0 Error", "GRUB"),
    (b"GRUB ", "GRUB"),
    (b"isolinux", "ISOLINUX hybrid boot code"),
    (b"EXTLINUX", "EXTLINUX"),
    (b"SYSLINUX", "SYSLINUX"),
    (b"Missing operating system.", "SYSLINUX boot code"),
    (b"LILO", "LILO"),
    (b"FreeBSD", "FreeBSD"),
    (b"Boot error\r\n", "FreeBSD boot code"),
    (
        b"Invalid partition table\0Error loading operating system\0Missing operating system",
        "Windows boot code",
    ),
    (b"Invalid system disk", "Windows 95 or 98"),
    (b"IO      SYS", "MS-DOS or Windows 9x"),
    (b"Invalid partition table", "MS-DOS or Windows boot code"),
    (b"This is not a bootable disk", "no system (made by mkfs.fat)"),
];

/// What the code in a boot sector (of a disk or a partition) is; `None` if there is none. Looks at the
/// first 446 bytes for code, and at all of `sector` for its messages.
pub fn boot_sector(sector: &[u8]) -> Option<&'static str> {
    let code = sector.get(..446)?;
    // A jump over the parameter block is not code yet: mkfs writes one, and nothing behind it.
    let body = code.get(90..)?;
    if code.iter().all(|byte| *byte == 0)
        || (body.iter().all(|byte| *byte == 0) && code.first() == Some(&0xEB))
    {
        return None;
    }
    let holds = |mark: &[u8]| sector.windows(mark.len()).any(|place| place == mark);
    Some(MARKS.iter().find(|(mark, _)| holds(mark)).map_or("boot code", |(_, words)| words))
}

#[cfg(test)]
#[allow(clippy::indexing_slicing, clippy::arithmetic_side_effects)]
mod tests {
    use super::*;

    #[test]
    fn named_by_their_messages() {
        let with = |mark: &[u8]| {
            let mut sector = [0u8; 512];
            sector[..2].copy_from_slice(&[0xFA, 0x31]);
            sector[200..200 + mark.len()].copy_from_slice(mark);
            boot_sector(&sector)
        };
        assert_eq!(with(b"BOOTMGR is missing"), Some("Windows Vista or later (BOOTMGR)"));
        assert_eq!(with(b"NTLDR is missing"), Some("Windows NT, 2000 or XP (NTLDR)"));
        assert_eq!(with(b"GRUB \0Geom"), Some("GRUB"));
        assert_eq!(with(b"LILO"), Some("LILO"));
        assert_eq!(with(b"something"), Some("boot code"));
    }

    #[test]
    fn no_code() {
        assert_eq!(boot_sector(&[0; 512]), None);
        let mut table_only = [0u8; 512];
        table_only[446..].fill(7);
        assert_eq!(boot_sector(&table_only), None);
        assert_eq!(boot_sector(&[1; 100]), None);
    }
}
