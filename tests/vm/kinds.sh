# kinds: a disk of every kind of bus and sector size, saved and restored onto an equal one.

prepare() {
    local name
    name=$(disk shelf)
    shelf "$name"
}

# kind SERIAL TRANSPORT SECTOR MODEL: the disk SERIAL-a goes to SERIAL-b, whole and by the word of nobody but cmp.
kind() {
    local a b n
    a=$(disk "$1-a") b=$(disk "$1-b")
    fill "$a"
    expect 0 "^$a .* $2 .*$4.* $1-a " selfsame disks
    look
    [ "$(of "$a" '"\(.transport) \(.serial) \(.sector_size)"')" = "$2 $1-a $3" ] || fail 'disks --json'
    expect 0 'swap' selfsame show "$a"
    save "$a"
    expect 0 '^DONE' selfsame verify "$backup" --progress=none
    expect 0 '^DONE' selfsame verify "$backup" --against "$a" --progress=none
    restore "$backup" "$b"
    for n in 1 2 5 6; do [ -b "/dev/$(node "$b" $n)" ] || fail "the kernel has no partition $n of $b"; done
    same "$a" "$b"
    rm -rf "$backup"
}

ide() { kind ide ata 512 'QEMU HARDDISK'; }
sata() { kind sata ata 512 'QEMU HARDDISK'; }
usb() { kind usb usb 512 'QEMU HARDDISK'; }
uas() { kind uas usb 512 'QEMU HARDDISK'; }
uas-4k() { kind uas4k usb 4096 'QEMU HARDDISK'; }
nvme() { kind nvme nvme 512 'QEMU NVMe Ctrl'; }
nvme-4k() { kind nvme4k nvme 4096 'QEMU NVMe Ctrl'; }
virtio() { kind virtio virtio 512 ''; }
scsi() { kind scsi scsi 512 'QEMU HARDDISK'; }
scsi-4k() { kind scsi4k scsi 4096 'QEMU HARDDISK'; }

sectors-512-onto-4k() {
    local a b
    a=$(disk scsi-a) b=$(disk scsi4k-b)
    fill "$a"
    save "$a"
    expect 5 'sectors' selfsame restore "$backup" "$b" --yes --target-id "$(id "$b")" --progress=none
}
