#!/bin/bash
# skip_free: a backup without the free space of its filesystems, restored over a disk full of something else: every
# filesystem is sound and has the same files, also those that nobody closed. What is not understood is kept whole.
test=skip_free
. "$(dirname "$0")/lib.sh"
needs skip_free sfdisk mkfs.ext4 mkfs.ext3 mkfs.ntfs ntfs-3g mkfs.vfat mcopy mkfs.xfs xfs_repair mkfs.btrfs losetup || exit 0
if [ "$(id -u)" -ne 0 ] || ! losetup -f >/dev/null 2>&1; then
    echo "SKIPPED: skip_free: needs root and loop devices"
    exit 0
fi
mount=$scratch/mount
mkdir "$mount"
trap 'umount -q "$mount" || true; release; rm -rf "$scratch"' EXIT

# mounted FILE TYPE OPTIONS COMMAND...: the command runs in the filesystem's folder.
mounted() {
    local file=$1 type=$2 options=$3
    shift 3
    case $type in
        ntfs) ntfs-3g -o "$options" "$file" "$mount" ;;
        *) mount -t "$type" -o "loop,$options" "$file" "$mount" ;;
    esac
    (cd "$mount" && "$@") || fail "in $file: $*"
    umount "$mount"
    # FUSE writes its last bytes behind umount.
    sleep 0.2
}

# tree: files of many sizes, and junk that is deleted again.
tree() {
    local n
    mkdir -p many
    for ((n = 1; n <= 60; n++)); do head -c $((n * 1500)) /dev/urandom >"many/f$n"; done
    head -c "${1:-30}M" /dev/urandom >junk
    sync -f .
    rm junk many/f*3
    sync -f .
}

# list FILE TYPE: names and sums.
list() {
    if [ "$2" = vfat ]; then
        rm -rf "$scratch/out"
        mkdir "$scratch/out"
        mcopy -s -i "$1" ::/ "$scratch/out"
        (cd "$scratch/out" && find . -type f -print0 | sort -z | xargs -0 sha256sum)
        return
    fi
    mounted "$1" "$2" ro sh -c 'find . -type f -print0 | sort -z | xargs -0 sha256sum; find . -printf "%P %y\n" | sort'
}

# alike FILE FILE TYPE WORDS: the same names and sums.
alike() {
    list "$1" "$3" >"$scratch/list.1"
    list "$2" "$3" >"$scratch/list.2"
    [ -s "$scratch/list.1" ] || fail "no files in $1"
    diff "$scratch/list.1" "$scratch/list.2" || fail "$4"
}

# check FILE TYPE: by somebody else's fsck.
check() {
    case $2 in
        ext?) e2fsck -fn "$1" ;;
        ntfs) ntfsinfo -m "$1" ;;
        vfat) fsck.vfat -n "$1" ;;
        xfs) xfs_repair -n "$1" ;;
        btrfs) btrfs check --check-data-csum "$1" ;;
    esac >"$scratch/said" 2>&1 || { cat "$scratch/said"; fail "$2 in $1 is damaged"; }
}

# made NAME TYPE MIB: a filesystem with a tree, in $scratch/NAME.
made() {
    local file=$scratch/$1
    truncate -s "$3M" "$file"
    case $2 in
        ext?) "mkfs.$2" -q -F "$file" ;;
        ntfs) mkfs.ntfs -q -F -Q "$file" >/dev/null ;;
        vfat) mkfs.vfat -F 32 "$file" >/dev/null ;;
        *) "mkfs.$2" -q -f "$file" ;;
    esac
    if [ "$2" = vfat ]; then
        rm -rf "$scratch/in"
        mkdir "$scratch/in"
        (cd "$scratch/in" && tree && head -c 30M /dev/urandom >"$scratch/junk")
        mcopy -i "$file" "$scratch/junk" ::
        mcopy -s -i "$file" "$scratch/in/many" ::
        mdel -i "$file" ::junk
    else
        mounted "$file" "$2" rw tree
    fi
}

# put_together DISK PART...: a GPT disk of these files.
put_together() {
    local disk=$1 part at=2048 sectors
    shift
    : >"$scratch/table"
    for part; do
        sectors=$(($(stat -c %s "$scratch/$part") / 512))
        echo "start=$at, size=$sectors" >>"$scratch/table"
        at=$(((at + sectors + 2047) / 2048 * 2048))
    done
    truncate -s $(((at + 2048) * 512)) "$disk"
    { echo "label: gpt"; cat "$scratch/table"; } | sfdisk -q "$disk"
    at=2048
    for part; do
        sectors=$(($(stat -c %s "$scratch/$part") / 512))
        dd if="$scratch/$part" of="$disk" bs=1M seek=$((at / 2048)) conv=notrunc,sparse status=none
        at=$(((at + sectors + 2047) / 2048 * 2048))
    done
}

# take DISK NUMBER: partition NUMBER of it, into $scratch/part.
take() {
    local start sectors
    read -r start sectors < <(sfdisk -J "$1" | json "'%d %d' % [(p['start'], p['size']) for p in d['partitiontable']['partitions']][$2 - 1]")
    dd if="$1" of="$scratch/part" bs=1M skip=$((start / 2048)) count=$((sectors / 2048)) status=none
}

# filled FILE BYTES: a disk that held something else.
filled() { head -c "$2" /dev/zero | tr '\0' '\336' >"$1"; }

stored() { du -sb "$1" | cut -f1; }
free_space() { json "$1" <"$backup/manifest.json"; }

# onto_device DISK TARGET: restores $backup onto a loop device over TARGET.
onto_device() {
    local id
    filled "$2" "$(stat -c %s "$1")"
    loop "$2" 512
    id=$("$SELFSAME" disks --json | json "[x['id'] for x in d['disks'] if x['name'] == '$(basename "$device")'][0]")
    expect 0 "$SELFSAME" restore "$backup" "$device" --yes --target-id "$id" --progress=none
    grep -q 'free space' "$scratch/said" || fail "restore says nothing of the free space"
    ! grep -q 'and is the same$' "$scratch/said" || fail "restore claims that all is the same"
    release
}

# --- clean filesystems beside what is not known
types=(ext4 ntfs vfat xfs)
sizes=(96 64 64 320)
for n in 0 1 2 3; do made "p$n" "${types[n]}" "${sizes[n]}"; done
head -c 8M /dev/urandom >"$scratch/unknown"
disk=$scratch/disk.img
put_together "$disk" p0 p1 p2 p3 unknown
bytes=$(stat -c %s "$disk")

save "$disk"
full=$(stored "$backup")
rm -rf "$(dirname "$backup")"
for way in '--format zst' '--format raw' '--whole'; do
    # shellcheck disable=SC2086 # $way is words
    save "$disk" --skip-free --digest sha256 $way
    part=$(stored "$backup")
    [ "$way" = '--format raw' ] || [ $((part * 2)) -lt "$full" ] || fail "$part bytes without free space, $full with it"
    # shellcheck disable=SC2016
    free_space '[v["map"] for v in d["free_space"]]' | grep -qx "\['exact', 'exact', 'exact', 'exact', 'whole'\]" ||
        fail "maps: $(free_space '[(v["map"], v["why"]) for v in d["free_space"]]')"
    [ "$(free_space 'sum(v["absent"] for v in d["free_space"]) == d["totals"]["absent"] > 300 << 20')" = True ] ||
        fail "the manifest's absent bytes"
    expect 0 "$SELFSAME" verify "$backup" --progress=none
    expect 0 "$SELFSAME" verify "$backup" --against "$disk" --progress=none
    grep -q 'not compared' "$scratch/said" || fail "verify --against says nothing of what it left out"
    (cd "$backup" && sha256sum --strict --quiet -c SHA256SUMS) || fail "sha256sum -c"

    onto_device "$disk" "$scratch/target.img"
    filled "$scratch/file.img" "$bytes"
    expect 0 "$SELFSAME" restore "$backup" "$scratch/file.img" --force --progress=none
    [ "$(free_space 'd["digests"]["sha256"]')" = "$(sha256sum <"$scratch/file.img" | cut -d' ' -f1)" ] ||
        fail "SHA-256 with absent bytes as zeroes"
    sed -n 's/^    //p' "$backup/RESTORE.txt" | sed "s#^TARGET=.*#TARGET=$scratch/by-hand.img#" >"$scratch/commands"
    grep -q 'FREE SPACE WAS LEFT OUT' "$backup/RESTORE.txt" || fail "RESTORE.txt says nothing of the free space"
    filled "$scratch/by-hand.img" "$bytes"
    (cd "$backup" && expect 0 bash -euo pipefail "$scratch/commands")
    same "$scratch/file.img" "$scratch/by-hand.img"
    for target in target file; do
        for n in 0 1 2 3; do
            take "$scratch/$target.img" $((n + 1))
            check "$scratch/part" "${types[n]}"
            alike "$scratch/p$n" "$scratch/part" "${types[n]}" "files of ${types[n]} differ: $way, $target"
        done
        take "$scratch/$target.img" 5
        same "$scratch/unknown" "$scratch/part"
    done
    rm -rf "$(dirname "$backup")" "$scratch"/*target.img "$scratch/file.img" "$scratch/by-hand.img"
done
expect 0 "$SELFSAME" show "$disk" --map
[ "$(grep -c '^map: partition .*(exact)' "$scratch/said")" -eq 4 ] || fail "show --map: $(cat "$scratch/said")"
[ "$("$SELFSAME" show "$disk" --map --json | json '[r["map"]["exactness"] for r in d["regions"] if r.get("map")]')" = \
    "['exact', 'exact', 'exact', 'exact']" ] || fail "show --map --json"

# One partition: by itself onto a device, which keeps or zeroes what is free.
save "$disk" --skip-free --part 1
filled "$scratch/one.img" $((96 << 20))
expect 0 "$SELFSAME" restore "$backup" "$scratch/one.img" --part 1 --force --progress=none
check "$scratch/one.img" ext4
alike "$scratch/p0" "$scratch/one.img" ext4 "files of one partition differ"
"$SELFSAME" save "$disk" "$scratch" --skip-free --dry-run --json 2>/dev/null |
    json 'd["free_left_out"] > 300 << 20' | grep -qx True || fail "dry run"
rm -rf "$(dirname "$backup")" "$disk"
passed skip_free

# --- filesystems that nobody closed: the backing file is copied while they are mounted
unclosed() {
    rm -f many/f*4
    for ((n = 1; n <= 40; n++)); do dd if=/dev/urandom of="new$n" bs=$((n * 700)) count=1 conv=fsync status=none; done
    cp --sparse=always "$1" "$1.unclosed"
}
dirty=(ext3 ext4 btrfs xfs)
sizes=(64 64 160 320)
for n in 0 1 2 3; do
    made "d$n" "${dirty[n]}" "${sizes[n]}"
    mounted "$scratch/d$n" "${dirty[n]}" rw unclosed "$scratch/d$n"
done
put_together "$disk" d0.unclosed d1.unclosed d2.unclosed d3.unclosed
save "$disk" --skip-free
free_space '[v["map"] for v in d["free_space"]]' | grep -qx "\['conservative', 'conservative', 'exact', 'whole'\]" ||
    fail "maps: $(free_space '[(v["map"], v["why"]) for v in d["free_space"]]')"
onto_device "$disk" "$scratch/target.img"
for n in 0 1 2 3; do
    take "$scratch/target.img" $((n + 1))
    # The driver replays what waits, in what was restored and in the original.
    for file in "$scratch/part" "$scratch/d$n.unclosed"; do
        mounted "$file" "${dirty[n]}" rw true
        check "$file" "${dirty[n]}"
    done
    alike "$scratch/d$n.unclosed" "$scratch/part" "${dirty[n]}" "files of ${dirty[n]} that was not closed differ"
    [ "$(grep -c '  ./new' "$scratch/list.2")" -eq 40 ] || fail "new files of ${dirty[n]}"
done
passed skip_free_unclosed
