//! Small filesystems of every kind, with a little of everything in them.

use crate::Result;
use crate::shell::{ROOT, Shell, is_root};
use std::path::{Path, PathBuf};

/// One kind: its name, MiB of the image (0: its maker decides), and what makes the file `$F` from the tree `$D`; `$M` is a folder
/// to mount at.
pub(super) struct Kind {
    pub(super) name: &'static str,
    mib: u64,
    make: &'static str,
}

/// By the kernel's own driver.
const DRIVEN: &str =
    r#"mount -o loop "$F" "$M"; trap 'umount "$M"' EXIT; cp -a "$D/." "$M/"; rm -rf "$M/gone""#;

/// By writers that are not ours, where no driver here writes. Of the whole workspace: so nothing is compiled anew that
/// its tests have compiled.
const FILLED: &str = r#"cd "$ROOT"; "${CARGO:-cargo}" build --quiet --locked --workspace --example fill
    "${CARGO_TARGET_DIR:-target}/debug/examples/fill""#;

/// Every kind that a maker here can make.
pub(super) const KINDS: &[Kind] = &[
    Kind { name: "ext4", mib: 16, make: r#"mke2fs -qF -t ext4 "$F"; DRIVEN"# },
    Kind { name: "ext3", mib: 16, make: r#"mke2fs -qF -t ext3 -b 1024 "$F"; DRIVEN"# },
    Kind { name: "ext2", mib: 16, make: r#"mke2fs -qF -t ext2 -d "$D" "$F""# },
    Kind {
        name: "ext4-dirty",
        mib: 16,
        make: r#"cp "$F" "$F.live"; mke2fs -qF -t ext4 "$F.live"; mount -o loop "$F.live" "$M"
            trap 'umount "$M"; rm -f "$F.live"' EXIT; cp -a "$D/." "$M/"; sync -f "$M"; rm -rf "$M/gone"
            echo new >"$M/new"; sync "$M/new"; cp --sparse=always "$F.live" "$F""#,
    },
    Kind {
        name: "fat12",
        mib: 4,
        make: r#"mkfs.fat -F 12 "$F"; mcopy -s -Q -i "$F" "$D"/* ::; mdeltree -i "$F" ::gone"#,
    },
    Kind {
        name: "fat16",
        mib: 24,
        make: r#"mkfs.fat -F 16 "$F"; mcopy -s -Q -i "$F" "$D"/* ::; mdeltree -i "$F" ::gone"#,
    },
    Kind {
        name: "fat32",
        mib: 40,
        make: r#"mkfs.fat -F 32 "$F"; mcopy -s -Q -i "$F" "$D"/* ::; mdeltree -i "$F" ::gone"#,
    },
    Kind {
        name: "exfat",
        mib: 16,
        make: r#"mkfs.exfat "$F"; L=$(losetup -f --show "$F"); mount.exfat-fuse "$L" "$M"
            trap 'umount "$M"; losetup -d "$L"' EXIT; cp -r "$D/." "$M/"; rm -rf "$M/gone""#,
    },
    Kind {
        name: "ntfs",
        mib: 24,
        make: r#"mkntfs -qFf "$F"; ntfs-3g -o compression "$F" "$M"; trap 'umount "$M"' EXIT
            setfattr -h -v 0x00000800 -n system.ntfs_attrib "$M"; cp -r "$D/." "$M/"; rm -rf "$M/gone""#,
    },
    Kind { name: "xfs", mib: 304, make: r#"mkfs.xfs -qf "$F"; DRIVEN"# },
    Kind {
        name: "xfs-v4",
        mib: 304,
        // Kernels of today do not write it, and its maker takes no names with blanks.
        make: r#"cp -r "$D" "$F.flat"; find "$F.flat" -name '* *' -print0 |
                while read -rd '' name; do mv "$name" "${name// /_}"; done
            "$ROOT/tests/truth/proto" "$F.flat" >"$F.proto"; mkfs.xfs -qf -m crc=0 -p "$F.proto" "$F""#,
    },
    Kind {
        name: "btrfs",
        mib: 128,
        make: r#"mkfs.btrfs -q "$F"; mount -o loop,compress-force=zstd "$F" "$M"
            trap 'umount "$M"' EXIT; cp -a "$D/." "$M/""#,
    },
    Kind { name: "hfsplus", mib: 0, make: r#"FILLED hfsplus "$D" "$F" 24"# },
    Kind { name: "hfsx", mib: 0, make: r#"FILLED hfsx "$D" "$F" 24"# },
    Kind { name: "apfs", mib: 0, make: r#"FILLED apfs "$D" "$F" 24"# },
    Kind { name: "squashfs", mib: 0, make: r#"mksquashfs "$D" "$F" -quiet -no-progress -noappend"# },
    Kind { name: "iso9660", mib: 0, make: r#"genisoimage -quiet -r -J -o "$F" "$D""# },
    Kind { name: "udf", mib: 0, make: r#"genisoimage -quiet -udf -r -o "$F" "$D""# },
];

/// The tree: names, sizes, a directory of several blocks, depth, a compressible file, and `gone`, to be deleted.
const TREE: &str = r#"
mkdir -p "$D/many" "$D/deep/a/b/c/d" "$D/gone"
for n in $(seq 150); do echo "file $n" >"$D/many/a file with the number $n"; done
for n in 0 1 511 512 4096 4097 70000; do head -c "$n" /dev/zero | tr '\0' x >"$D/size $n"; done
seq 60000 >"$D/numbers"
echo bottom >"$D/deep/a/b/c/d/grün"
for n in $(seq 12); do seq "$n" $((n * 900)) >"$D/gone/$n"; done
"#;

/// Makes `kind` in `folder`; `None`, and says so, where a tool or a driver is missing.
pub(super) fn make(kind: &Kind, folder: &Path) -> Result<Option<PathBuf>> {
    let image = folder.join(kind.name);
    let (tree, mount) = (folder.join("tree"), folder.join("mnt"));
    let mut shell = Shell::new();
    shell.set("ROOT", ROOT);
    shell.set("F", &image);
    shell.set("D", &tree);
    shell.set("M", &mount);
    if !tree.exists() {
        std::fs::create_dir_all(&mount)?;
        shell.run(TREE)?;
    }
    if kind.mib > 0 {
        shell.run(&format!("truncate -s {}M \"$F\"", kind.mib))?;
    }
    let make = kind.make.replace("DRIVEN", DRIVEN).replace("FILLED", FILLED);
    match shell.run(&make) {
        Ok(_) => Ok(Some(image)),
        Err(error) => {
            let why = if is_root() { error.to_string() } else { "root".to_owned() };
            println!("SKIPPED: mutate_{}: needs {}", kind.name, why.lines().last().unwrap_or_default());
            Ok(None)
        }
    }
}
