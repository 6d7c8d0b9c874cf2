# Words shared by the scripts of the laboratory, in the guest. A script defines `prepare` and its cases.
# File descriptor 7 is the control port: one line there is one order to the host.

# fail WHY...: ends the case.
fail() {
    echo "FAILED: $*"
    [ -s /run/why ] || echo "$*" >/run/why
    exit 1
}

prepare() { :; }

# host ORDER...: has the host pull or plug a disk.
host() {
    local answer
    echo "$*" >&7
    read -r -t 20 answer <&7 || fail "the host does not answer to: $*"
    [ "$answer" = ok ] || fail "$*: $answer"
}

# note_refusal CODE: has the host print what was refused, with its sentence.
note_refusal() {
    [ "$1" != 5 ] || echo "note exit 5: $(grep -m 1 '^Refused' /run/said)" >&7
}

# serial_of NAME: what a whole disk says of itself, read without our program.
serial_of() {
    local dir=/sys/block/$1 up
    if [ -e "$dir/serial" ]; then cat "$dir/serial"; return; fi
    if [ -e "$dir/device/serial" ]; then sed 's/ *$//' "$dir/device/serial"; return; fi
    # A page of vital product data: four bytes of header, then the serial.
    if [ -e "$dir/device/vpd_pg80" ]; then tail -c +5 "$dir/device/vpd_pg80" | tr -d '\0 '; return; fi
    up=$(readlink -f "$dir/device")
    while [ "${up#/sys/devices/}" != "$up" ]; do
        if [ -e "$up/idVendor" ]; then cat "$up/serial"; return; fi
        up=${up%/*}
    done
}

# disk SERIAL: the kernel's name of a disk now: sda. Waits for it for ten seconds.
disk() {
    local n dir
    for ((n = 0; n < 100; n++)); do
        for dir in /sys/block/[snv][dv]*; do
            [ "$(serial_of "${dir##*/}" 2>/dev/null)" != "$1" ] || { echo "${dir##*/}"; return; }
        done
        sleep 0.1
    done
    fail "no disk has the serial $1"
}

# node NAME N: the name of its partition N: sda1, nvme0n1p1.
node() {
    case $1 in
        *[0-9]) echo "$1p$2" ;;
        *) echo "$1$2" ;;
    esac
}

# gone NAME: waits until the kernel has no such disk.
gone() {
    local n
    for ((n = 0; n < 100; n++)); do
        [ -e "/sys/block/$1" ] || return 0
        sleep 0.1
    done
    fail "$1 is still there"
}

# appears PATH...: waits until the nodes are there.
appears() {
    local path n
    for path; do
        for ((n = 0; n < 50; n++)); do
            [ ! -b "$path" ] || continue 2
            sleep 0.1
        done
        fail "$path is not there"
    done
}

# look: what the program says of all disks now, into /run/disks.json.
look() { selfsame disks --json >/run/disks.json; }

# of NAME EXPRESSION: what it said of a disk when it was looked last, in the words of jq.
of() { jq -r --arg name "$1" ".disks[] | select(.name == \$name) | $2" /run/disks.json; }

# id NAME: the ID of a disk, looked at now.
id() { look && of "$1" .id; }

# expect CODES TEXT COMMAND...: the command ends with one of these exit codes ("0", "1 4"), and has said TEXT (an
# extended regular expression; empty: anything). What it said is in /run/said and in the log.
expect() {
    local codes=$1 text=$2 code=0 began=${EPOCHREALTIME/./}
    shift 2
    echo "\$ $*"
    "$@" >/run/said 2>&1 </dev/null || code=$?
    cat /run/said
    echo "-> exit code $code after $(((${EPOCHREALTIME/./} - began) / 1000)) ms"
    [[ " $codes " == *" $code "* ]] || fail "exit code $code, not $codes: $*: $(tail -n 1 /run/said)"
    [ -z "$text" ] || grep -qE -- "$text" /run/said || fail "not said: $text: by: $*"
    note_refusal $code
}

# same A B: byte for byte, over the whole disks. The comparison is not ours.
same() {
    local a b
    a=$(blockdev --getsize64 "/dev/$1") b=$(blockdev --getsize64 "/dev/$2")
    [ "$a" = "$b" ] || fail "$1 has $a bytes, $2 $b"
    # What the kernel has in memory is no proof.
    blockdev --flushbufs "/dev/$1" "/dev/$2"
    echo "cmp /dev/$1 /dev/$2 ($a bytes)"
    cmp "/dev/$1" "/dev/$2" || fail "$1 and $2 differ"
}

# filesystem NODE: an ext4 that does not write by itself later.
filesystem() { mkfs.ext4 -q -F -E lazy_itable_init=0,lazy_journal_init=0 "/dev/$1"; }

# noise SEED BYTES: that do not compress, the same for the same seed.
noise() { tail -c +$(($1 * 4096 + 1)) /run/noise | head -c "$2" || true; }

# fill NAME: makes a small disk of it: MBR with boot code, partitions 1 (vfat), 2 (ext4), 5 (ext3) and 6 (swap), noise
# in gaps, EBRs' boot code and tail. Needs 40 MiB; all that lies beyond is zeroes.
fill() {
    local disk=/dev/$1 sector mib
    sector=$(blockdev --getss "$disk")
    mib=$((1048576 / sector))
    noise 1 1048576 | dd of="$disk" bs=1M iflag=fullblock oflag=direct status=none
    noise 9 2097152 | dd of="$disk" bs=1M seek=38 iflag=fullblock oflag=direct status=none
    sfdisk -q --wipe never --wipe-partitions never --no-reread --lock=no "$disk" <<TABLE
label: dos
label-id: 0x5e1f5a3e
start=$mib, size=$((8 * mib)), type=c, bootable
start=$((10 * mib)), size=$((8 * mib)), type=83
start=$((19 * mib)), size=$((19 * mib)), type=5
start=$((20 * mib)), size=$((8 * mib)), type=83
start=$((29 * mib)), size=$((8 * mib)), type=82
TABLE
    blockdev --rereadpt "$disk"
    appears "/dev/$(node "$1" 1)" "/dev/$(node "$1" 2)" "/dev/$(node "$1" 5)" "/dev/$(node "$1" 6)"
    mkfs.vfat -S "$sector" -n OLD "/dev/$(node "$1" 1)" >/dev/null 2>&1
    mkfs.ext4 -q -F -L home -b 4096 "/dev/$(node "$1" 2)"
    mkfs.ext3 -q -F -L data -b 4096 "/dev/$(node "$1" 5)"
    mkswap -q "/dev/$(node "$1" 6)"
    mkdir -p /run/fill
    mount "/dev/$(node "$1" 2)" /run/fill
    noise 3 2000000 >/run/fill/photo.jpg
    echo 'Meet me at the station at noon.' >/run/fill/note.txt
    umount /run/fill
    sync
}

# clone FROM TO: a plain copy, for a test to begin with.
clone() {
    dd if="/dev/$1" of="/dev/$2" bs=4M iflag=direct oflag=direct status=none
    blockdev --flushbufs "/dev/$2"
    blockdev --rereadpt "/dev/$2"
}

# noisy NAME FROM TO: bytes that do not compress from this MiB of the disk up to that one, so that a job takes a while.
noisy() {
    local mib
    for ((mib = $2; mib < $3; mib += 4)); do
        noise "$mib" 4194304 | dd of="/dev/$1" bs=4M seek="${mib}M" oflag=direct,seek_bytes iflag=fullblock status=none
    done
}

# blank NAME: zeroes the first MiB and the last one, which is enough for nobody to see anything on it.
blank() {
    local size
    size=$(blockdev --getsize64 "/dev/$1")
    dd if=/dev/zero of="/dev/$1" bs=1M count=1 oflag=direct status=none
    dd if=/dev/zero of="/dev/$1" bs=1M count=1 seek=$((size / 1048576 - 1)) oflag=direct status=none
    blockdev --rereadpt "/dev/$1"
}

# shelf NAME: a filesystem on the disk for backups, mounted at /mnt/shelf.
shelf() {
    mkdir -p /mnt/shelf
    mkfs.ext4 -q -F -L shelf "/dev/$1"
    mount "/dev/$1" /mnt/shelf
}

# save NAME OPTION...: a backup of a disk on the shelf; its path is in $backup.
save() {
    local name=$1
    shift
    rm -rf "/mnt/shelf/of-$name"
    mkdir "/mnt/shelf/of-$name"
    expect 0 '^DONE' selfsame save "$name" "/mnt/shelf/of-$name" --name t --progress=none "$@"
    backup=$(echo "/mnt/shelf/of-$name"/t-*)
    [ -d "$backup" ] && [[ $backup != *.part ]] || fail "no backup of $name: $backup"
}

# target_id NAME: the ID of a disk as the refusal to write it unasked says it; needs $backup. Quicker than `id`.
target_id() {
    { selfsame restore "$backup" "$1" --progress=none 2>&1 </dev/null || true; } | sed -n 's/.*--target-id \([0-9a-f]*\).*/\1/p'
}

# restore BACKUP NAME OPTION...: as a script does it.
restore() {
    local from=$1 to=$2 backup=$1
    shift 2
    expect 0 '^DONE' selfsame restore "$from" "$to" --yes --target-id "$(target_id "$to")" --progress=none "$@"
}

# ask COMMAND...: begins a command that asks on its terminal, and waits until it does. `answer` answers.
ask() {
    rm -f /run/keys
    mkfifo /run/keys
    script -qefc "$(printf '%q ' "$@")" /run/asked </run/keys >/dev/null 2>&1 &
    asked=$!
    exec 8>/run/keys
    local n
    for ((n = 0; n < 150; n++)); do
        ! grep -q '^Type' /run/asked 2>/dev/null || return 0
        kill -0 $asked 2>/dev/null || break
        sleep 0.1
    done
    cat /run/asked
    fail "it does not ask: $*"
}

# answer CODES TEXT WORDS: types the words; then as `expect`.
answer() {
    local code=0
    echo "$3" >&8
    exec 8>&-
    wait $asked || code=$?
    tr -d '\r' </run/asked >/run/said
    cat /run/said
    echo "-> exit code $code"
    [[ " $1 " == *" $code "* ]] || fail "exit code $code, not $1 after the answer $3: $(tail -n 1 /run/said)"
    grep -qE -- "$2" /run/said || fail "not said: $2"
    note_refusal $code
}

# begin COMMAND...: in the background; `ended` takes its exit code as `expect` does.
begin() {
    echo "\$ $* &"
    "$@" >/run/said 2>&1 </dev/null &
    job=$!
}

# ended CODES TEXT
ended() {
    local code=0
    wait $job || code=$?
    cat /run/said
    echo "-> exit code $code"
    [[ " $1 " == *" $code "* ]] || fail "exit code $code, not $1: $(tail -n 1 /run/said)"
    grep -qE -- "$2" /run/said || fail "not said: $2"
}

# moved NAME FIELD MIB BEFORE: waits until so much was read from (3) or written to (7) a disk since `count` said BEFORE;
# stat of sysfs counts in units of 512 bytes.
moved() {
    local n fields before=$4
    for ((n = 0; n < 600; n++)); do
        read -ra fields <"/sys/block/$1/stat"
        [ $(((fields[$2 - 1] - before) / 2048)) -lt "$3" ] || return 0
        kill -0 "$job" 2>/dev/null || { cat /run/said; fail "it was over before $3 MiB had moved"; }
        sleep 0.05
    done
    fail "$1 stands still"
}

# count NAME FIELD: what `moved` counts from.
count() {
    local fields
    read -ra fields <"/sys/block/$1/stat"
    echo "${fields[$2 - 1]}"
}
