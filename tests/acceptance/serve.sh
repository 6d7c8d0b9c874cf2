#!/bin/bash
# serve: a backup over NBD, seen by three clients that are not ours: nbdinfo, nbdcopy (several connections at once) and
# qemu-img, which also converts it. The backup is the same before and after.
test=serve
. "$(dirname "$0")/lib.sh"
needs serve nbdinfo nbdcopy qemu-img qemu-io || exit 0
server=
stop() {
    # Not INT: bash lets it be ignored until the program has its own handler.
    [ -z "$server" ] || { kill -TERM "$server" 2>/dev/null && wait "$server"; } || true
    rm -rf "$scratch"
}
trap stop EXIT

# serving ARGUMENT...: leaves what it says in $uri, and the process in $server.
serving() {
    : >"$scratch/uri" # what an earlier one said is no answer of this one
    "$SELFSAME" serve "$@" >"$scratch/uri" 2>"$scratch/served" &
    server=$!
    for _ in $(seq 200); do
        [ ! -s "$scratch/uri" ] || break
        kill -0 "$server" 2>/dev/null || break
        sleep 0.05
    done
    uri=$(cat "$scratch/uri")
    [ -n "$uri" ] || { cat "$scratch/served" >&2; fail "it does not serve: $*"; }
}

# ended CODE: Ctrl-C ends it so.
ended() {
    local code=0
    kill -INT "$server"
    wait "$server" || code=$?
    server=
    [ "$code" -eq "$1" ] || { cat "$scratch/served" >&2; fail "exit code $code, not $1"; }
}

disk=$scratch/disk.img socket=$scratch/disk.sock
small "$disk"
save "$disk"
before=$(cat "$backup"/* | sha256sum)

serving "$backup" --socket "$socket"
[ "$(stat -c %A "$socket")" = srwx------ ] || fail "others may connect: $(stat -c %A "$socket")"
[ "$(nbdinfo --size "$uri")" -eq "$(stat -c %s "$disk")" ] || fail "another size: $(nbdinfo --size "$uri")"
nbdinfo --is read-only "$uri" || fail "not read-only"
nbdinfo --can multi-conn "$uri" || fail "no several connections"
nbdinfo --can df "$uri" || fail "no structured replies"
names=$(nbdinfo --list --json "$uri" | json "sorted(e['export-name'] for e in d['exports'])")
[ "$names" = "['', '1', '5', '6']" ] || fail "exports: $names"
nbdinfo --map --totals "$uri" >"$scratch/map"
grep -q hole,zero "$scratch/map" && grep -q data "$scratch/map" || fail "no extents: $(cat "$scratch/map")"
nbdcopy --connections=4 "$uri" "$scratch/copy.img"
same "$disk" "$scratch/copy.img"
qemu-img compare -f raw -F raw "$disk" "$uri" >/dev/null || fail "qemu-img sees another disk"
qemu-img convert -f raw -O qcow2 "$uri" "$scratch/disk.qcow2"
qemu-img compare -f raw -F qcow2 "$disk" "$scratch/disk.qcow2" >/dev/null || fail "another disk as qcow2"
# A partition by its number, and a client that wants no structured replies.
nbdcopy "nbd+unix:///5?socket=$socket" "$scratch/five.img"
start=$("$SELFSAME" show "$disk" --json | json "[p['start'] for p in d['partitions'] if p['number'] == 5][0]")
cmp -n "$(stat -c %s "$scratch/five.img")" -i "$start:0" "$disk" "$scratch/five.img" || fail "another partition 5"
! nbdinfo "nbd+unix:///9?socket=$socket" >/dev/null 2>&1 || fail "an export that is none"
ended 0
grep -q '^DONE' "$scratch/served" || fail "no last line"
[ ! -e "$socket" ] || fail "the socket is left"
[ "$(cat "$backup"/* | sha256sum)" = "$before" ] || fail "the backup was changed"
passed serve

# An image file over a port, one partition of it.
serving "$disk" --part 5 --listen 127.0.0.1:0
nbdcopy "$uri" "$scratch/port.img"
same "$scratch/five.img" "$scratch/port.img"
ended 0
expect 2 "$SELFSAME" serve "$disk" --part 9 --socket "$socket"
touch "$socket"
expect 5 "$SELFSAME" serve "$disk" --socket "$socket"
grep -q "exists" "$scratch/said" && [ -e "$socket" ] || fail "a file that is there: $(cat "$scratch/said")"
rm "$socket"
passed serve_port

# Writes go to the overlay, are there again when it is served again, and nowhere else.
cp "$disk" "$scratch/model.img"
writes='write -P 7 1M 100k|write -z 3M 200k|write -P 9 65535 3|flush'
for round in 1 2; do
    serving "$backup" --socket "$socket" --overlay "$scratch/changes"
    nbdinfo --is read-only "$uri" && fail "it takes no writes"
    nbdinfo --can flush "$uri" && nbdinfo --can fua "$uri" || fail "nothing to flush with"
    if [ "$round" -eq 1 ]; then
        for image in "$scratch/model.img" "$uri"; do
            mapfile -t each < <(tr '|' '\n' <<<"$writes" | sed 's/.*/-c\n&/')
            qemu-io -f raw "${each[@]}" "$image" >/dev/null || fail "qemu-io: $image"
        done
    fi
    qemu-img compare -f raw -F raw "$scratch/model.img" "$uri" >/dev/null || fail "another disk in round $round"
    ended 0
done
[ "$(cat "$backup"/* | sha256sum)" = "$before" ] || fail "the backup was changed"
! cmp -s "$disk" "$scratch/model.img" || fail "nothing was written at all"
[ "$(du -k "$scratch/changes" | cut -f1)" -lt 1024 ] || fail "the overlay is large: $(du -k "$scratch/changes")"
expect 5 "$SELFSAME" serve "$disk" --socket "$socket" --overlay "$scratch/changes"
grep -q 'overlay of another disk' "$scratch/said" || fail "an overlay of another disk: $(cat "$scratch/said")"
expect 4 "$SELFSAME" serve "$backup" --socket "$socket" --overlay "$disk"
passed serve_overlay

# A damaged frame is an error where it lies, and nowhere else.
file=$(ls "$backup"/*5.*.zst)
printf '\377' | dd of="$file" bs=1 seek=$(($(stat -c %s "$file") / 2)) conv=notrunc status=none
serving "$backup" --socket "$socket"
! nbdcopy "nbd+unix:///5?socket=$socket" "$scratch/bad.img" 2>/dev/null || fail "damage was not noticed"
nbdcopy "nbd+unix:///6?socket=$socket" "$scratch/six.img"
ended 0
passed serve_damaged
