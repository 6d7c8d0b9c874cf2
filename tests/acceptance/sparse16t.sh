#!/bin/bash
# sparse16t: an image of 16 TiB, less a page, that holds 1 GiB in 1024 places. Memory stays at or under 128 MiB, and
# what is stored is the data and the zero frames of 16 TiB, which take half a gigabyte.
test=sparse16t
. "$(dirname "$0")/lib.sh"
needs sparse16t qemu-img time zstd openssl || exit 0
[ -x /usr/bin/time ] || { echo "SKIPPED: sparse16t: needs /usr/bin/time"; exit 0; }
available=$(df --output=avail -B 1M "$scratch" | tail -n 1)
[ "$available" -ge 5120 ] || { echo "SKIPPED: sparse16t: needs 5 GiB of space in $scratch"; exit 0; }
disk=$scratch/disk.img
# The longest file that ext4 has.
truncate -s $(((16 << 40) - 4096)) "$disk" || { echo "SKIPPED: sparse16t: needs a filesystem with files of 16 TiB"; exit 0; }

# 1024 places of 1 MiB, one every 16 GiB, and the last sectors.
data 1024 | for ((n = 0; n < 1024; n++)); do
    dd of="$disk" bs=1M count=1 seek=$((n * 16384 + 5)) iflag=fullblock conv=notrunc status=none
done
data 32 | tail -c 1000000 | dd of="$disk" bs=4096 seek=$(((16 << 28) - 1000)) conv=notrunc iflag=fullblock count=999 status=none
reference=$(data 1024 | zstd -1 -q | wc -c)

bounded show "$SELFSAME" show "$disk"
mkdir "$scratch/dest"
bounded save "$SELFSAME" save "$disk" "$scratch/dest" --name t --level 1 --progress=none
backup=$(echo "$scratch"/dest/t-*)
stored=$(du -sb --apparent-size "$backup" | cut -f1)
echo "stored $stored bytes, zstd -1 of the data $reference"
[ "$stored" -le $((reference * 105 / 100 + (550 << 20))) ] || fail "the backup has $stored bytes"
bounded verify "$SELFSAME" verify "$backup" --progress=none
bounded against "$SELFSAME" verify "$backup" --against "$disk" --progress=none
bounded restore "$SELFSAME" restore "$backup" "$scratch/restored.img" --progress=none
[ "$(stat -c %b "$scratch/restored.img")" -le $(($(stat -c %b "$disk") * 11 / 10)) ] || fail "the restored image is not sparse"
qemu-img compare -q -f raw -F raw "$disk" "$scratch/restored.img" || fail "the restored image differs"
passed sparse16t
