# files: what the drivers of a real kernel wrote, taken out of a backup without any of them.

prepare() {
    shelf "$(disk shelf)"
    mkdir -p /mnt/source /run/truth
    tree /run/truth
}

# tree DIR: files of many sizes, long names, names that are not ASCII, depth, a folder of several blocks.
tree() {
    local n deep=$1
    mkdir -p "$1/many" "$1/grün"
    for n in $(seq 300); do noise "$n" $((n * 37)) >"$1/many/a long name of file number $n.txt"; done
    noise 7 3000000 >"$1/grün/photo größer.jpg"
    for n in $(seq 12); do deep=$deep/level$n && mkdir "$deep"; done
    echo 'down here' >"$deep/bottom"
    : >"$1/empty"
    find "$1" -exec touch -d '2021-02-03 04:05:06' {} +
}

# table NAME: one partition over nearly all of it, and nothing from before in it.
table() {
    wipefs -qaf "/dev/$1"
    sfdisk -q --wipe always --wipe-partitions always "/dev/$1" <<<'start=1MiB, size=300MiB, type=83'
    appears "/dev/$(node "$1" 1)"
    wipefs -qaf "/dev/$(node "$1" 1)"
}

# shown NAME LOCATOR: what is there in a backup of the disk is the tree, with its times.
shown() {
    save "$1" --no-check
    rm -rf /mnt/shelf/out
    expect 0 '' selfsame get -r --progress=none "$backup" "$2" /mnt/shelf/out
    diff -r --no-dereference --exclude=lost+found /run/truth /mnt/shelf/out || fail "the tree of $2 of $1 differs"
    local late
    late=$(cd /mnt/shelf/out && find . -type f ! -newermt '2021-02-03 04:05:07' -newermt '2021-02-03 04:05:05' | wc -l)
    [ "$late" = "$(find /run/truth -type f | wc -l)" ] || fail "only $late files have their times"
    rm -rf "$backup"
}

# by NAME TYPE MAKER...: a filesystem of the kernel with the tree.
by() {
    local name=$1 type=$2
    shift 2
    table "$name"
    expect 0 '' "$@" "/dev/$(node "$name" 1)"
    expect 0 '' mount -t "$type" "/dev/$(node "$name" 1)" /mnt/source
    cp -rp /run/truth/. /mnt/source/ || fail 'filling it'
    umount /mnt/source
    shown "$name" 1
}

fat16-by-the-kernel() { by "$(disk src)" vfat mkfs.vfat -F 16; }
fat32-by-the-kernel() { by "$(disk src)" vfat mkfs.vfat -F 32 -s 1; }
exfat-by-the-kernel() { by "$(disk src)" exfat mkfs.exfat; }
udf-by-the-kernel() { by "$(disk src)" udf mkudffs -b 512; }

ntfs-by-ntfs-3g() {
    modprobe fuse
    by "$(disk src)" ntfs-3g mkntfs -q -f
}

logical-volumes() {
    local name part
    name=$(disk src)
    table "$name"
    part=/dev/$(node "$name" 1)
    expect 0 '' lvm pvcreate -qqyf "$part"
    expect 0 '' lvm vgcreate -qq old "$part"
    expect 0 '' lvm lvcreate -qqy -an -Zn -Wn -L 64M -n root old
    expect 0 '' lvm lvcreate -qqy -an -Zn -Wn -L 64M -n home old
    expect 0 '' lvm lvextend -qq -L 128M old/root
    lvm vgchange -qq -ay --noudevsync old
    lvm vgmknodes -qq
    mkfs.ext4 -q -F /dev/old/root
    mkfs.ext3 -q -F /dev/old/home
    mount /dev/old/root /mnt/source
    cp -rp /run/truth/. /mnt/source/
    umount /mnt/source
    mount /dev/old/home /mnt/source
    cp -rp /run/truth/many /mnt/source/
    umount /mnt/source
    lvm vgchange -qq -an --noudevsync old
    shown "$name" 1:root
    save "$name" --no-check
    expect 0 'many' selfsame ls "$backup" 1:home
    rm -rf "$backup"
    wipefs -qaf "$part"
}

one-of-a-mirror() {
    local name
    name=$(disk src)
    table "$name"
    expect 0 '' mdadm --create /dev/md0 --run --level=1 --raid-devices=2 --metadata=1.2 \
        "/dev/$(node "$name" 1)" missing
    mkfs.ext4 -q -F /dev/md0
    mount /dev/md0 /mnt/source
    cp -rp /run/truth/. /mnt/source/
    umount /mnt/source
    expect 0 '' mdadm --stop /dev/md0
    shown "$name" 1
}
