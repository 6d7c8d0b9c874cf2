#!/bin/bash
# unprivileged: users without root. One of the group `disk` saves and restores; one who was given a single device
# can do just that one; one without either is told who may.
test=unprivileged
. "$(dirname "$0")/lib.sh"
if [ "$(id -u)" -ne 0 ] || ! losetup -f >/dev/null 2>&1; then
    echo "SKIPPED: unprivileged: needs root and loop devices"
    exit 0
fi
needs unprivileged setpriv || exit 0
user=12345 group=$(getent group disk | cut -d: -f3)
chmod 755 "$scratch"
cp "$SELFSAME" "$scratch/selfsame"
SELFSAME=$scratch/selfsame
mkdir "$scratch/home"
chown "$user:$user" "$scratch/home"

# as GROUPS COMMAND...: as a user with these groups beside its own.
as() { setpriv --reuid "$user" --regid "$user" --groups "$1" --inh-caps=-all --bounding-set=-all "${@:2}"; }

# On failure too the nodes get their owners back: others will use them.
nodes=()
give_back() {
    for node in ${nodes[@]+"${nodes[@]}"}; do chown root:disk "$node" && chmod 660 "$node"; done
    release
    rm -rf "$scratch"
}
trap give_back EXIT

small "$scratch/source.img"
size=$(stat -c %s "$scratch/source.img")
truncate -s "$size" "$scratch/target.img"
loop "$scratch/source.img" 512 && source=$device
loop "$scratch/target.img" 512 && target=$device
nodes=("$source" "$target")
for node in "${nodes[@]}"; do chown root:disk "$node" && chmod 660 "$node"; done
udevadm settle 2>/dev/null || true
id() { as "$group" "$SELFSAME" disks --json | json "[x['id'] for x in d['disks'] if x['path'] == '$1'][0]"; }

expect 1 as "$user" "$SELFSAME" save "$source" "$scratch/home/no" --name t --progress=none
grep -q "opening $source for reading (only root and members of the group disk may): Permission denied" \
    "$scratch/said" || fail "what permission is missing is not said: $(cat "$scratch/said")"
grep -q "sudo" "$scratch/said" || fail "what to do is not said"
[ -z "$(ls "$scratch/home")" ] || fail "a folder was left"
passed unprivileged_nobody

expect 0 as "$group" "$SELFSAME" save "$source" "$scratch/home/group" --name t --progress=none
backup=$(echo "$scratch"/home/group/t-*)
[ "$(stat -c %u:%a "$backup")" = "$user:700" ] || fail "not the user's own folder: $(stat "$backup")"
expect 0 as "$user" "$SELFSAME" verify "$backup" --progress=none
expect 0 as "$group" "$SELFSAME" restore "$backup" "$target" --yes --target-id "$(id "$target")" --progress=none
same "$scratch/source.img" "$target"
passed unprivileged_group

# Only these two, and the source only to read.
chown "$user" "$target" && chmod 600 "$target"
chown "$user" "$source" && chmod 400 "$source"
blkdiscard -f -z "$target"
expect 0 as "$user" "$SELFSAME" save "$source" "$scratch/home/one" --name t --progress=none
backup=$(echo "$scratch"/home/one/t-*)
id() { as "$user" "$SELFSAME" disks --json | json "[x['id'] for x in d['disks'] if x['path'] == '$1'][0]"; }
expect 0 as "$user" "$SELFSAME" restore "$backup" "$target" --yes --target-id "$(id "$target")" --progress=none
same "$scratch/source.img" "$target"
expect 1 as "$user" "$SELFSAME" restore "$backup" "$source" --yes --target-id "$(id "$source")" --progress=none
grep -q "opening $source for writing (only root and the user $user may): Permission denied" "$scratch/said" ||
    fail "what permission is missing is not said: $(cat "$scratch/said")"
passed unprivileged_one_device
