//! Every kind that a tool of Debian can make.

use super::mutated::is_damaged;
use super::{Tags, blkid, has, recognise, shell, tags};
use disk::probe::Content;
use std::path::Path;

/// Name of the case, MiB, the tool, and the line that makes it: `$F` is the image, `$D` a folder with files.
const CASES: &[(&str, u32, &str, &str)] = &[
    ("ext2", 8, "mkfs.ext2", "mkfs.ext2 -q -L two $F"),
    ("ext3", 16, "mkfs.ext3", "mkfs.ext3 -q -L 'a home' $F"),
    ("ext4", 16, "mkfs.ext4", "mkfs.ext4 -q -L four $F"),
    ("ext4-64k", 64, "mkfs.ext4", "mkfs.ext4 -q -F -b 65536 $F"),
    ("jbd", 16, "mkfs.ext4", "mkfs.ext4 -q -O journal_dev -b 4096 -L jr $F"),
    ("fat12", 2, "mkfs.fat", "mkfs.fat -F 12 -n TWELVE $F"),
    ("fat16", 32, "mkfs.fat", "mkfs.fat -F 16 -n SIXTEEN $F"),
    ("fat16-unnamed", 32, "mkfs.fat", "mkfs.fat -F 16 $F"),
    ("fat32", 64, "mkfs.fat", "mkfs.fat -F 32 -n 'DELL UTIL' -i 20080624 $F"),
    ("fat32-unnamed", 64, "mkfs.fat", "mkfs.fat -F 32 $F"),
    ("exfat", 16, "mkfs.exfat", "mkfs.exfat -L exlabel $F"),
    ("ntfs", 16, "mkfs.ntfs", "mkfs.ntfs -q -F -f -L WINXP $F"),
    ("ntfs-64k", 32, "mkfs.ntfs", "mkfs.ntfs -q -F -f -c 65536 $F"),
    ("xfs", 320, "mkfs.xfs", "mkfs.xfs -q -L xlabel $F"),
    ("xfs-v4", 320, "mkfs.xfs", "mkfs.xfs -q -m crc=0 $F"),
    (
        "xfs-external-log",
        64,
        "mkfs.xfs",
        "truncate -s 320M data; mkfs.xfs -q -l logdev=$F,size=64m data; rm data",
    ),
    ("btrfs", 128, "mkfs.btrfs", "mkfs.btrfs -q -L blabel $F"),
    ("f2fs", 64, "mkfs.f2fs", "mkfs.f2fs -q -l flabel $F"),
    ("f2fs-checksum", 64, "mkfs.f2fs", "mkfs.f2fs -q -O extra_attr,sb_checksum $F"),
    ("jfs", 32, "mkfs.jfs", "mkfs.jfs -q -L jlabel $F"),
    ("reiserfs", 64, "mkreiserfs", "mkreiserfs -q -ff -l rlabel $F"),
    ("nilfs2", 192, "mkfs.nilfs2", "mkfs.nilfs2 -q -L nlabel $F"),
    ("apfs", 200, "mkapfs", "mkapfs -L alabel $F"),
    ("hfs", 16, "hformat", "hformat -l hlabel $F"),
    ("ufs1", 0, "makefs", "makefs -t ffs -s 8m -o version=1 $F $D"),
    ("ufs1-big-endian", 0, "makefs", "makefs -t ffs -s 8m -o version=1 -B big $F $D"),
    // makefs gives no name: fs_volname lies 680 bytes into the superblock at 8 KiB.
    (
        "ufs2",
        0,
        "makefs",
        "makefs -t ffs -s 8m -o version=2 $F $D; printf ulabel | dd of=$F bs=1 seek=8872 conv=notrunc",
    ),
    ("ufs2-big-endian", 0, "makefs", "makefs -t ffs -s 8m -o version=2 -B big $F $D"),
    ("udf", 16, "mkudffs", "mkudffs --label=ulabel $F"),
    ("udf-512", 16, "mkudffs", "mkudffs -b 512 --label=Müll $F"),
    ("iso", 0, "genisoimage", "genisoimage -quiet -V ISOLABEL -o $F $D"),
    ("iso-joliet", 0, "genisoimage", "genisoimage -quiet -J -V JolietLabel -o $F $D"),
    ("squashfs", 0, "mksquashfs", "mksquashfs $D $F -quiet -no-progress"),
    // This version of mkfs.erofs gives no name: volume_name lies 64 bytes into the superblock.
    (
        "erofs",
        0,
        "mkfs.erofs",
        "mkfs.erofs -E nosbcrc $F $D; printf elabel | dd of=$F bs=1 seek=1088 conv=notrunc",
    ),
    ("erofs-checksum", 0, "mkfs.erofs", "mkfs.erofs $F $D"),
    ("cramfs", 0, "mkfs.cramfs", "mkfs.cramfs -n clabel $D $F"),
    ("romfs", 0, "genromfs", "genromfs -V rlabel -d $D -f $F"),
    ("minix1", 4, "mkfs.minix", "mkfs.minix -1 $F"),
    ("minix2", 4, "mkfs.minix", "mkfs.minix -2 $F"),
    ("minix3", 4, "mkfs.minix", "mkfs.minix -3 $F"),
    ("swap", 4, "mkswap", "mkswap -q -L slabel $F"),
    ("swsuspend", 4, "mkswap", "mkswap -q -L zz $F; printf S1SUSPEND | dd of=$F bs=1 seek=4086 conv=notrunc"),
    ("swap0", 4, "dd", "printf SWAP-SPACE | dd of=$F bs=1 seek=4086 conv=notrunc"),
    ("luks1", 8, "cryptsetup", "printf pw | cryptsetup -q luksFormat --type luks1 --iter-time 1 $F -"),
    (
        "luks2",
        32,
        "cryptsetup",
        "printf pw | cryptsetup -q luksFormat --type luks2 --pbkdf pbkdf2 --iter-time 1 --label ll $F -",
    ),
    ("bcache-cache", 256, "make-bcache", "make-bcache -C $F"),
    ("bcache-backing", 64, "make-bcache", "make-bcache -B $F"),
    ("drbd-8", 64, "drbdmeta", "drbdmeta --force 0 v08 $F internal create-md"),
    ("drbd-9", 64, "drbdmeta", "drbdmeta --force 0 v09 $F internal create-md 1"),
];

/// Why blkid and we do not say the same, if we do not: it must recognise every case.
fn difference(want: &Tags, content: Option<&Content>) -> Option<String> {
    let got = tags(content);
    let only = content.is_none_or(|content| content.also.is_empty());
    match want {
        [None, ..] => Some("blkid says nothing".to_owned()),
        _ if *want != got => Some(format!("blkid {want:?}, we {got:?}")),
        _ if content.is_some_and(is_damaged) => Some(format!("whole, but {content:?}")),
        _ => (!only).then(|| format!("also found: {content:?}")),
    }
}

/// Makes one image after the other and shows it with its name. A tool that fails is an error; one that is
/// not installed is said to be skipped by `test`.
pub(crate) fn each(test: &str, mut look: impl FnMut(&str, &Path) -> Option<String>) {
    let folder = tempfile::tempdir().unwrap();
    let files = "mkdir $D; seq 2000 > $D/numbers; ln -s target $D/link";
    assert!(shell(files, folder.path(), folder.path()).status.success());
    let mut wrong = vec![];
    for (name, mib, tool, line) in CASES {
        if !has("blkid", test) || !has(tool, test) {
            continue;
        }
        let image = folder.path().join(name);
        let truncate = if *mib > 0 { format!("truncate -s {mib}M $F\n") } else { String::new() };
        let made = shell(&(truncate + line), folder.path(), &image);
        if !made.status.success() {
            wrong.push(format!("{name}: {tool} failed: {}", String::from_utf8_lossy(&made.stderr)));
            continue;
        }
        wrong.extend(look(name, &image).map(|why| format!("{name}: {why}")));
        std::fs::remove_file(&image).unwrap();
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn as_blkid_says() {
    each("as_blkid_says", |name, image| {
        let content = recognise(image);
        println!("{name}: {}", content.as_ref().map_or("nothing".to_owned(), Content::sentence));
        difference(&blkid(image), content.as_ref())
    });
}

/// LVM makes its labels on block devices only.
#[test]
fn lvm_as_blkid_says() {
    let test = "lvm_as_blkid_says";
    if !has("blkid", test) || !has("pvcreate", test) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let image = folder.path().join("image");
    assert!(shell("truncate -s 16M $F", folder.path(), &image).status.success());
    let Some(device) = testkit::LoopDevice::attach(&image, 512) else { return };
    let run = |line: &str| {
        let made = shell(line, folder.path(), device.path());
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let content = recognise(&image).unwrap();
        assert_eq!(difference(&blkid(&image), Some(&content)), None);
        content.title
    };
    assert_eq!(run("pvcreate -q --devices $F $F"), "LVM2 physical volume");
    let vg = "selfsame_probe_test";
    assert_eq!(run(&format!("vgcreate -q --devices $F {vg} $F")), format!("LVM2 physical volume of {vg}"));
}
