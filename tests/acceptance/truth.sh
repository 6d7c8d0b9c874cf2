#!/bin/bash
# truth: every filesystem that a maker here can make, with over 5,000 entries known beforehand, saved and taken out of the
# backup again with `get`: a table of how many entries are right, wrong, missing and more than there were.
test=truth
. "$(dirname "$0")/lib.sh"
needs truth mke2fs python3 || exit 0
[ "$(id -u)" = 0 ] || { echo "SKIPPED: truth: needs root, for the drivers that fill filesystems"; exit 0; }
mnt=$scratch/mnt out=$scratch/out img=$scratch/img
mkdir "$mnt"
trap 'umount -l "$mnt" 2>/dev/null || true; release; rm -rf "$scratch"' EXIT
bad=0

tests/truth/grow "$scratch/unix" unix
tests/truth/grow "$scratch/plain"
tests/truth/grow "$scratch/spread" spread
printf '%-24s %8s %8s %8s %8s %8s\n' filesystem right wrong missing more seconds
began=$SECONDS

# table NAME TRUTH WITHOUT: saves $img, takes everything out of it and compares.
table() {
    local right wrong missing more
    save "$img" --whole --no-check
    rm -rf "$out"
    "$SELFSAME" get -r --devices --progress=none "$backup" 0 "$out" >"$scratch/said" 2>&1 || sed 's/^/    /' "$scratch/said" | head -n 5
    mkdir -p "$out"
    read -r right wrong missing more < <(tests/truth/compare "$2" "$out" "$3" 2>"$scratch/differences")
    printf '%-24s %8d %8d %8d %8d %8d\n' "$1" "$right" "$wrong" "$missing" "$more" $((SECONDS - began))
    began=$SECONDS
    if [ "$((wrong + missing + more))" != 0 ]; then
        cat "$scratch/differences"
        bad=1
    fi
    rm -rf "$backup" "$out" "$img"
}

# made NAME TRUTH WITHOUT MIB COMMAND: the maker fills it by itself: $F is the image, $D the tree.
made() {
    rm -f "$img"
    [ "$4" = 0 ] || truncate -s "${4}M" "$img"
    if F=$img D=$2 bash -euo pipefail -c "$5" >"$scratch/made" 2>&1; then
        table "$1" "$2" "$3"
    else
        tail -n 3 "$scratch/made"
        echo "SKIPPED: truth_$1: needs a maker that works"
    fi
}

# driven NAME TRUTH WITHOUT MIB MAKER MOUNT [DIRTY]: a driver fills it: MOUNT mounts $F at $M. With DIRTY the image is copied
# while it is mounted, after the newest files were flushed to it.
driven() {
    local truth=$2
    rm -f "$img"
    truncate -s "${4}M" "$img"
    if ! F=$img M=$mnt bash -euo pipefail -c "$5; $6" >"$scratch/made" 2>&1; then
        tail -n 3 "$scratch/made"
        echo "SKIPPED: truth_$1: needs a maker and a driver that work"
        return
    fi
    cp -a "$2/." "$mnt/" 2>"$scratch/copied" || tail -n 1 "$scratch/copied"
    if [ -n "${7-}" ]; then
        sync -f "$mnt"
        cp -a "$2" "$scratch/dirty"
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
        truth=$scratch/dirty
        umount "$mnt"
        mv "$img.copy" "$img"
    else
        umount "$mnt"
    fi
    # Drivers that want a device.
    [ ! -e "$img.loop" ] || { losetup -d "$(cat "$img.loop")" && rm "$img.loop"; }
    table "$1" "$truth" "$3"
    rm -rf "$scratch/dirty"
}

kernel='mount -o loop "$F" "$M"'
for variant in "ext4:-t ext4" "ext4-1k:-t ext4 -b 1024" "ext4-old:-t ext4 -O ^metadata_csum,^64bit -I 128" "ext3:-t ext3" \
    "ext2:-t ext2" "ext4-bigalloc:-t ext4 -O bigalloc" "ext4-inline:-t ext4 -O inline_data" \
    "ext4-large-dir:-t ext4 -O large_dir,ea_inode" "ext4-meta-bg:-t ext4 -O meta_bg,^resize_inode"; do
    driven "${variant%%:*}" "$scratch/unix" "" 600 "mke2fs -qF ${variant#*:} -N 9000 \"\$F\"" "$kernel"
done
driven ext4-dirty "$scratch/unix" dirtime 600 'mke2fs -qF -t ext4 -N 9000 "$F"' "$kernel" dirty
driven ext3-dirty "$scratch/unix" dirtime 600 'mke2fs -qF -t ext3 -N 9000 "$F"' "$kernel" dirty
driven xfs "$scratch/unix" "" 600 'mkfs.xfs -qf "$F"' "$kernel"
driven xfs-1k "$scratch/unix" "" 600 'mkfs.xfs -qf -b size=1024 -n size=8192 "$F"' "$kernel"
driven xfs-v4 "$scratch/unix" "" 600 'mkfs.xfs -qf -m crc=0 "$F"' "$kernel"
driven xfs-dirty "$scratch/unix" dirtime 600 'mkfs.xfs -qf "$F"' "$kernel" dirty
driven btrfs "$scratch/unix" "" 600 'mkfs.btrfs -q "$F"' "$kernel"
driven btrfs-zstd "$scratch/unix" "" 600 'mkfs.btrfs -q "$F"' 'mount -o loop,compress-force=zstd "$F" "$M"'
driven btrfs-lzo "$scratch/unix" "" 600 'mkfs.btrfs -q "$F"' 'mount -o loop,compress-force=lzo "$F" "$M"'
driven btrfs-zlib "$scratch/unix" "" 600 'mkfs.btrfs -q "$F"' 'mount -o loop,compress-force=zlib "$F" "$M"'
# ntfs-3g gives every file the mode of the mount, and directories sizes of their own.
plain=mode,owner,xattrs,links,dirtime
driven ntfs "$scratch/plain" $plain 300 'mkntfs -qFf "$F"' 'ntfs-3g "$F" "$M"'
driven ntfs-512 "$scratch/plain" $plain 300 'mkntfs -qFf -c 512 "$F"' 'ntfs-3g "$F" "$M"'
driven ntfs-compressed "$scratch/plain" $plain 300 'mkntfs -qFf "$F"' \
    'ntfs-3g -o compression "$F" "$M"; setfattr -h -v 0x00000800 -n system.ntfs_attrib "$M"'
driven exfat "$scratch/plain" $plain 300 'mkfs.exfat "$F"' 'L=$(losetup -f --show "$F"); echo "$L" >"$F.loop"; mount.exfat-fuse "$L" "$M"'
fill_fat='shopt -s dotglob; mcopy -s -m -Q -i "$F" "$D"/* ::'
made fat32 "$scratch/spread" $plain 300 "mkfs.fat -F 32 \"\$F\"; $fill_fat"
made fat16 "$scratch/spread" $plain 300 "mkfs.fat -F 16 \"\$F\"; $fill_fat"
made squashfs "$scratch/unix" dirtime 0 'mksquashfs "$D" "$F" -quiet -no-progress -noappend -comp gzip'
made squashfs-zstd "$scratch/unix" dirtime 0 'mksquashfs "$D" "$F" -quiet -no-progress -noappend -comp zstd'
made squashfs-xz "$scratch/unix" dirtime 0 'mksquashfs "$D" "$F" -quiet -no-progress -noappend -comp xz -b 1M'
made squashfs-lz4 "$scratch/unix" dirtime 0 'mksquashfs "$D" "$F" -quiet -no-progress -noappend -comp lz4 -no-fragments'
made iso-rock-ridge "$scratch/unix" dirtime,xattrs,links 0 'xorriso -as mkisofs -quiet -R -o "$F" "$D"'
# This maker never ends over long links, and Joliet has no letters beyond 16 bits.
made iso-genisoimage "$scratch/spread" $plain 0 'genisoimage -quiet -r -J -joliet-long -o "$F" "$D"'
made udf "$scratch/spread" $plain,time 0 'genisoimage -quiet -udf -r -J -joliet-long -allow-limited-size -o "$F" "$D"'

[ $bad = 0 ] || fail "entries that are not as they were"
passed truth
