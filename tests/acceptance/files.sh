#!/bin/bash
# files: a partition of 5,000 files, saved to .zst, comes out of it with `get -r` as it was, and `ls` names every one.
# CPU time is printed beside a reader that is not ours, on the raw image.
test=files
. "$(dirname "$0")/lib.sh"
needs files mkfs.ext4 rsync sfdisk python3 || exit 0

# grow FOLDER: 5,000 files in 250 folders, 150 MB, half of which compresses; names, links, holes, modes, times.
grow() {
    python3 - "$1" <<'PYTHON'
import os, random, sys
top = sys.argv[1]
random.seed(5)
for folder in range(250):
    path = f"{top}/d{folder % 10}/sub{folder}"
    os.makedirs(path)
    for n in range(20):
        size = int(random.expovariate(1 / 30000))
        bytes = (b"line of text %d\n" % n) * (size // 30) + random.randbytes(size // 2)
        open(f"{path}/file{folder * 20 + n}.txt", "wb").write(bytes)
os.makedirs(f"{top}/names")
for name in ["gr\u00fcn", "\u65e5\u672c\u8a9e", "two  blanks", "x" * 255, "bad\n\x01"]:
    open(f"{top}/names/{name}", "w").write(name)
os.symlink("names/gr\u00fcn", f"{top}/link")
os.symlink("/etc/passwd", f"{top}/absolute")
open(f"{top}/one", "w").write("one")
os.chmod(f"{top}/one", 0o640)
os.link(f"{top}/one", f"{top}/names/two")
with open(f"{top}/sparse", "wb") as sparse:
    sparse.seek(50 << 20)
    sparse.write(b"end")
os.utime(f"{top}/one", ns=(1234567890123456789, 1111111111987654321))
os.utime(f"{top}/d0", ns=(1234567890123456789, 1111111111987654321))
PYTHON
}

# cpu WHAT COMMAND...: leaves its seconds of CPU in $seconds, of all its processes, and prints them.
cpu() {
    local what=$1
    shift
    /usr/bin/time -f '%U %S' -o "$scratch/cpu" "$@" >"$scratch/said" 2>&1 || { cat "$scratch/said" >&2; fail "$*"; }
    seconds=$(tail -n 1 "$scratch/cpu" | python3 -c 'print(sum(map(float, input().split())))')
    echo "$what: $seconds s of CPU"
}

mkdir "$scratch/tree"
grow "$scratch/tree"
truncate -s 300M "$scratch/disk.img"
echo '2048,580000,L' | sfdisk -q --label dos "$scratch/disk.img"
truncate -s $((580000 * 512)) "$scratch/part"
mkfs.ext4 -q -F -d "$scratch/tree" "$scratch/part"
dd if="$scratch/part" of="$scratch/disk.img" bs=1M seek=1 conv=notrunc status=none
save "$scratch/disk.img" --level 1

cpu "get -r from .zst" "$SELFSAME" get -r "$backup" 1 "$scratch/out" --progress none
ours=$seconds
# The time of the topmost folder is that of the filesystem, not of the tree that it was made of.
differ=$(rsync -nacAXH --delete -i --exclude=/lost+found "$scratch/tree/" "$scratch/out/" | grep -v ' \./$' || true)
[ -z "$differ" ] || { echo "$differ" | head -n 20 >&2; fail "get -r made another tree"; }
[ "$(du -s "$scratch/out" | cut -f 1)" -lt $(($(du -s "$scratch/tree" | cut -f 1) + 4096)) ] || fail "holes are filled"

cpu "ls -R from .zst" "$SELFSAME" ls -R "$backup" 1
"$SELFSAME" ls -R --json "$backup" 1 | python3 -c '
import json, os, sys
top = os.fsencode(sys.argv[1])
shown = {}
for entry in json.load(sys.stdin)["entries"]:
    path = bytes(entry.get("path_bytes") or entry["path"].encode())
    if path != b"lost+found":
        shown[path] = (entry["kind"], entry["size"] if entry["kind"] != "directory" else 0, entry["mode"])
truth = {}
for folder, folders, files in os.walk(top):
    for name in folders + files:
        path = os.path.join(folder, name)
        stat = os.lstat(path)
        kind = {0o040000: "directory", 0o120000: "symlink", 0o100000: "file"}[stat.st_mode & 0o170000]
        size = stat.st_size if kind != "directory" else 0
        truth[os.path.relpath(path, top)] = (kind, size, stat.st_mode & 0o7777)
wrong = [path for path in truth.keys() | shown.keys() if truth.get(path) != shown.get(path)]
print(f"ls: {len(truth) - len(wrong)} entries right, {len(wrong)} wrong")
sys.exit(bool(wrong))' "$scratch/tree" || fail "ls shows another tree"

expect 0 "$SELFSAME" verify --files "$backup" --progress none
if needs "files: tsk_recover" tsk_recover; then
    cpu "tsk_recover -a from the raw image" tsk_recover -a -o 2048 "$scratch/disk.img" "$scratch/tsk"
    python3 -c 'import sys; print("get: %.2f times as much" % (float(sys.argv[1]) / max(float(sys.argv[2]), 0.01)))' "$ours" "$seconds"
fi
bounded get "$SELFSAME" get -r "$backup" 1 "$scratch/again" --progress none
passed files

# --- a target that makes no files without a name: they have one until they are complete
needs files_named mkfs.ntfs ntfs-3g || exit 0
trap 'umount -q "$scratch/mnt" || true; release; rm -rf "$scratch"' EXIT
truncate -s 400M "$scratch/target"
mkfs.ntfs -qFf "$scratch/target" 2>/dev/null
mkdir "$scratch/mnt"
ntfs-3g "$scratch/target" "$scratch/mnt"
# Names that Windows knows: those of the others are not asked for.
expect 0 "$SELFSAME" get -r "$backup" 1/d0 1/one "$scratch/mnt" --progress none
expect 1 "$SELFSAME" get -r "$backup" 1/one "$scratch/mnt" --progress none
grep -qF -- '--force replaces files' "$scratch/said" || fail "a file that is there was not told of"
expect 0 "$SELFSAME" get -r --force "$backup" 1/one "$scratch/mnt" --progress none
diff -r "$scratch/tree/d0" "$scratch/mnt/d0" || fail "other files on NTFS"
cmp "$scratch/tree/one" "$scratch/mnt/one" || fail "another file on NTFS"
[ -z "$(find "$scratch/mnt" -name '.selfsame*')" ] || fail "names are left that files had before they were complete"
passed files_named
