#!/bin/bash
# sparse64: a disk of 64 GiB that holds 2 GiB. Memory stays at or under 128 MiB, and the backup is at most 1.05
# times what zstd -1 makes of the data.
test=sparse64
. "$(dirname "$0")/lib.sh"
needs sparse64 qemu-img time zstd openssl || exit 0
[ -x /usr/bin/time ] || { echo "SKIPPED: sparse64: needs /usr/bin/time"; exit 0; }
available=$(df --output=avail -B 1M "$scratch" | tail -n 1)
[ "$available" -ge 6144 ] || { echo "SKIPPED: sparse64: needs 6 GiB of space in $scratch"; exit 0; }

disk=$scratch/disk.img
truncate -s 64G "$disk"
# 32 places of 64 MiB, one every 2 GiB.
data 2048 | for ((n = 0; n < 32; n++)); do
    dd of="$disk" bs=1M count=64 seek=$((n * 2048 + 1)) iflag=fullblock conv=notrunc status=none
done
reference=$(data 2048 | zstd -1 -q | wc -c)

mkdir "$scratch/dest"
bounded save "$SELFSAME" save "$disk" "$scratch/dest" --name t --level 1 --progress=none
backup=$(echo "$scratch"/dest/t-*)
stored=$(du -sb --apparent-size "$backup" | cut -f1)
echo "stored $stored bytes, zstd -1 of the data $reference: $((stored * 1000 / reference)) per mille"
[ $((stored * 100)) -le $((reference * 105)) ] || fail "the backup is larger than 1.05 times zstd -1"

bounded verify "$SELFSAME" verify "$backup" --progress=none
bounded restore "$SELFSAME" restore "$backup" "$scratch/restored.img" --progress=none
[ "$(stat -c %b "$scratch/restored.img")" -le $(($(stat -c %b "$disk") * 11 / 10)) ] || fail "the restored image is not sparse"
# cmp would read 64 GiB of holes twice.
qemu-img compare -q -f raw -F raw "$disk" "$scratch/restored.img" || fail "the restored image differs"
passed sparse64
