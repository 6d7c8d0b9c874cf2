# pull: a disk is pulled in the middle of a job. Nothing half is called whole, and the next try works.

prepare() {
    local name
    mkdir -p /mnt/usb
    name=$(disk shelf)
    shelf "$name"
    name=$(disk src)
    fill "$name"
    noisy "$name" 40 200
    save "$name"
    echo "$backup" >/run/backup
}

# target_pulled SERIAL
target_pulled() {
    local name before
    backup=$(cat /run/backup)
    name=$(disk "$1")
    before=$(count "$name" 7)
    begin selfsame restore "$backup" "$name" --yes --target-id "$(target_id "$name")" --progress=none
    moved "$name" 7 60 "$before"
    host unplug "$1"
    ended 1 gone
    grep -q 'is no disk now' /run/said || fail 'it does not say what the disk is now'
    gone "$name"
    host plug "$1"
    name=$(disk "$1")
    sleep 0.5
    [ ! -b "/dev/$(node "$name" 1)" ] || fail 'half a disk has partitions'
    expect '1 2' '' blkid -p "/dev/$name"
    restore "$backup" "$name"
    same "$(disk src)" "$name"
}

target-pulled-usb() { target_pulled usb; }
target-pulled-uas() { target_pulled uas; }
target-pulled-nvme() { target_pulled nvme; }
target-pulled-scsi() { target_pulled scsi; }
target-pulled-virtio() { target_pulled virtio; }

backup-disk-pulled() {
    local src name before
    src=$(disk src) name=$(disk usb)
    mkfs.ext4 -q -F "/dev/$name"
    mount "/dev/$name" /mnt/usb
    before=$(count "$src" 3)
    begin selfsame save "$src" /mnt/usb --name pulled --progress=none
    moved "$src" 3 80 "$before"
    host unplug usb
    ended 1 ''
    ! grep -q '^DONE' /run/said || fail 'it says that it is done'
    umount -l /mnt/usb
    gone "$name"
    host plug usb
    name=$(disk usb)
    mount "/dev/$name" /mnt/usb
    ls -la /mnt/usb
    [ -z "$(find /mnt/usb -maxdepth 1 -name 'pulled-*' ! -name '*.part')" ] || fail 'half a backup has the name of a whole one'
    expect 0 'unfinished|no backup' selfsame backups /mnt/usb
    rm -rf /mnt/usb/pulled-*
    expect 0 '^DONE' selfsame save "$src" /mnt/usb --name again --progress=none
    expect 0 'whole' selfsame backups /mnt/usb
    umount /mnt/usb
}

source-pulled() {
    local name before
    name=$(disk scsi)
    before=$(count "$name" 3)
    begin selfsame save "$name" /mnt/shelf --name source --progress=none
    moved "$name" 3 80 "$before"
    host unplug scsi
    ended 1 'gone'
    gone "$name"
    [ -z "$(find /mnt/shelf -maxdepth 1 -name 'source-*' ! -name '*.part')" ] || fail 'half a backup has the name of a whole one'
    rm -rf /mnt/shelf/source-*
    host plug scsi
    disk scsi
}
