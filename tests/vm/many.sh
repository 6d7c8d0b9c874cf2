# many: more SCSI disks than letters. `sda` is not `sdaa`.

prepare() {
    local name
    mkdir -p /mnt/x
    name=$(disk shelf)
    shelf "$name"
    ls /sys/block
    sfdisk -q --wipe always --lock=no /dev/sdb <<<'start=64, type=83'
    appears /dev/sdb1
    mkfs.ext2 -q -F /dev/sdb1
    save sdb
    echo "$backup" >/run/backup
}

# other_is_mounted MOUNTED TARGET: what is mounted is refused, the one with the similar name is written.
other_is_mounted() {
    backup=$(cat /run/backup)
    wipefs -aqf "/dev/$1" "/dev/$2"
    mkfs.ext2 -q -F "/dev/$1"
    mount "/dev/$1" /mnt/x
    expect 5 "/dev/$1 is mounted at /mnt/x" selfsame restore "$backup" "$1" --yes \
        --target-id "$(target_id "$1")" --progress=none
    restore "$backup" "$2"
    same sdb "$2"
    umount /mnt/x
}

sda-is-not-sdaa() { other_is_mounted sda sdaa; }

sdaa-is-not-sda() { other_is_mounted sdaa sda; }
