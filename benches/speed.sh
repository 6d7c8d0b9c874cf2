#!/bin/bash
# speed: save against dd | tee >(openssl dgst -sha256) | zstd -1 -T0, on a half-full disk, in the same run. Prints
# the ratios of wall and CPU time; below 1 is faster. Never fails on them. MIB (default 4096) is the disk's size.
test=speed
. "$(dirname "$0")/../tests/acceptance/lib.sh"
needs speed openssl zstd || exit 0
mib=${MIB:-4096}
available=$(df --output=avail -B 1M "$scratch" | tail -n 1)
[ "$available" -ge $((mib * 2)) ] || { echo "SKIPPED: speed: needs $((mib * 2)) MiB of space in $scratch"; exit 0; }

# Runs of 64 MiB: noise, text, and twice nothing.
disk=$scratch/disk.img
truncate -s "${mib}M" "$disk"
put() { dd of="$disk" bs=1M seek="$1" iflag=fullblock conv=notrunc status=none; }
for ((at = 0; at < mib; at += 256)); do
    openssl enc -aes-128-ctr -nosalt -K "$(printf '%032x' "$at")" -iv 0 -in /dev/zero 2>/dev/null | head -c 64M | put "$at" || true
    seq "$((at * 100000))" "$((at * 100000 + 9999999))" | head -c 64M | put "$((at + 128))" || true
done

source=$disk
if [ "$(id -u)" -eq 0 ] && losetup -f >/dev/null 2>&1; then
    # A device announces no holes: all of it is read, as dd does.
    loop "$disk" 512 -r
    source=$device
fi

# measure COMMAND...: leaves wall and CPU time in milliseconds in $wall and $cpu.
measure() {
    local TIMEFORMAT='%3R %3U %3S' real user sys
    sync
    read -r real user sys < <({ time "$@" >"$scratch/said" 2>&1; } 2>&1)
    wall=$((10#${real/./})) cpu=$((10#${user/./} + 10#${sys/./}))
    echo "$1: wall $wall ms, CPU $cpu ms"
}

# A fifo in place of >(...), so that openssl is waited for and its CPU time counts.
mkfifo "$scratch/fifo"
pipe() {
    openssl dgst -sha256 <"$scratch/fifo" >"$scratch/sum" &
    dd if="$source" bs=4M status=none | tee "$scratch/fifo" | zstd -1 -T0 -q >"$scratch/pipe.zst"
    wait $!
}
ours() { "$SELFSAME" save "$source" "$scratch/dest" --name t --level 1 --no-check --progress=none; }

cat "$disk" >/dev/null
for round in 1 2 3; do
    rm -rf "$scratch/dest" "$scratch/pipe.zst"
    mkdir "$scratch/dest"
    measure pipe
    pipe_wall=$wall pipe_cpu=$cpu
    measure ours
    [ -n "$(compgen -G "$scratch/dest/t-*")" ] || { cat "$scratch/said" >&2; fail "no backup was made"; }
    printf 'round %d: wall %d.%02d, CPU %d.%02d of the pipe\n' "$round" \
        $((wall / pipe_wall)) $((wall * 100 / pipe_wall % 100)) $((cpu / pipe_cpu)) $((cpu * 100 / pipe_cpu % 100))
done
passed speed
