#!/bin/bash
# foreign: a reader in another language, written from docs/FORMAT.md alone, takes out each partition.
test=foreign
export FRAMES=${FRAMES:-1} # BLAKE3 in plain Python takes a second a frame
. "$(dirname "$0")/lib.sh"
needs foreign python3 zstd || exit 0

[ "$(wc -l <tests/foreign_reader.py)" -le 150 ] || fail "the foreign reader is longer than 150 lines"
expect 0 tests/foreign_reader.py --self-test

# partitions: number, first byte and length on the disk, of each partition of $backup.
partitions() {
    json '"\n".join("%d %d %d" % (r["partition"], r["start"], r["length"]) for r in d["regions"]
        if r["role"] == "partition")' <"$backup/manifest.json"
}

# bytes FILE START LENGTH: of a disk.
bytes() { tail -c "+$(($2 + 1))" "$1" | head -c "$3" || true; }

for name in cassandra gpt-512 gpt-4096; do
    disk=$(corpus "$name")
    for way in '--format zst' '--format raw' '--split 64M'; do
        # shellcheck disable=SC2086 # $way is words
        save "$disk" $way
        while read -r number start length; do
            expect 0 tests/foreign_reader.py "$backup" "$number" "$scratch/partition"
            bytes "$disk" "$start" "$length" | cmp - "$scratch/partition" || fail "partition $number of $name, $way"
        done < <(partitions)
        rm -rf "$(dirname "$backup")"
    done
done

# It can fail: one byte of the first frame of a partition.
save "$(corpus cassandra)" --format raw
victim=$(json 'd["files"][[r["file"] for r in d["regions"] if r["partition"] == 1][0]]["name"]' <"$backup/manifest.json")
printf '\252' | dd of="$backup/$victim" bs=1 seek=1000 conv=notrunc status=none
expect 1 tests/foreign_reader.py "$backup" 1 "$scratch/partition"
grep -q 'digest of the frame at 0' "$scratch/said" || fail "the damage was not found by the digest"
passed foreign
