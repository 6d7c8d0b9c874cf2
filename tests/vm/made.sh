# made: disks for backups from nothing, and disks from disks, where the kernel makes partitions and udev is not there.

prepare() {
    local name
    mkdir -p /mnt/made
    name=$(disk src)
    fill "$name"
}

# made NAME TYPE LABEL: what others say of the only partition of a disk that was prepared.
made() {
    local node
    node=/dev/$(node "$1" 1)
    appears "$node"
    [ "$(blkid -p -o value -s TYPE "$node")" = "$2" ] || fail "blkid: $(blkid -p "$node")"
    [ "$(blkid -p -o value -s LABEL "$node")" = "$3" ] || fail "blkid: $(blkid -p "$node")"
    expect 0 'No problems found' sgdisk -v "/dev/$1"
}

backup-disk-in-one-command() {
    local src usb
    src=$(disk src) usb=$(disk usb)
    # What was there is named, and gone.
    mkfs.btrfs -q -f "/dev/$usb"
    expect 5 'no terminal to ask on' selfsame prepare "$usb"
    expect 0 '^DONE' selfsame prepare "$usb" --label 'cassandra backup' --mount /mnt/made --yes \
        --target-id "$(id "$usb")" --progress=none
    grep -q "^/dev/$(node "$usb" 1) /mnt/made ext4 " /proc/mounts || fail "not mounted: $(cat /proc/mounts)"
    expect 5 'is mounted at /mnt/made' selfsame prepare "$usb" --yes --target-id "$(id "$usb")"
    expect 0 '^DONE' selfsame save "$src" /mnt/made --name t --progress=none
    umount /mnt/made
    made "$usb" ext4 'cassandra backup'
    expect 0 '' e2fsck -fn "/dev/$(node "$usb" 1)"
}

backup-disk-for-windows-too() {
    local nvme
    nvme=$(disk nvme-a)
    expect 0 '^DONE' selfsame prepare "$nvme" --fs exfat --label 'cassandra backup' --mount /mnt/made --yes \
        --target-id "$(id "$nvme")" --progress=none
    expect 0 '^DONE' selfsame save "$(disk src)" /mnt/made --name t --progress=none
    umount /mnt/made
    made "$nvme" exfat 'cassandra b'
    expect 0 '' fsck.exfat -n "/dev/$(node "$nvme" 1)"
}

clone-onto-an-equal-disk() {
    local src to n
    src=$(disk src) to=$(disk nvme-a)
    expect 0 'unplug one' selfsame clone "$src" "$to" --yes --target-id "$(id "$to")" --progress=none
    for n in 1 2 5 6; do [ -b "/dev/$(node "$to" $n)" ] || fail "the kernel has no partition $n"; done
    same "$src" "$to"
    # One sector differs; it alone is written again.
    noise 7 512 | dd of="/dev/$to" bs=512 seek=50000 oflag=direct status=none
    # And both ends, which make it a disk.
    expect 0 'compared, .* \(2162688 bytes\) written' selfsame clone "$src" "$to" --mend --yes --target-id "$(id "$to")" --progress=none
    same "$src" "$to"
}

# gpt NAME: a disk with two partitions in its first 20 MiB.
gpt() {
    wipefs -aqf "/dev/$1"
    sfdisk -q --wipe always --lock=no "/dev/$1" <<<'label: gpt
start=2048, size=16384, name=one
start=18432, size=16384, name=two'
    appears "/dev/$(node "$1" 2)"
    mkfs.ext4 -q -F "/dev/$(node "$1" 2)"
}

# cloned FROM TO OPTION...: the kernel sees both partitions, and sgdisk no problem.
cloned() {
    local from=$1 to=$2
    shift 2
    expect 0 '^DONE' selfsame clone "$from" "$to" --yes --target-id "$(id "$to")" --progress=none "$@"
    appears "/dev/$(node "$to" 1)" "/dev/$(node "$to" 2)"
    expect 0 'No problems found' sgdisk -v "/dev/$to"
    cmp "/dev/$(node "$from" 2)" "/dev/$(node "$to" 2)" || fail 'partition 2 differs'
}

# uuids NAME: of the disk and of its partitions.
uuids() { sfdisk --json "/dev/$1" | jq -r '.partitiontable | .id, .partitions[].uuid'; }

clone-onto-other-sizes() {
    local src
    src=$(disk nvme-b)
    gpt "$src"
    cloned "$src" "$(disk large)" --move-backup-gpt
    cloned "$src" "$(disk small)"
}

clone-with-ids-of-its-own() {
    local src to
    src=$(disk nvme-b) to=$(disk large)
    gpt "$src"
    cloned "$src" "$to" --move-backup-gpt --new-ids
    uuids "$src" >/run/old
    uuids "$to" >/run/new
    [ "$(grep -c . /run/old)" -eq 3 ] && [ "$(grep -c . /run/new)" -eq 3 ] || fail "ids: $(cat /run/old /run/new)"
    ! grep -Fxf /run/old /run/new || fail 'an id is on both'
}
