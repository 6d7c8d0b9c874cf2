# guards: what is refused, each with exit code 5 and a sentence. Every case sets up one use of the disk `t`, is refused,
# and clears it away; the last one proves that nothing but that use was in the way.

prepare() {
    local name
    mkdir -p /mnt/x /mnt/y
    name=$(disk shelf)
    shelf "$name"
    name=$(disk src)
    fill "$name"
    save "$name"
    echo "$backup" >/run/backup
}

# target: leaves names of the disks in $t and $u, both with one partition, and the backup in $backup.
target() {
    [ ! -e /run/failed ] || clear_away
    backup=$(cat /run/backup)
    t=$(disk t) u=$(disk u)
    local name
    for name in "$t" "$u"; do
        wipefs -aqf "/dev/$name"
        sfdisk -q --wipe always --lock=no "/dev/$name" <<<'start=2048, type=83'
        appears "/dev/$(node "$name" 1)"
        wipefs -aqf "/dev/$(node "$name" 1)"
    done
    t1=$(node "$t" 1) u1=$(node "$u" 1)
}

# clear_away: what a case that failed left behind.
clear_away() {
    {
        pkill -x sleep
        umount /mnt/x
        umount /boot
        swapoff -a
        lvm vgchange -qq -an --noudevsync
        cryptsetup close box
        mdadm --stop /dev/md0
        losetup -D
    } 2>/dev/null || true
    rm -f /run/failed
}

# ends NAME: what a restore takes away first.
ends() {
    local size
    size=$(blockdev --getsize64 "/dev/$1")
    { head -c 1048576 "/dev/$1" && tail -c +$((size - 1048575)) "/dev/$1"; } | sha256sum
}

# refused TEXT [NAME OPTION...]: a restore to it (or $t), confirmed with its ID.
refused() {
    local text=$1 name=${2:-$t} before after
    shift $(($# > 1 ? 2 : 1))
    sync
    before=$(ends "$name")
    expect 5 "$text" selfsame restore "$backup" "$name" --yes --target-id "$(target_id "$name")" --progress=none "$@"
    after=$(ends "$name")
    [ "$before" = "$after" ] || fail "$name was written to"
}

mounted-partition() {
    target
    filesystem "$t1"
    mount "/dev/$t1" /mnt/x
    refused "$t1 is mounted at /mnt/x: unmount it first"
    umount /mnt/x
}

mounted-read-only() {
    target
    mkfs.vfat "/dev/$t1" >/dev/null
    mount -o ro "/dev/$t1" /mnt/x
    refused "$t1 is mounted at /mnt/x"
    umount /mnt/x
}

mounted-whole-disk() {
    target
    filesystem "$t"
    mount "/dev/$t" /mnt/x
    refused "$t is mounted at /mnt/x"
    umount /mnt/x
}

mounted-in-another-namespace() {
    target
    filesystem "$t1"
    unshare -m sh -c "mount /dev/$t1 /mnt/y && touch /run/mounted && sleep 100" &
    local holder=$!
    while [ ! -e /run/mounted ]; do sleep 0.1; done
    ! grep -q /mnt/y /proc/self/mountinfo || fail 'it is mounted here too'
    refused "$t1 is mounted at /mnt/y in the mount namespace of process"
    pkill -P $holder 2>/dev/null || true
    kill $holder
    wait $holder || true
}

umounted-lazily() {
    target
    filesystem "$t1"
    mount "/dev/$t1" /mnt/x
    exec 9>/mnt/x/open
    umount -l /mnt/x
    refused 'in use'
    exec 9>&-
    # The kernel lets go of it a moment later.
    sleep 1
}

btrfs-of-two-disks() {
    target
    local one two
    one=$(disk large1) two=$(disk large2)
    modprobe btrfs
    mkfs.btrfs -q -f -d single "/dev/$one" "/dev/$two"
    btrfs device scan >/dev/null
    # The mount has an anonymous number and names one of them; the other one is found by what btrfs says.
    mount "/dev/$two" /mnt/x
    refused 'btrfs|mounted at /mnt/x' "$one"
    refused 'btrfs|mounted at /mnt/x' "$two"
    umount /mnt/x
}

btrfs-by-its-anonymous-number() {
    target
    local one
    one=$(disk large1)
    mkfs.btrfs -q -f "/dev/$one"
    mount "/dev/$one" /mnt/x
    grep ' /mnt/x ' /proc/self/mountinfo | grep -q ' 0:' || fail 'the number is not anonymous'
    refused "$one is mounted at /mnt/x" "$one"
    umount /mnt/x
}

swapped-to() {
    target
    mkswap -q "/dev/$t1"
    swapon "/dev/$t1"
    refused "swaps to .*$t1: .swapoff"
    swapoff "/dev/$t1"
}

lvm-active() {
    target
    lvm pvcreate -qqyf "/dev/$t1"
    lvm vgcreate -qq old "/dev/$t1"
    lvm lvcreate -qqy -an -Zn -Wn -l 50%FREE -n data old
    lvm vgchange -qq -ay --noudevsync old
    dmsetup ls
    refused 'in use by LVM old-data'
    lvm vgchange -qq -an --noudevsync old
}

system-through-lvm() {
    target
    lvm pvcreate -qqyf "/dev/$t1"
    lvm vgcreate -qq system "/dev/$t1"
    lvm lvcreate -qqy -an -Zn -Wn -l 50%FREE -n boot system
    lvm vgchange -qq -ay --noudevsync system
    lvm vgmknodes -qq
    mkfs.ext4 -q -F /dev/mapper/system-boot
    mkdir -p /boot
    mount /dev/mapper/system-boot /boot
    refused 'the running system is on it'
    umount /boot
    lvm vgchange -qq -an --noudevsync system
}

md-member() {
    target
    mdadm --create /dev/md0 --run --level=1 --raid-devices=2 --metadata=1.2 "/dev/$t1" "/dev/$u1" 2>&1
    refused 'in use by md0'
    mdadm --stop /dev/md0 2>&1
}

dm-crypt-open() {
    target
    cryptsetup luksFormat -q --type luks2 --pbkdf pbkdf2 --pbkdf-force-iterations 1000 "/dev/$t1" <<<secret
    cryptsetup open --disable-locks "/dev/$t1" box <<<secret
    refused 'in use by dm-crypt box'
    cryptsetup close box
}

below-a-loop-device() {
    target
    local loop
    loop=$(losetup -f --show "/dev/$t1")
    refused "in use by ${loop#/dev/}"
    losetup -d "$loop"
}

open-for-writing() {
    target
    sleep 100 9<>"/dev/$t" &
    refused 'sleep .* has it open for writing'
    kill $!
    wait $! || true
}

partition-open-for-writing() {
    target
    sleep 100 9<>"/dev/$t1" &
    refused 'sleep .* has it open for writing'
    kill $!
    wait $! || true
}

locked-by-a-program() {
    target
    flock "/dev/$t" sleep 100 &
    local holder=$!
    sleep 0.5
    refused 'locked it|open for writing'
    # Either may be gone with the other.
    pkill -P $holder 2>/dev/null || true
    kill $holder 2>/dev/null || true
    wait $holder || true
}

disk-of-the-backup() {
    target
    refused 'that the backup lies on' "$(disk shelf)"
}

same-disk-by-a-second-path() {
    target
    local one two moved
    one=$(disk path1) two=$(disk path2)
    [ "$(cat "/sys/block/$one/device/wwid")" = "$(cat "/sys/block/$two/device/wwid")" ] || fail 'the WWNs differ'
    filesystem "$one"
    mount "/dev/$one" /mnt/x
    cp -r "$backup" /mnt/x/
    sync
    moved=/mnt/x/$(basename "$backup")
    blockdev --flushbufs "/dev/$two"
    backup=$moved
    refused 'that the backup lies on' "$two"
    umount /mnt/x
}

partition-where-a-disk-is-meant() {
    target
    local name
    name=$(disk large2)
    sfdisk -q --wipe always --lock=no "/dev/$name" <<<'start=2048, type=83'
    appears "/dev/$(node "$name" 1)"
    refused "did you mean $name" "$(node "$name" 1)"
}

one-partition-onto-its-node() {
    target
    local src
    src=$(disk src)
    clone "$src" "$t"
    noisy "$t" 20 24
    expect 0 '^DONE' selfsame restore "$backup" "$(node "$t" 5)" --part 5 --yes --target-id "$(target_id "$t")" \
        --progress=none
    same "$src" "$t"
}

read-only-by-the-kernel() {
    target
    blockdev --setro "/dev/$t"
    refused 'it is read-only'
    blockdev --setrw "/dev/$t"
}

read-only-by-the-drive() {
    target
    refused 'it is read-only' "$(disk locked)"
}

too-small() {
    target
    expect 5 'too small' selfsame restore "$backup" "$(disk small)" --yes --target-id 0000000000 --progress=none
}

larger-sectors() {
    target
    expect 5 'sectors' selfsame restore "$backup" "$(disk four)" --yes --target-id 0000000000 --progress=none
}

no-terminal() {
    target
    expect 5 'no terminal' selfsame restore "$backup" "$t" --progress=none
}

yes-without-an-id() {
    target
    expect 5 'needs --target-id' selfsame restore "$backup" "$t" --yes --progress=none
}

id-of-another-disk() {
    target
    expect 5 "but this disk is" selfsame restore "$backup" "$t" --yes --target-id "$(target_id "$(disk src)")"
}

content-changed-since-it-was-shown() {
    target
    local shown
    shown=$(target_id "$t")
    dd if=/run/noise of="/dev/$t" bs=512 count=1 seek=5 oflag=direct status=none
    expect 5 'but this disk is' selfsame restore "$backup" "$t" --yes --target-id "$shown" --progress=none
}

not-confirmed() {
    target
    ask selfsame restore "$backup" "$t" --progress=none
    answer 5 'not confirmed' yes
}

mounted-in-the-last-moment() {
    target
    filesystem "$t1"
    ask selfsame restore "$backup" "$t" --progress=none
    mount "/dev/$t1" /mnt/x
    answer 5 "$t1 is mounted at /mnt/x" 'yes t'
    umount /mnt/x
}

replaced-after-the-question() {
    target
    local spare=/dev/$t
    ask selfsame restore "$backup" "$t" --progress=none
    host unplug t
    gone "$t"
    host plug spare
    [ "$(disk spare)" = "$t" ] || echo "the other disk is $(disk spare), not $t"
    spare=$(disk spare)
    answer 5 '' 'yes t'
    [ -z "$(tr -d '\0' <"/dev/$spare" | head -c 1)" ] || fail 'the other disk was written to'
    host unplug spare
    gone "$spare"
    host plug t
    disk t
}

two-disks-with-one-serial() {
    target
    disk twin >/dev/null
    expect 5 'twin' selfsame restore "$backup" twin --yes --target-id 0000000000 --progress=none
}

blank-copied-over-a-full-one() {
    target
    local full=$backup
    save "$(disk empty)"
    ask selfsame restore "$backup" "$(disk src)" --progress=none
    answer 5 'are they swapped' no
    backup=$full
}

no-such-disk() {
    target
    expect 5 'no such disk' selfsame restore "$backup" /dev/sdzz --progress=none
    [ ! -e /dev/sdzz ] || fail 'a file was made in /dev'
}

source-mounted-for-writing() {
    target
    filesystem "$t1"
    mount "/dev/$t1" /mnt/x
    expect 5 "mounted at /mnt/x|in use" selfsame save "$t" /mnt/shelf --name x --progress=none
    umount /mnt/x
}

destination-on-the-source() {
    target
    expect 5 '' selfsame save "$(disk shelf)" /mnt/shelf --name x --live --progress=none
}

source-cannot-be-mounted-meanwhile() {
    target
    local src
    src=$(disk noisy)
    fill "$src"
    noisy "$src" 40 100
    local before
    before=$(count "$src" 3)
    begin selfsame save "$src" /mnt/shelf --name busy --progress=none
    moved "$src" 3 20 "$before"
    expect '1 32' 'busy|already mounted' mount "/dev/$(node "$src" 2)" /mnt/x
    ended 0 '^DONE'
    rm -rf /mnt/shelf/busy-*
}

nothing-else-was-in-the-way() {
    target
    lvm pvcreate -qqyf "/dev/$t1"
    lvm vgcreate -qq idle "/dev/$t1"
    # LVM that nobody has activated is only content.
    restore "$backup" "$t"
    same "$(disk src)" "$t"
}
