#!/bin/bash
# kill9: SIGKILL at random moments. Of a save: no folder without .part, unless it is a whole backup. Of a restore
# to a file, and as root to a loop device: nothing that blkid or sfdisk take for a disk, unless it is the disk.
# KILLS (default 50) and SEED repeat a run.
test=kill9
. "$(dirname "$0")/lib.sh"
needs kill9 blkid sfdisk || exit 0
kills=${KILLS:-50} RANDOM=${SEED:=$RANDOM}
echo "seed $SEED"
disk=$(corpus cassandra)

# milliseconds COMMAND...: how long the undisturbed command takes.
milliseconds() {
    local began
    began=$(date +%s%3N)
    "$@" >/dev/null 2>&1 || fail "undisturbed, yet not done: $*"
    echo $(($(date +%s%3N) - began))
}

# killed MILLISECONDS COMMAND...: killed at a random moment of so many; leaves its exit code in $code.
killed() {
    local moment=$((RANDOM % $1)) job
    shift
    "$@" >"$scratch/said" 2>&1 &
    job=$!
    sleep "$(printf '%d.%03d' $((moment / 1000)) $((moment % 1000)))"
    kill -9 "$job" 2>/dev/null || true
    code=0
    wait "$job" 2>/dev/null || code=$?
    [ "$code" -eq 0 ] || [ "$code" -eq 137 ] || { cat "$scratch/said" >&2; fail "exit code $code: $*"; }
    [ "$code" -eq 0 ] || hits=$((hits + 1))
}

# enough: kills that came too late prove nothing, so there are as many tries as it takes, within reason.
enough() { [ "$hits" -ge "$kills" ] || fail "only $hits of $kills kills hit the $1"; }

save_to() { "$SELFSAME" save "$disk" "$1" --name t --progress=none; }
restore_to() { "$SELFSAME" restore "$backup" "$@" --progress=none; }

mkdir "$scratch/undisturbed"
span=$(milliseconds save_to "$scratch/undisturbed")
backup=$(echo "$scratch"/undisturbed/t-*)
hits=0
for ((n = 0; hits < kills && n < 6 * kills; n++)); do
    dest=$scratch/dest
    mkdir "$dest"
    killed "$span" "$SELFSAME" save "$disk" "$dest" --name t --progress=none
    whole=0
    for folder in "$dest"/*; do
        [ -e "$folder" ] && [[ $folder != *.part ]] || continue
        expect 0 "$SELFSAME" verify "$folder" --progress=none
        whole=1
    done
    [ "$code" -ne 0 ] || [ "$whole" -eq 1 ] || fail "exit code 0 and no backup"
    rm -rf "$dest"
done
enough save
passed kill9_save

image=$scratch/restored.img
span=$(milliseconds restore_to "$image")
rm -f "$image"
hits=0
for ((n = 0; hits < kills && n < 6 * kills; n++)); do
    killed "$span" "$SELFSAME" restore "$backup" "$image" --progress=none
    if [ "$code" -eq 0 ]; then
        same "$disk" "$image"
    elif [ -e "$image" ]; then
        not_a_disk "$image" || same "$disk" "$image"
    fi
    rm -f "$image"*
done
enough restore
passed kill9_restore

if [ "$(id -u)" -ne 0 ] || ! losetup -f >/dev/null 2>&1; then
    echo "SKIPPED: kill9_restore_loop: needs root and loop devices"
    exit 0
fi
# only_ends_lack: what the device has not of the disk is zero yet, and lies in the MiB at either end, which come last: a
# kill may hit the moment in which they are written.
only_ends_lack() {
    (cmp -l "$disk" "$device" || true) | awk -v behind=$(($(stat -c %s "$disk") - (1 << 20))) '
        $3 != 0 || ($1 > 1048576 && $1 <= behind) { bad = 1; exit } END { exit bad }'
}

ones "$scratch/target.img" "$(stat -c %s "$disk")"
loop "$scratch/target.img" 512
id() { "$SELFSAME" disks --json | json "[x['id'] for x in d['disks'] if x['name'] == '$(basename "$device")'][0]"; }
span=$(milliseconds restore_to "$device" --yes --target-id "$(id)")
hits=0
for ((n = 0; hits < kills && n < 6 * kills; n++)); do
    # What the last round left is part of the disk's ID.
    killed "$span" "$SELFSAME" restore "$backup" "$device" --yes --target-id "$(id)" --progress=none
    blockdev --flushbufs "$device"
    # Before the first write it is still the disk of the last round.
    [ "$code" -eq 0 ] || not_a_disk "$device" || only_ends_lack || fail "half a restored disk looks whole"
done
enough "restore to a device"
passed kill9_restore_loop
