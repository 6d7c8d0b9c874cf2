#!/bin/bash
# roundtrip: save, verify, restore; cmp finds no difference over the whole disk. Every disk of the corpus, every
# way to keep it, from and to image files; as root also from a loop device onto one full of 0xFF.
test=roundtrip
. "$(dirname "$0")/lib.sh"

ways=('--format zst' '--format raw' '--whole' '--split 64M')
disks=("$(corpus cassandra)" "$(corpus gpt-512)" "$(corpus gpt-4096)")
tables=("$(corpus tables)"/*.img) # tiny: their layouts matter, not how they are kept

# sector_size PATH: told by the names of the corpus.
sector_size() { case $1 in *4096*) echo 4096 ;; *) echo 512 ;; esac; }

from_file() {
    local disk=$1 way=$2
    # shellcheck disable=SC2086 # $way is words
    save "$disk" --digest sha256 $way
    expect 0 "$SELFSAME" verify "$backup" --progress=none
    expect 0 "$SELFSAME" restore "$backup" "$scratch/restored.img" --progress=none
    same "$disk" "$scratch/restored.img"
    [ "$(json 'd["digests"]["sha256"]' <"$backup/manifest.json")" = "$(sha256sum <"$disk" | cut -d' ' -f1)" ] ||
        fail "the manifest's SHA-256 of $disk"
    rm -rf "$(dirname "$backup")" "$scratch/restored.img"
}

from_loop() {
    local disk=$1 way=$2 bytes sector target id
    bytes=$(stat -c %s "$disk")
    sector=$(sector_size "$disk")
    loop "$disk" "$sector" -r
    # shellcheck disable=SC2086
    save "$device" $way
    ones "$scratch/target.img" "$bytes"
    loop "$scratch/target.img" "$sector"
    target=$device
    id=$("$SELFSAME" disks --json | json "[x['id'] for x in d['disks'] if x['name'] == '$(basename "$target")'][0]")
    expect 0 "$SELFSAME" restore "$backup" "$target" --yes --target-id "$id" --progress=none
    release
    same "$disk" "$scratch/target.img"
    rm -rf "$(dirname "$backup")" "$scratch/target.img"
}

for disk in "${disks[@]}"; do
    for way in "${ways[@]}"; do from_file "$disk" "$way"; done
done
for disk in "${tables[@]}"; do from_file "$disk" "${ways[0]}"; done
passed roundtrip_files

if [ "$(id -u)" -ne 0 ] || ! losetup -f >/dev/null 2>&1; then
    echo "SKIPPED: roundtrip_loop: needs root and loop devices"
    exit 0
fi
for disk in "${disks[@]}"; do
    for way in "${ways[@]}"; do from_loop "$disk" "$way"; done
done
passed roundtrip_loop
