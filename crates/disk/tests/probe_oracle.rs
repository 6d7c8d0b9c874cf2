//! Every filesystem that a tool here can make, recognised as `blkid -p` does.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

use block::{ByteRange, ReadAt, Result};
use disk::probe::{Content, identify};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Command;

struct Image(std::fs::File, u64);

impl ReadAt for Image {
    fn size(&self) -> u64 {
        self.1
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<()> {
        ByteRange::within(self.1, offset, buf.len() as u64)?;
        self.0.read_exact_at(buf, offset).map_err(|error| block::Error::io(error, "image"))
    }
}

fn recognise(path: &Path) -> Option<Content> {
    let file = std::fs::File::open(path).unwrap();
    let size = file.metadata().unwrap().len();
    identify(&Image(file, size)).unwrap()
}

/// Values of blkid, without the escapes of its export format.
fn blkid(path: &Path, name: &str) -> Option<String> {
    let output = Command::new("blkid").args(["-p", "-o", "value", "-s", name]).arg(path).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).trim_end_matches('\n').to_owned();
    (!text.is_empty()).then_some(text)
}

/// Name of the case, MiB, and the command that makes it: `$F` is the image, `$D` a folder with a file.
const CASES: &[(&str, u32, &str)] = &[
    ("ext2", 8, "mkfs.ext2 -q -L two $F"),
    ("ext3", 16, "mkfs.ext3 -q -L 'a home' $F"),
    ("ext4", 16, "mkfs.ext4 -q -L four $F"),
    ("ext4-64k", 64, "mkfs.ext4 -q -F -b 65536 $F"),
    ("jbd", 16, "mkfs.ext4 -q -O journal_dev -b 4096 -L jr $F"),
    ("fat12", 2, "mkfs.fat -F 12 -n TWELVE $F"),
    ("fat16", 32, "mkfs.fat -F 16 -n SIXTEEN $F"),
    ("fat16-unnamed", 32, "mkfs.fat -F 16 $F"),
    ("fat32", 64, "mkfs.fat -F 32 -n 'DELL UTIL' -i 20080624 $F"),
    ("fat32-unnamed", 64, "mkfs.fat -F 32 $F"),
    ("exfat", 16, "mkfs.exfat -L exlabel $F"),
    ("ntfs", 16, "mkfs.ntfs -q -F -f -L WINXP $F"),
    ("ntfs-64k", 32, "mkfs.ntfs -q -F -f -c 65536 $F"),
    ("xfs", 320, "mkfs.xfs -q -L xlabel $F"),
    ("btrfs", 128, "mkfs.btrfs -q -L blabel $F"),
    ("f2fs", 64, "mkfs.f2fs -q -l flabel $F"),
    ("jfs", 32, "mkfs.jfs -q -L jlabel $F"),
    ("reiserfs", 64, "mkreiserfs -q -ff -l rlabel $F"),
    ("nilfs2", 192, "mkfs.nilfs2 -q -L nlabel $F"),
    ("udf", 16, "mkudffs --label=ulabel $F"),
    ("udf-512", 16, "mkudffs -b 512 --label=Müll $F"),
    ("iso", 0, "genisoimage -quiet -V ISOLABEL -o $F $D"),
    ("iso-joliet", 0, "genisoimage -quiet -J -V JolietLabel -o $F $D"),
    ("squashfs", 0, "mksquashfs $D $F -quiet -no-progress"),
    ("erofs", 0, "mkfs.erofs -L elabel $F $D"),
    ("cramfs", 0, "mkfs.cramfs -n clabel $D $F"),
    ("romfs", 0, "genromfs -V rlabel -d $D -f $F"),
    ("minix1", 4, "mkfs.minix -1 $F"),
    ("minix2", 4, "mkfs.minix -2 $F"),
    ("minix3", 4, "mkfs.minix -3 $F"),
    ("swap", 4, "mkswap -q -L slabel $F"),
    (
        "swsuspend",
        4,
        "mkswap -q -L zz $F; printf S1SUSPEND | dd of=$F bs=1 seek=4086 conv=notrunc status=none",
    ),
    ("swap0", 4, "printf SWAP-SPACE | dd of=$F bs=1 seek=4086 conv=notrunc status=none"),
    ("luks1", 8, "printf pw | cryptsetup -q luksFormat --type luks1 --iter-time 1 $F -"),
    (
        "luks2",
        32,
        "printf pw | cryptsetup -q luksFormat --type luks2 --pbkdf pbkdf2 --iter-time 1 --label ll $F -",
    ),
    (
        "lvm",
        16,
        "L=$(losetup -f --show $F); pvcreate -q --config 'devices{scan_lvs=0}' $L; R=$?; losetup -d $L; exit $R",
    ),
    ("bcache", 16, "make-bcache -C $F"),
];

#[test]
fn as_blkid_says() {
    let folder = tempfile::tempdir().unwrap();
    let files = folder.path().join("files");
    std::fs::create_dir(&files).unwrap();
    std::os::unix::fs::symlink("target", files.join("link")).unwrap();
    let mut wrong = vec![];
    for (name, mib, command) in CASES {
        let image = folder.path().join(name);
        let truncate = if *mib > 0 { format!("truncate -s {mib}M $F && ") } else { String::new() };
        let script = format!("export PATH=$PATH:/usr/sbin:/sbin; {truncate}{{ {command}; }}");
        let made =
            Command::new("sh").args(["-c", &script]).env("F", &image).env("D", &files).output().unwrap();
        if !made.status.success() {
            let tool = command.split(' ').next().unwrap();
            let why = String::from_utf8_lossy(&made.stderr).trim().replace('\n', "; ");
            println!("SKIPPED: as_blkid_says {name}: needs {tool} ({why})");
            continue;
        }
        let want = ["TYPE", "LABEL", "UUID", "VERSION"].map(|tag| blkid(&image, tag));
        let content = recognise(&image);
        let got = content.as_ref().map_or([None, None, None, None], |c| {
            [Some(c.type_name.to_owned()), c.label.clone(), c.uuid.clone(), c.version.clone()]
        });
        println!("{name}: {}", content.as_ref().map_or("nothing".to_owned(), Content::sentence));
        if want != got || content.is_some_and(|content| !content.also.is_empty() && *name != "iso") {
            wrong.push(format!("{name}: blkid {want:?}, we {got:?}"));
        }
        std::fs::remove_file(&image).unwrap();
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
