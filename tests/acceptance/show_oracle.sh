#!/bin/bash
# show_oracle: show --json says of every disk of the corpus what sfdisk -J, sgdisk and blkid -p say. Disks with
# sectors of 4096 bytes are shown to those as loop devices, since they take every file for one with 512.
test=show_oracle
. "$(dirname "$0")/lib.sh"
needs show_oracle python3 sfdisk sgdisk blkid || exit 0

# agree DISK NAME
agree() { tests/acceptance/show_oracle.py "$SELFSAME" "$1" "$2" || fail "$2"; }

# name PATH: of a disk of the corpus, without the builder's stamp and the sector size.
name() { basename "$1" | sed 's/\(-[0-9a-f]\{12\}\|\.[0-9]*\.img\)$//'; }

# table DISK: its sector size, table and partitions.
table() { "$SELFSAME" show --json "$1" | json '[d["sector_size"], d["table"], d["partitions"]]'; }

disks=("$(corpus cassandra)" "$(corpus gpt-512)" "$(corpus filesystems)" "$(corpus tables)"/*.512.img)
for disk in "${disks[@]}"; do agree "$disk" "$(name "$disk")"; done
passed show_oracle

if [ "$(id -u)" -ne 0 ] || ! losetup -f >/dev/null 2>&1; then
    echo "SKIPPED: show_oracle_4096: needs root and loop devices"
    exit 0
fi
for disk in "$(corpus gpt-4096)" "$(corpus tables)"/*.4096.img; do
    loop "$disk" 4096 -r
    agree "$device" "$(name "$disk")"
    # As a file nothing says 4096 but the table and what lies where it says.
    [ "$(table "$disk")" = "$(table "$device")" ] || fail "$disk is shown otherwise as a file"
    release
done
passed show_oracle_4096
