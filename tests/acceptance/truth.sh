#!/bin/bash
# truth: every filesystem that a maker here can make, with over 5,000 entries known beforehand, saved and taken out of the
# backup again with `get`: a table of how many entries are right, wrong, missing and more than there were.
test=truth
. "$(dirname "$0")/lib.sh"
needs truth mke2fs python3 || exit 0
[ "$(id -u)" = 0 ] || { echo "SKIPPED: truth: needs root, for the drivers that fill filesystems"; exit 0; }
# The rows run side by side, each with an image, a mount and a copy of its own in $scratch/rows.
rows_at_once=${ROWS_AT_ONCE:-$(nproc)}
clean() {
    local left
    for left in "$scratch"/rows/*/mnt; do umount -l "$left" 2>/dev/null || true; done
    for left in "$scratch"/rows/*/img.loop; do [ ! -e "$left" ] || losetup -d "$(cat "$left")" || true; done
    rm -rf "$scratch"
}
trap clean EXIT

# The trees, and what is known of them, once for all rows.
mkdir "$scratch/rows"
for words in unix plain spread mac; do
    # plain is neither.
    tests/truth/grow "$scratch/$words" "${words#plain}"
done
# Names without blanks.
cp -al "$scratch/plain" "$scratch/flat"
find "$scratch/flat" -depth -name '* *' -execdir bash -c 'mv "$1" "${1// /_}"' - {} \;
for tree in unix plain spread mac flat; do tests/truth/compare --note "$scratch/$tree" "$scratch/$tree.noted"; done
printf '%-24s %8s %8s %8s %8s %8s\n' filesystem right wrong missing more seconds

# row NAME COMMAND...: runs it when there is room, in a folder and a process of its own.
row() {
    local folder=$scratch/rows/$1
    while [ "$(jobs -rp | wc -l)" -ge "$rows_at_once" ]; do wait -n || true; done
    mkdir -p "$folder/mnt"
    (
        scratch=$folder mnt=$folder/mnt out=$folder/out img=$folder/img trees=${folder%/rows/*} began=$SECONDS
        "${@:2}"
        rm -rf "$folder"
    ) &
}

# table NAME TREE WITHOUT: saves $img, takes everything out of it and compares with what is known of the tree.
table() {
    local right wrong missing more
    save "$img" --whole --no-check
    "$SELFSAME" get -r --devices --progress=none "$backup" 0 "$out" >"$scratch/said" 2>&1 || sed 's/^/    /' "$scratch/said" | head -n 5
    mkdir -p "$out"
    read -r right wrong missing more < <(tests/truth/compare "$2" "$out" "$3" 2>"$scratch/differences")
    printf '%-24s %8d %8d %8d %8d %8d\n' "$1" "$right" "$wrong" "$missing" "$more" $((SECONDS - began))
    [ "$((right > 5000 && wrong + missing + more == 0))" = 1 ] || { cat "$scratch/differences"; exit 1; }
}

# made NAME TREE WITHOUT MIB COMMAND: the maker fills it by itself: $F is the image, $D the tree.
made() { row "$1" make "$@"; }
make() {
    [ "$4" = 0 ] || truncate -s "${4}M" "$img"
    if F=$img D=$trees/$2 bash -euo pipefail -c "$5" >"$scratch/made" 2>&1; then
        table "$1" "$trees/$2.noted" "$3"
    else
        tail -n 3 "$scratch/made"
        echo "SKIPPED: truth_$1: needs a maker that works"
    fi
}

# driven NAME TREE WITHOUT MIB MAKER MOUNT [DIRTY]: a driver fills it: MOUNT mounts $F at $M. With DIRTY the image is copied
# while it is mounted, after the newest files were flushed to it.
driven() { row "$1" drive "$@"; }
drive() {
    local truth=$trees/$2.noted
    truncate -s "${4}M" "$img"
    if ! F=$img M=$mnt bash -euo pipefail -c "$5; $6" >"$scratch/made" 2>&1; then
        tail -n 3 "$scratch/made"
        echo "SKIPPED: truth_$1: needs a maker and a driver that work"
        return
    fi
    cp -a "$trees/$2/." "$mnt/" 2>"$scratch/copied" || tail -n 1 "$scratch/copied"
    if [ -n "${7-}" ]; then
        sync -f "$mnt"
        cp -a "$trees/$2" "$scratch/dirty"
        python3 - "$mnt" "$scratch/dirty" <<'END'
import os, sys
# Each is flushed by itself, so that it is in the journal and nowhere else yet.
def flush(path):
    fd = os.open(path, os.O_RDONLY)
    os.fsync(fd)
    os.close(fd)
for root in sys.argv[1:]:
    new = f"{root}/newest"
    os.mkdir(new)
    for n in range(60):
        with open(f"{new}/{n}", "wb") as file:
            file.write(f"newest file {n}\n".encode() * n * 9)
        os.utime(f"{new}/{n}", (1_700_000_000, 1_700_000_000))
        flush(f"{new}/{n}")
    for n in range(0, 60, 7):
        os.remove(f"{new}/{n}")
    # A name that is new in the same transaction takes the removals with it.
    open(f"{new}/last", "wb").close()
    os.utime(f"{new}/last", (1_700_000_000, 1_700_000_000))
    flush(f"{new}/last")
    flush(new)
END
        cp --sparse=always "$img" "$img.copy"
        truth=$scratch/dirty.noted
        tests/truth/compare --note "$scratch/dirty" "$truth"
        umount "$mnt"
        mv "$img.copy" "$img"
    else
        umount "$mnt"
    fi
    # Drivers that want a device.
    [ ! -e "$img.loop" ] || { losetup -d "$(cat "$img.loop")" && rm "$img.loop"; }
    table "$1" "$truth" "$3"
}

kernel='mount -o loop "$F" "$M"'
for variant in "ext4:-t ext4" "ext4-1k:-t ext4 -b 1024" "ext4-old:-t ext4 -O ^metadata_csum,^64bit -I 128" "ext3:-t ext3" \
    "ext2:-t ext2" "ext4-bigalloc:-t ext4 -O bigalloc" "ext4-inline:-t ext4 -O inline_data" \
    "ext4-large-dir:-t ext4 -O large_dir,ea_inode" "ext4-meta-bg:-t ext4 -O meta_bg,^resize_inode"; do
    driven "${variant%%:*}" unix "" 600 "mke2fs -qF ${variant#*:} -N 9000 \"\$F\"" "$kernel"
done
driven ext4-dirty unix dirtime 600 'mke2fs -qF -t ext4 -N 9000 "$F"' "$kernel" dirty
driven ext3-dirty unix dirtime 600 'mke2fs -qF -t ext3 -N 9000 "$F"' "$kernel" dirty
driven xfs unix "" 600 'mkfs.xfs -qf "$F"' "$kernel"
driven xfs-1k unix "" 600 'mkfs.xfs -qf -b size=1024 -n size=8192 "$F"' "$kernel"
# No driver here writes these: writers that are not ours do. Names of HFS+ come out composed.
# Of the whole workspace: so nothing is compiled anew that its tests have compiled.
cargo build --quiet --workspace --example fill
for kind in hfsplus hfsx apfs; do
    made $kind mac nfc 0 "target/debug/examples/fill $kind \"\$D\" \"\$F\" 160"
done
# Kernels of today do not write it.
made xfs-v4 flat xattrs,links,time,dirtime 600 'tests/truth/proto "$D" >"$F.proto"; mkfs.xfs -qf -m crc=0 -p "$F.proto" "$F"'
driven xfs-dirty unix dirtime 600 'mkfs.xfs -qf "$F"' "$kernel" dirty
driven btrfs unix "" 600 'mkfs.btrfs -q "$F"' "$kernel"
driven btrfs-zstd unix "" 600 'mkfs.btrfs -q "$F"' 'mount -o loop,compress-force=zstd "$F" "$M"'
driven btrfs-lzo unix "" 600 'mkfs.btrfs -q "$F"' 'mount -o loop,compress-force=lzo "$F" "$M"'
driven btrfs-zlib unix "" 600 'mkfs.btrfs -q "$F"' 'mount -o loop,compress-force=zlib "$F" "$M"'
# ntfs-3g gives every file the mode of the mount, and directories sizes of their own.
plain=mode,owner,xattrs,links,dirtime
driven ntfs plain $plain 300 'mkntfs -qFf "$F"' 'ntfs-3g "$F" "$M"'
driven ntfs-512 plain $plain 300 'mkntfs -qFf -c 512 "$F"' 'ntfs-3g "$F" "$M"'
driven ntfs-compressed plain $plain 300 'mkntfs -qFf "$F"' \
    'ntfs-3g -o compression "$F" "$M"; setfattr -h -v 0x00000800 -n system.ntfs_attrib "$M"'
driven exfat plain $plain 300 'mkfs.exfat "$F"' 'L=$(losetup -f --show "$F"); echo "$L" >"$F.loop"; mount.exfat-fuse "$L" "$M"'
fill_fat='shopt -s dotglob; mcopy -s -m -Q -i "$F" "$D"/* ::'
made fat32 spread $plain 300 "mkfs.fat -F 32 \"\$F\"; $fill_fat"
made fat16 spread $plain 300 "mkfs.fat -F 16 \"\$F\"; $fill_fat"
made squashfs unix dirtime 0 'mksquashfs "$D" "$F" -quiet -no-progress -noappend -comp gzip'
made squashfs-zstd unix dirtime 0 'mksquashfs "$D" "$F" -quiet -no-progress -noappend -comp zstd'
made squashfs-xz unix dirtime 0 'mksquashfs "$D" "$F" -quiet -no-progress -noappend -comp xz -b 1M'
made squashfs-lz4 unix dirtime 0 'mksquashfs "$D" "$F" -quiet -no-progress -noappend -comp lz4 -no-fragments'
made iso-rock-ridge unix dirtime,xattrs,links 0 'xorriso -as mkisofs -quiet -R -o "$F" "$D"'
# This maker never ends over long links, and Joliet has no letters beyond 16 bits.
made iso-genisoimage spread $plain 0 'genisoimage -quiet -r -J -joliet-long -o "$F" "$D"'
made udf spread $plain,time 0 'genisoimage -quiet -udf -r -J -joliet-long -allow-limited-size -o "$F" "$D"'

wait
# A row that was right is gone.
wrong=$(ls "$scratch/rows")
[ -z "$wrong" ] || fail "entries that are not as they were:" $wrong
passed truth
