#!/bin/bash
# flips: single flipped bytes at random places of a backup, and truncated, deleted, added and swapped files.
# verify exits 4 each time and names the file; restore never reports success.
# FLIPS (default 500) and SEED repeat a run.
test=flips
. "$(dirname "$0")/lib.sh"
needs flips python3 blkid sfdisk || exit 0
flips=${FLIPS:-500} seed=${SEED:-$RANDOM}
echo "seed $seed"

small "$scratch/disk.img"
save "$scratch/disk.img" --split 4M
cp -a "$backup" "$scratch/whole"

# flip FILE OFFSET BIT: changes one byte; a second time puts it back.
flip() {
    python3 -c 'import sys
with open(sys.argv[1], "r+b") as file:
    file.seek(int(sys.argv[2]))
    byte = file.read(1)[0] ^ 1 << int(sys.argv[3])
    file.seek(-1, 1)
    file.write(bytes([byte]))' "$@"
}

# places: FLIPS times a file, an offset in it and a bit; each file is as likely as the others.
places() {
    python3 -c 'import os, random, sys
folder, count, seed = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
random.seed(seed)
names = sorted(name for name in os.listdir(folder) if os.path.getsize(os.path.join(folder, name)))
for i in range(count):
    name = names[i % len(names)]
    print(name, random.randrange(os.path.getsize(os.path.join(folder, name))), random.randrange(8))' \
        "$backup" "$flips" "$seed"
}

# damaged WHAT [NAME]: verify finds it and, if a name is given, says it.
damaged() {
    expect 4 "$SELFSAME" verify "$backup" --progress=none
    [ -z "${2:-}" ] || grep -qF -- "$2" "$scratch/said" || { cat "$scratch/said"; fail "verify does not name $2: $1"; }
}

# unrestorable WHAT: restore does not report success, and leaves nothing that looks like a disk.
unrestorable() {
    local code=0
    "$SELFSAME" restore "$backup" "$scratch/restored.img" --progress=none >"$scratch/said" 2>&1 || code=$?
    [ "$code" -ne 0 ] || fail "restored with exit code 0: $1"
    [ "$code" -ne 101 ] && [ "$code" -lt 128 ] || fail "restore panicked or was killed ($code): $1"
    [ ! -e "$scratch/restored.img" ] || not_a_disk "$scratch/restored.img" || fail "it looks like a disk after: $1"
    rm -f "$scratch"/restored.img*
}

# heal: the backup as it was.
heal() { rm -rf "$backup" && cp -a "$scratch/whole" "$backup"; }

expect 0 "$SELFSAME" verify "$backup" --progress=none
count=0
while read -r name offset bit; do
    what="bit $bit of byte $offset of $name"
    flip "$backup/$name" "$offset" "$bit"
    # A flip in SHA256SUMS may be in the name or in the digest of another file.
    case $name in SHA256SUMS) damaged "$what" ;; *) damaged "$what" "$name" ;; esac
    # Restoring is slower, so every fourth.
    [ $((count % 4)) -ne 0 ] || unrestorable "$what"
    flip "$backup/$name" "$offset" "$bit"
    count=$((count + 1))
done < <(places)
[ "$count" -eq "$flips" ] || fail "only $count flips"
expect 0 "$SELFSAME" verify "$backup" --progress=none
passed flips

mapfile -t names < <(ls "$backup")
for name in "${names[@]}"; do
    truncate -s -1 "$backup/$name"
    damaged "truncated $name"
    rm "$backup/$name"
    # Without its manifest or its sums a folder is not a backup any more: an error, not a mismatch.
    case $name in
        manifest.json | SHA256SUMS) expect "1 2 4" "$SELFSAME" verify "$backup" --progress=none ;;
        *) damaged "deleted $name" "$name" ;;
    esac
    unrestorable "deleted $name"
    heal
done
passed flips_truncated_and_deleted

echo stray >"$backup/stray.txt"
damaged "an added file" stray.txt
heal
for ((i = 1; i < ${#names[@]}; i++)); do
    a=${names[i - 1]} b=${names[i]}
    cmp -s "$backup/$a" "$backup/$b" && continue
    mv "$backup/$a" "$scratch/swap"
    mv "$backup/$b" "$backup/$a"
    mv "$scratch/swap" "$backup/$b"
    expect "1 2 4" "$SELFSAME" verify "$backup" --progress=none
    case "$a $b" in *manifest.json* | *SHA256SUMS*) ;; *) damaged "swapped $a and $b" "$a" ;; esac
    unrestorable "swapped $a and $b"
    heal
done
passed flips_added_and_swapped
