# power: the power is cut during a save, and just after one. The backup disk loses what it was not told to flush.

prepare() {
    local name
    name=$(disk shelf)
    mkdir -p /mnt/shelf
    blkid -p "/dev/$name" >/dev/null || mkfs.ext4 -q -F "/dev/$name"
    mount "/dev/$name" /mnt/shelf
    sync
}

cut-during-a-save() {
    local src before
    src=$(disk src)
    fill "$src"
    noisy "$src" 40 160
    before=$(count "$src" 3)
    begin selfsame save "$src" /mnt/shelf --name first --progress=none
    moved "$src" 3 80 "$before"
    echo cut >&7
    sleep 20
    fail 'the power was not cut'
}

unfinished-after-the-cut() {
    ls -laR /mnt/shelf
    [ -n "$(find /mnt/shelf -maxdepth 1 -name 'first-*.part')" ] || echo 'nothing of it is left'
    [ -z "$(find /mnt/shelf -maxdepth 1 -name 'first-*' ! -name '*.part')" ] || fail 'half a backup is called whole'
    expect 0 'unfinished|no backup' selfsame backups /mnt/shelf
    local part
    for part in /mnt/shelf/first-*.part; do
        [ ! -d "$part" ] || expect '1 4 5' '' selfsame verify "$part" --progress=none
    done
}

cut-after-a-save() {
    local src
    src=$(disk src)
    rm -rf /mnt/shelf/first-*
    expect 0 '^DONE' selfsame save "$src" /mnt/shelf --name second --progress=none
    echo cut >&7
    sleep 20
    fail 'the power was not cut'
}

whole-after-the-cut() {
    expect 0 'whole' selfsame backups /mnt/shelf
    expect 0 '^DONE' selfsame verify /mnt/shelf/second-* --against "$(disk src)" --progress=none
}
