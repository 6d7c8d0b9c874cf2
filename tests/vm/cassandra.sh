# cassandra: the IDE disk of an old computer and a new USB disk, with our program and without it.

prepare() {
    local usb
    usb=$(disk usb)
    mkdir -p /mnt/shelf /mnt/file
    expect 0 '^DONE' selfsame prepare "$usb" --label 'cassandra backup' --mount /mnt/shelf --yes \
        --target-id "$(id "$usb")" --progress=none
}

cassandra() {
    local old new n
    old=$(disk old) new=$(disk new)
    expect 0 "^$old .* old " selfsame disks
    expect 0 'ntfs|NTFS' selfsame show "$old"
    save "$old"
    expect 0 '^DONE' selfsame verify "$backup" --against "$old" --progress=none
    restore "$backup" "$new"
    for n in 1 2 5 6; do [ -b "/dev/$(node "$new" $n)" ] || fail "the kernel has no partition $n"; done
    same "$old" "$new"
}

by-stock-tools() {
    local old new
    old=$(disk old) new=$(disk new)
    save "$old"
    blank "$new"
    (cd "$backup" && expect 0 '' sha256sum --strict -c SHA256SUMS)
    sed -n 's/^    //p' "$backup/RESTORE.txt" | sed "s#^TARGET=.*#TARGET=/dev/$new#" >/run/commands
    cat /run/commands
    (cd "$backup" && expect 0 '' bash -euo pipefail /run/commands)
    same "$old" "$new"
}

# one_file FILE TYPE OPTIONS WORDS: of a partition's raw image, through a mount of the kernel.
one_file() {
    expect 0 '' mount -t "$2" -o "loop,$3" "$1" /mnt/file
    cmp /mnt/file/note.txt <(echo "$4") || fail "note.txt of $1"
    umount /mnt/file
}

one-file-by-the-kernel() {
    save "$(disk old)" --format raw
    modprobe fuse
    one_file "$backup"/*1.vfat vfat ro 'Meet me at the station at noon.'
    # The kernel of Debian 12 has no NTFS of its own.
    one_file "$backup"/*2.ntfs ntfs-3g ro 'Meet me at the station at noon.'
    # Its journal needs recovery, which would write.
    one_file "$backup"/*5.ext3 ext3 ro,noload 'Meet me at the station at noon.'
    expect 0 '^DONE' selfsame verify "$backup" --progress=none
}
