# bad: a disk with sectors that cannot be read is never saved in silence.

prepare() {
    local name
    name=$(disk shelf)
    shelf "$name"
}

# reads_badly SERIAL: its sectors 49000 to 49002 fail; they lie in partition 5.
reads_badly() {
    local name
    name=$(disk "$1")
    fill "$name"
    ! dd if="/dev/$name" of=/dev/null bs=512 skip=49001 count=1 iflag=direct status=none 2>/dev/null ||
        fail 'the bad sector can be read'
    expect '1 3' '' selfsame save "$name" /mnt/shelf --name "$1" --progress=none
    grep -qE '4[89][0-9][0-9][0-9]' /run/said || fail 'the place is not named'
    ! grep -q '^DONE$' /run/said || fail 'it says that it is done'
    [ -z "$(find /mnt/shelf -maxdepth 1 -name "$1-*" ! -name '*.part')" ] || fail 'a backup has the name of a whole one'
}

bad-nvme() { reads_badly nvme; }
bad-scsi() { reads_badly scsi; }
bad-ide() { reads_badly ide; }
bad-usb() { reads_badly usb; }

target-fails-to-write() {
    local good worn
    good=$(disk good) worn=$(disk worn)
    fill "$good"
    noisy "$good" 20 28
    save "$good"
    expect 1 'writing|zeroing|flushing' selfsame restore "$backup" "$worn" --yes --target-id "$(target_id "$worn")" \
        --progress=none
    grep -q 'is no disk now' /run/said || fail 'it does not say what the disk is now'
    ! grep -q ddrescue /run/said || fail 'the advice is about another disk'
    [ ! -b "/dev/$(node "$worn" 1)" ] || fail 'half a disk has partitions'
}
