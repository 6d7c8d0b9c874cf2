#!/bin/bash
# restore_txt: a backup without the program that made it. The stock tools check it, and the commands that are
# indented in RESTORE.txt, run literally with TARGET replaced, give the identical disk.
test=restore_txt
. "$(dirname "$0")/lib.sh"
needs restore_txt zstd b3sum sfdisk || exit 0

# stored_files: name of the joined file, encoding and BLAKE3 of the plain bytes, of each stored file of $backup.
stored_files() {
    json '"\n".join("%s %s %s" % (f["name"], f["encoding"], f["blake3"]) for f in d["files"])' <"$backup/manifest.json"
}

# plain NAME ENCODING: the plain bytes of a stored file, however many parts it has.
plain() {
    local parts=("$backup/$1")
    [ -e "${parts[0]}" ] || parts=("$backup/$1".[0-9]*)
    case $2 in
        zst) cat "${parts[@]}" | zstd -dcq ;;
        raw) cat "${parts[@]}" ;;
    esac
}

check_with_stock_tools() {
    (cd "$backup" && sha256sum --strict --quiet -c SHA256SUMS) || fail "sha256sum -c"
    [ "$(cd "$backup" && find . -type f ! -name SHA256SUMS | wc -l)" -eq "$(wc -l <"$backup/SHA256SUMS")" ] ||
        fail "SHA256SUMS does not name every file"
    local name encoding blake3
    while read -r name encoding blake3; do
        if [ -e "$backup/$name" ] && [ "$encoding" = zst ]; then zstd -tq "$backup/$name" || fail "zstd -t $name"; fi
        [ "$(plain "$name" "$encoding" | b3sum --no-names)" = "$blake3" ] || fail "b3sum of $name"
    done < <(stored_files)
}

# follow TARGET: the commands, from inside the backup as RESTORE.txt says.
follow() {
    sed -n 's/^    //p' "$backup/RESTORE.txt" | sed "s#^TARGET=.*#TARGET=$1#" >"$scratch/commands"
    [ -s "$scratch/commands" ] || fail "RESTORE.txt holds no commands"
    (cd "$backup" && expect 0 bash -euo pipefail "$scratch/commands")
}

for name in cassandra gpt-512 gpt-4096; do
    disk=$(corpus "$name")
    for way in '--format zst' '--format raw' '--whole' '--split 64M'; do
        # shellcheck disable=SC2086 # $way is words
        save "$disk" --digest blake3 $way
        check_with_stock_tools
        truncate -s "$(stat -c %s "$disk")" "$scratch/target.img"
        follow "$scratch/target.img"
        same "$disk" "$scratch/target.img"
        rm -rf "$(dirname "$backup")" "$scratch/target.img"
    done
done
passed restore_txt
