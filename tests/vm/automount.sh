# automount: udev and what mounts whatever appears, as a desktop does, run during save and restore.

prepare() {
    local name
    name=$(disk shelf)
    shelf "$name"
    name=$(disk src)
    fill "$name"
    cat >/run/automount <<'SCRIPT'
#!/bin/bash
# What was mounted stays as it is on the disk: the comparison is of bytes.
mkdir -p "/run/media/$1"
said=$(mount -o ro "/dev/$1" "/run/media/$1" 2>&1)
echo "$1 $? $said" >>/run/automounted
SCRIPT
    chmod +x /run/automount
    mkdir -p /run/udev/rules.d
    cat >/run/udev/rules.d/99-automount.rules <<'RULE'
ACTION=="add|change", SUBSYSTEM=="block", ENV{ID_FS_USAGE}=="filesystem", RUN+="/run/automount %k"
RULE
    : >/run/automounted
    /usr/lib/systemd/systemd-udevd --daemon
    udevadm trigger --subsystem-match=block --action=add
    udevadm settle
    cat /run/automounted
}

# set_free NAME: what its user does before a save.
set_free() {
    local dir
    for dir in /run/media/"$1"*; do umount "$dir" 2>/dev/null || true; done
    udevadm settle
}

# poke NAME...: what makes udev look at partitions again and again, until the job is over.
poke() {
    while kill -0 "$job" 2>/dev/null; do
        udevadm trigger --action=change --subsystem-match=block --sysname-match="$1*"
        sleep 0.2
    done
}

save-and-restore-under-an-automounter() {
    local src t
    grep -q ' 0 ' /run/automounted || fail 'nothing was mounted by udev'
    src=$(disk src) t=$(disk t)
    set_free "$src"
    mkdir /mnt/shelf/auto
    begin selfsame save "$src" /mnt/shelf/auto --name t --progress=none
    poke "$src"
    ended 0 '^DONE'
    backup=$(echo /mnt/shelf/auto/t-*)
    expect 0 '^DONE' selfsame verify "$backup" --progress=none
    : >/run/automounted
    begin selfsame restore "$backup" "$t" --yes --target-id "$(target_id "$t")" --progress=none
    poke "$t"
    ended 0 '^DONE'
    udevadm settle
    cat /run/automounted
    grep -q "^$t" /run/automounted || fail 'the automounter has not seen the restored disk'
    set_free "$t"
    set_free "$src"
    same "$src" "$t"
}

names-of-udev-name-a-disk() {
    local link
    link=$(find /dev/disk/by-id -name '*src' | head -n 1)
    [ -n "$link" ] || fail 'udev made no link'
    expect 0 '' selfsame show "$link"
    expect 0 '' selfsame show "${link##*/}"
}
