#!/bin/bash
# stuck: a destination that stands still. Memory stays bounded while a save waits for it, who stands still is
# named after 30 s, and when it goes on the save is done and intact.
test=stuck
. "$(dirname "$0")/lib.sh"
if [ "$(id -u)" -ne 0 ] || ! losetup -f >/dev/null 2>&1; then
    echo "SKIPPED: stuck: needs root and loop devices"
    exit 0
fi
needs stuck fsfreeze mkfs.ext4 openssl || exit 0
limit=$((128 << 10)) # KiB
mnt=$scratch/mnt

# What is frozen can neither be unmounted nor does its writer die, so it is thawed first, come what may.
thaw() { fsfreeze --unfreeze "$mnt" 2>/dev/null || true; }
job=
end() {
    thaw
    [ -z "$job" ] || { kill "$job" 2>/dev/null && wait "$job"; } || true
    umount "$mnt" 2>/dev/null || true
    release
    rm -rf "$scratch"
}
trap end EXIT

# 512 MiB that does not compress, so that there is more than any buffer to write.
openssl enc -aes-128-ctr -nosalt -K 1 -iv 0 -in /dev/zero 2>/dev/null | head -c 512M >"$scratch/disk.img" || true
truncate -s 700M "$scratch/dest.img"
mkfs.ext4 -q -F "$scratch/dest.img"
loop "$scratch/dest.img" 512
mkdir "$mnt"
mount "$device" "$mnt"

# peak: of the job's memory so far, in KiB.
peak() { awk '/^VmHWM:/ { print $2 }' "/proc/$job/status"; }
stored() { du -sk "$mnt" | cut -f1; }

"$SELFSAME" save "$scratch/disk.img" "$mnt/backups" --name t --progress=plain >"$scratch/said" 2>&1 &
job=$!
for ((tries = 0; tries < 3000; tries++)); do
    [ "$(stored)" -lt 50000 ] || break
    sleep 0.01
done
fsfreeze --freeze "$mnt"
began=$SECONDS
kill -0 "$job" 2>/dev/null || fail "it was done before the destination could be stopped"
# What is under way when it freezes comes to its end first.
sleep 2
before=$(stored)
while [ $((SECONDS - began)) -lt 40 ] && ! grep -q "nothing could be written to" "$scratch/said"; do sleep 0.5; done
waited=$((SECONDS - began))
[ "$(stored)" -eq "$before" ] || fail "it was written to although it stood still"
grep -q "nothing could be written to $mnt/backups for 30 seconds" "$scratch/said" || {
    cat "$scratch/said" >&2
    fail "not named after $waited s"
}
[ "$waited" -ge 29 ] || fail "named after $waited s already"
stuck=$(peak)
[ "$stuck" -le "$limit" ] || fail "$stuck KiB of memory while the destination stood still"
thaw
wait "$job" || { cat "$scratch/said" >&2; fail "exit code $? after it went on"; }
backup=$(echo "$mnt"/backups/t-*)
[[ $backup != *.part ]] || fail "unfinished: $backup"
expect 0 "$SELFSAME" verify "$backup" --progress=none
echo "peak memory while stuck for $waited s: $stuck KiB"
passed stuck
