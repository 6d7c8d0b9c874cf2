//! Boot sectors as their makers ship or install them.

use super::{has, shell};
use disk::boot::boot_sector;
use std::path::Path;

fn named(sector: &[u8]) -> Option<&'static str> {
    boot_sector(&sector[..sector.len().min(512)])
}

/// Files that packages of Debian ship.
#[test]
fn boot_code_as_shipped() {
    let cases = [
        ("/usr/lib/grub/i386-pc/boot.img", "GRUB 2"),
        ("/usr/lib/grub/i386-pc/boot_hybrid.img", "GRUB 2"),
        ("/usr/lib/syslinux/mbr/mbr.bin", "SYSLINUX boot code"),
        ("/usr/lib/syslinux/mbr/altmbr.bin", "SYSLINUX boot code"),
        ("/usr/lib/syslinux/mbr/gptmbr.bin", "SYSLINUX boot code"),
        ("/usr/lib/ISOLINUX/isohdpfx.bin", "ISOLINUX hybrid boot code"),
        ("/usr/lib/ISOLINUX/isohdppx.bin", "ISOLINUX hybrid boot code"),
    ];
    for (path, words) in cases {
        let Ok(mut sector) = std::fs::read(path) else {
            println!("SKIPPED: boot_code_as_shipped: needs {path}");
            continue;
        };
        // Code for the first 440 bytes of a disk lies before a table.
        sector.resize(512, 0);
        assert_eq!(named(&sector), Some(words), "{path}");
    }
}

/// GRUB 2 installed over GRUB legacy keeps what that had where a parameter block may lie. Debian's package
/// of GRUB legacy would remove GRUB 2 from a machine that boots with it, so that scripts/setup-tests leaves
/// it out.
#[test]
fn grub_2_over_grub_legacy() {
    let paths = ["/usr/lib/grub/i386-pc/boot.img", "/usr/lib/grub/x86_64-pc/stage1"];
    let [Ok(mut sector), Ok(before)] = paths.map(std::fs::read) else {
        println!("SKIPPED: grub_2_over_grub_legacy: needs {paths:?}");
        return;
    };
    assert_eq!(named(&before), Some("GRUB legacy"));
    sector[3..0x5A].copy_from_slice(&before[3..0x5A]);
    assert_eq!(named(&sector), Some("GRUB 2"));
}

/// What mkfs and syslinux write on an image.
#[test]
fn boot_code_as_made() {
    let cases = [
        ("mkfs.fat", "mkfs.fat -F 16 $F", Some("no system (as mkfs leaves it)")),
        ("mkfs.ntfs", "mkfs.ntfs -q -F -f $F", Some("no system (as mkfs leaves it)")),
        ("syslinux", "mkfs.fat -F 16 $F; syslinux -i $F", Some("SYSLINUX or EXTLINUX")),
        ("mkfs.ext4", "mkfs.ext4 -q $F", None),
        ("mkfs.xfs", "truncate -s 320M $F; mkfs.xfs -q $F", None),
    ];
    let folder = tempfile::tempdir().unwrap();
    let image = folder.path().join("image");
    for (tool, line, words) in cases {
        if !has(tool, "boot_code_as_made") {
            continue;
        }
        let made = shell(&format!("rm -f $F; truncate -s 32M $F; {line}"), folder.path(), &image);
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let mut sector = [0; 512];
        read_first(&image, &mut sector);
        assert_eq!(named(&sector), words, "{tool}");
    }
}

fn read_first(image: &Path, sector: &mut [u8]) {
    use std::os::unix::fs::FileExt;
    std::fs::File::open(image).unwrap().read_exact_at(sector, 0).unwrap();
}
