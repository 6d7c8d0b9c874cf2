# Words shared by the acceptance tests, which run the program on real disks. To be sourced, after setting
# $test, the test's name. Leaves the shell in the project's folder, $scratch empty and removed at exit.

set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
PATH=$PATH:$PWD/target/tools/bin:/usr/sbin:/sbin
SELFSAME=$(realpath "${SELFSAME:-target/release/selfsame}")
scratch=$(mktemp -d "${TMPDIR:-/tmp}/selfsame-$test.XXXXXX")
loops=()
trap 'release; rm -rf "$scratch"' EXIT

fail() { echo "FAILED: $test: $*" >&2; exit 1; }
passed() { echo "PASSED: $1"; }

# needs TEST TOOL...: false, and says so, if a tool is missing.
needs() {
    local name=$1 tool
    shift
    for tool; do
        command -v "$tool" >/dev/null || { echo "SKIPPED: $name: needs $tool"; return 1; }
    done
}

# expect CODES COMMAND...: the command ends with one of these exit codes ("0", "1 4"). Its output is in $scratch/said.
expect() {
    local codes=$1 code=0
    shift
    "$@" >"$scratch/said" 2>&1 || code=$?
    [[ " $codes " == *" $code "* ]] || { cat "$scratch/said" >&2; fail "exit code $code, not $codes: $*"; }
}

# save SOURCE OPTION...: a backup in a folder of its own; leaves its path in $backup.
save() {
    local source=$1 dest
    shift
    dest=$(mktemp -d "$scratch/dest.XXXXXX")
    expect 0 "$SELFSAME" save "$source" "$dest" --name t --progress=none "$@"
    backup=$(echo "$dest"/t-*)
    [ -d "$backup" ] && [[ $backup != *.part ]] || fail "no backup in $dest after: save $source $*"
}

# same FILE FILE: the comparison is not ours.
same() { cmp "$1" "$2" || fail "$1 and $2 differ"; }

corpus() { tests/corpus/disk "$1"; }

# small FILE: the sample disk of the tests.
small() { cargo run --quiet --release -p selfsame-testkit --bin sample-disk "$1"; }

# not_a_disk PATH: neither blkid nor sfdisk see a table or a filesystem there.
not_a_disk() { ! blkid -p "$1" >/dev/null 2>&1 && ! sfdisk -J "$1" >/dev/null 2>&1; }

# loop FILE SECTOR_SIZE OPTION...: leaves the device of the file in $device.
loop() {
    device=$(losetup -f --show -b "$2" "${@:3}" "$1")
    loops+=("$device")
}

# release: all loop devices of this test.
release() {
    local each
    for each in ${loops[@]+"${loops[@]}"}; do losetup -d "$each" || true; done
    loops=()
}

# json EXPRESSION: of the document on standard input, as Python writes it: d["name"].
json() { python3 -c 'import json, sys; d = json.load(sys.stdin); print(eval(sys.argv[1]))' "$1"; }

# ones FILE BYTES: a disk that held something else.
ones() { head -c "$2" /dev/zero | tr '\0' '\377' >"$1"; }

# data MIB: half of it compresses, half does not.
data() {
    local n
    for ((n = 0; n < $1; n += 32)); do
        openssl enc -aes-128-ctr -nosalt -K "$(printf '%032x' "$n")" -iv 0 -in /dev/zero 2>/dev/null | head -c 16M || true
        seq "$((n * 1000000))" "$((n * 1000000 + 9999999))" | head -c 16M || true
    done
}

# most_memory COMMAND...: its peak resident set, in KiB.
most_memory() {
    /usr/bin/time -f %M -o "$scratch/memory" "$@" >"$scratch/said" 2>&1 || { cat "$scratch/said" >&2; fail "$*"; }
    tail -n 1 "$scratch/memory"
}

# bounded VERB COMMAND...: it takes at most 128 MiB of memory. Says how much, and how long it took.
bounded() {
    local verb=$1 peak began=$SECONDS
    shift
    peak=$(most_memory "$@")
    echo "$verb: peak resident set $peak KiB, $((SECONDS - began)) s"
    [ "$peak" -le 131072 ] || fail "$verb took $peak KiB"
}
