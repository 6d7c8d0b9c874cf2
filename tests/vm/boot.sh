# boot: disks that boot are saved and restored onto larger ones; the host then boots those.

prepare() {
    local name
    name=$(disk shelf)
    shelf "$name"
}

# moves FROM TO OPTION...
moves() {
    local from to size
    from=$(disk "$1") to=$(disk "$2")
    shift 2
    save "$from"
    restore "$backup" "$to" "$@"
    size=$(blockdev --getsize64 "/dev/$from")
    if [ $# -eq 0 ]; then cmp -n "$size" "/dev/$from" "/dev/$to" || fail 'they differ'; fi
    expect 0 '' sfdisk -l "/dev/$to"
}

bios-disk-onto-a-larger-one() { moves bios-a bios-b; }

uefi-disk-onto-a-larger-one() {
    local to
    moves uefi-a uefi-b --move-backup-gpt
    to=$(disk uefi-b)
    expect 0 'No problems found' sgdisk -v "/dev/$to"
    same "$(node "$(disk uefi-a)" 1)" "$(node "$to" 1)"
    same "$(node "$(disk uefi-a)" 2)" "$(node "$to" 2)"
}
