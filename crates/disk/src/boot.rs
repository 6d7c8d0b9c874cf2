//! Whose code a boot sector holds, in words.

/// Bytes that tell whose a sector is.
enum Mark {
    /// Here.
    At(usize, &'static [u8]),
    /// Somewhere.
    Text(&'static [u8]),
}

use Mark::{At, Text};

/// Marks that a sector must all have, and what they mean; the surest first.
///
/// GRUB by its jump: its installers keep what lies between bytes 3 and 0x5A, so that the version that
/// stage1 of GRUB legacy and the first releases of GRUB 2 have at 0x3E may be that of an older one.
const MARKS: &[(&[Mark], &str)] = &[
    (&[Text(b"BOOTMGR")], "Windows Vista or later (BOOTMGR)"),
    (&[Text(b"NTLDR")], "Windows NT, 2000 or XP (NTLDR)"),
    (&[Text(b"TCPA")], "Windows Vista or later boot code"),
    (&[At(0, b"\xEB\x63"), Text(b"GRUB \0Geom\0Hard Disk\0Read\0 Error")], "GRUB 2"),
    (&[At(0, b"\xEB\x48"), At(0x3E, &[3]), Text(b"GRUB \0Geom\0Hard Disk\0Read\0 Error")], "GRUB legacy"),
    (&[At(0, b"\xEB\x48"), At(0x3E, &[4]), Text(b"GRUB \0Geom\0Hard Disk\0Read\0 Error")], "GRUB 2"),
    (&[Text(b"GRUB ")], "GRUB"),
    (&[Text(b"isolinux")], "ISOLINUX hybrid boot code"),
    // The sector of EXTLINUX has this name as well.
    (&[At(3, b"SYSLINUX")], "SYSLINUX or EXTLINUX"),
    (&[Text(b"Missing operating system.\r\n")], "SYSLINUX boot code"),
    (&[Text(b"Missing OS\r\n")], "SYSLINUX boot code"),
    (&[At(6, b"LILO")], "LILO"),
    (&[At(2, b"LILO")], "LILO"),
    (&[Text(b"FreeBSD")], "FreeBSD"),
    (
        &[Text(b"Invalid partition table\0Error loading operating system\0Missing operating system")],
        "Windows boot code",
    ),
    (&[Text(b"Invalid system disk")], "Windows 95 or 98"),
    (&[Text(b"IO      SYS")], "MS-DOS or Windows 9x"),
    (&[Text(b"Invalid partition table")], "MS-DOS or Windows boot code"),
    (&[Text(b"This is not a bootable disk")], "no system (as mkfs leaves it)"),
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
    let holds = |mark: &Mark| match mark {
        At(at, mark) => sector.get(*at..).is_some_and(|rest| rest.starts_with(mark)),
        Text(mark) => sector.windows(mark.len()).any(|place| place == *mark),
    };
    let known = MARKS.iter().find(|(marks, _)| marks.iter().all(holds));
    // What is not known is code only if a BIOS would run it, not the superblock of a filesystem.
    let runs = sector.get(510..512) == Some(&[0x55, 0xAA]);
    known.map(|(_, words)| *words).or(runs.then_some("boot code"))
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
            sector[510..].copy_from_slice(&[0x55, 0xAA]);
            sector[200..200 + mark.len()].copy_from_slice(mark);
            boot_sector(&sector)
        };
        assert_eq!(with(b"BOOTMGR is missing"), Some("Windows Vista or later (BOOTMGR)"));
        assert_eq!(with(b"NTLDR is missing"), Some("Windows NT, 2000 or XP (NTLDR)"));
        assert_eq!(with(b"GRUB \0Geom"), Some("GRUB"));
        assert_eq!(with(b"LILO"), Some("boot code"));
        assert_eq!(with(b"something"), Some("boot code"));
        let mut stage1 = [0u8; 512];
        stage1[..2].copy_from_slice(b"\xEB\x48");
        stage1[0x3E] = 3;
        stage1[383..415].copy_from_slice(b"GRUB \0Geom\0Hard Disk\0Read\0 Error");
        assert_eq!(boot_sector(&stage1), Some("GRUB legacy"));
        stage1[0x3E] = 4;
        assert_eq!(boot_sector(&stage1), Some("GRUB 2"));
        assert_eq!(
            boot_sector(&[b"\xFA\xEB\x7C\x6C\x6A\0LILO".to_vec(), vec![9; 502]].concat()),
            Some("LILO")
        );
    }

    #[test]
    fn no_code() {
        assert_eq!(boot_sector(&[0; 512]), None);
        let mut table_only = [0u8; 512];
        table_only[446..].fill(7);
        assert_eq!(boot_sector(&table_only), None);
        assert_eq!(boot_sector(&[1; 100]), None);
        assert_eq!(boot_sector(&[1; 512]), None);
    }
}
