#!/bin/bash
# mount: a backup as a filesystem, seen by programs that are not ours: rsync, cmp, the kernel's loop device. As root and
# as a user; ended in every way; with damage in the backup. Nothing stays mounted.
test=mount
. "$(dirname "$0")/lib.sh"
if [ "$(id -u)" -ne 0 ] || ! losetup -f >/dev/null 2>&1 || [ ! -c /dev/fuse ]; then
    echo "SKIPPED: mount: needs root, loop devices and /dev/fuse"
    exit 0
fi
needs mount fusermount3 setpriv rsync mkfs.ext4 sfdisk || exit 0
user=daemon server='' look=$scratch/look as=()
clean() {
    [ -z "$server" ] || kill -KILL "$server" 2>/dev/null || true
    umount -l "$scratch/truth" "$scratch/inner" "$look" 2>/dev/null || true
    release
    rm -rf "$scratch"
}
trap clean EXIT
chmod 755 "$scratch"
cp "$SELFSAME" "$scratch/selfsame"
SELFSAME=$scratch/selfsame
mkdir "$look" "$scratch/truth" "$scratch/inner"
of_user=(setpriv --reuid "$user" --regid "$user" --clear-groups --inh-caps=-all)

# mounted ARGUMENT...: by "${as[@]}"; leaves the process in $server.
mounted() {
    : >"$scratch/where"
    "${as[@]}" "$SELFSAME" mount "$@" >"$scratch/where" 2>"$scratch/served" &
    server=$!
    for _ in $(seq 400); do
        [ ! -s "$scratch/where" ] || break
        kill -0 "$server" 2>/dev/null || break
        sleep 0.05
    done
    [ "$(cat "$scratch/where")" = "$look" ] || { cat "$scratch/served" >&2; fail "it does not mount: $*"; }
}
is_mounted() { grep -q " $look fuse" /proc/mounts; }

# ended CODE: it ends so by itself, with nothing mounted.
ended() {
    local code=0
    wait "$server" || code=$?
    server=
    [ "$code" -eq "$1" ] || { cat "$scratch/served" >&2; fail "exit code $code, not $1"; }
    ! is_mounted || fail "it is still mounted"
}
stopped() { kill -INT "$server" && ended 0; }

# The disk: a FAT partition that nothing is in, and an ext4 one with the truth in it.
disk=$scratch/disk.img
truncate -s 96M "$disk"
printf 'label: gpt\nstart=2048,size=32768\nstart=36864,size=131072\n' | sfdisk -q "$disk"
loop "$disk" 512 --offset $((36864 * 512)) --sizelimit $((131072 * 512))
inside=$device
mkfs.ext4 -q "$inside"
mount "$inside" "$scratch/truth"
(
    cd "$scratch/truth"
    mkdir -p deep/a/b/c "naïve ☃" private
    seq 200000 >deep/numbers
    head -c 5M /dev/urandom >deep/a/b/c/noise
    truncate -s 20M sparse && printf x | dd of=sparse bs=1 seek=11M conv=notrunc status=none
    for n in $(seq 500); do echo "$n" >"naïve ☃/file $n"; done
    ln deep/numbers "naïve ☃/also numbers"
    ln -s ../../etc/passwd link && ln -s deep dir
    mkfifo pipe && mknod device b 7 99
    chmod 4755 deep/numbers && chown 1000:100 private && chmod 700 private && echo s >private/secret
    touch -d '1969-07-20 20:17:40.5' deep && touch -d '2030-01-01' link -h
    setfattr -n user.mood -v good deep/numbers 2>/dev/null || true
)
umount "$scratch/truth"
save "$disk"
sum=$(cat "$backup"/* | sha256sum)

images() {
    same "$disk" "$look/images/disk.img"
    local region=131072 file
    file=$(echo "$look"/images/*2.ext4)
    cmp -n $((region * 512)) -i $((36864 * 512)):0 "$disk" "$file" || fail "another partition 2"
    [ "$(stat -c %s "$file")" -eq $((region * 512)) ] || fail "another size: $file"
    [ "$(stat -c %a:%u "$file")" = "400:$(stat -c %u "$scratch/where")" ] || fail "not the user's alone: $file"
}
files() {
    mkdir "$scratch/out"
    rsync -aHSX "$look/2/" "$scratch/out/"
    mount -o ro "$inside" "$scratch/truth"
    local changes
    changes=$(rsync -aHXcni --delete "$scratch/truth/" "$scratch/out/")
    [ -z "$changes" ] || fail "another tree: $changes"
    [ "$(stat -c %i "$look/2/deep/numbers")" = "$(stat -c %i "$look/2/naïve ☃/also numbers")" ] || fail "no hard link"
    [ "$(stat -c %t:%T:%F "$look/2/device")" = '7:63:block special file' ] || fail "another device"
    umount "$scratch/truth"
    rm -rf "$scratch/out"
}

mounted "$backup" "$look"
images
# Who answers the kernel is in its sandbox.
status=/proc/$(pgrep -oP "$server")/status
grep -q '^Seccomp:.*2$' "$status" && grep -q '^CapEff:.*0000000000000000$' "$status" || fail "the job has rights"
grep -q '^Uid:.*65534' "$status" || fail "the job is root"
if [ -e "$look/2" ]; then files; else echo "SKIPPED: mount_files: needs a reader of ext4"; fi
[ "$(ls "$look")" = "$(printf '%s\n' 2 images)" ] || [ ! -e "$look/2" ] || fail "folders: $(ls "$look")"
! touch "$look/new" 2>/dev/null || fail "it can be written"
# By the kernel.
loop "$(echo "$look"/images/*2.ext4)" 512 -r
mount -o ro,noload "$device" "$scratch/inner"
[ "$(tail -n 1 "$scratch/inner/deep/numbers")" = 200000 ] || fail "the kernel sees other files"
umount "$scratch/inner"
losetup -d "$device"
unset 'loops[-1]'
stopped
passed mount

# Others may look where that is asked for, as far as owners and modes let them.
mounted "$backup" "$look" --allow-other
"${of_user[@]}" ls "$look/images" >/dev/null || fail "others may not look"
! "${of_user[@]}" cat "$look/images/disk.img" >/dev/null 2>&1 || fail "others may read the whole disk"
if [ -e "$look/2" ]; then
    [ "$("${of_user[@]}" tail -n 1 "$look/2/deep/numbers")" = 200000 ] || fail "others may not read what is for all"
    ! "${of_user[@]}" ls "$look/2/private" >/dev/null 2>&1 || fail "others may look where they may not"
fi
stopped
passed mount_allow_other

# As a user, who is not root inside either, and from whom other users are kept away.
chown -R "$user" "$scratch/dest."* "$look" && chmod 755 "$scratch/dest."*
as=("${of_user[@]}")
touch "$scratch/where" && chown "$user" "$scratch/where"
mounted "$backup" "$look"
"${as[@]}" cmp "$disk" "$look/images/disk.img"
if "${as[@]}" [ -e "$look/2" ]; then
    [ "$("${as[@]}" tail -n 1 "$look/2/deep/numbers")" = 200000 ] || fail "other files"
    [ "$("${as[@]}" cat "$look/2/private/secret")" = s ] || fail "a user does not see all files of its own backup"
fi
! cat "$look/images/disk.img" >/dev/null 2>&1 || fail "another user may look"
stopped
passed mount_user

# Every way to end it, for root and for a user.
for who in root user; do
    as=() unmount=(umount) dead=1
    if [ "$who" = user ]; then as=("${of_user[@]}") unmount=("${of_user[@]}" fusermount3 -u) dead=2; fi
    mounted "$backup" "$look"
    "${unmount[@]}" "$look"
    ended 0
    mounted "$backup" "$look"
    kill -TERM "$server"
    ended 0
    # The job alone: its monitor unmounts.
    mounted "$backup" "$look"
    kill -KILL "$(pgrep -oP "$server")"
    ended 1
    # The monitor alone: its job dies with it, and what watches unmounts.
    mounted "$backup" "$look"
    kill -KILL "$server"
    wait "$server" || true
    server=
    for _ in $(seq 400); do
        is_mounted || break
        sleep 0.05
    done
    ! is_mounted || fail "a dead mount is left"
    # And that too: a dead mount is left, and the next one says what to do.
    mounted "$backup" "$look"
    kill -KILL "$(pgrep -nP "$server")"
    kill -KILL "$server"
    wait "$server" || true
    server=
    for _ in $(seq 400); do
        "${as[@]}" ls "$look" >/dev/null 2>&1 || break
        sleep 0.05
    done
    expect 5 "${as[@]}" "$SELFSAME" mount "$backup" "$look"
    grep -q "a mount whose program is gone: ${unmount[*]: -$dead} $look" "$scratch/said" || fail "what to do is not said: $(cat "$scratch/said")"
    "${unmount[@]}" "$look"
    # In use: it goes all the same, and the user is told.
    mounted "$backup" "$look"
    "${as[@]}" tail -f "$look/images/disk.img" >/dev/null 2>&1 &
    reader=$!
    for _ in $(seq 100); do
        ! readlink "/proc/$reader/fd/"* 2>/dev/null | grep -q disk.img || break
        sleep 0.05
    done
    stopped
    grep -q 'still open' "$scratch/served" || fail "what is open is not said: $(cat "$scratch/served")"
    kill "$reader" 2>/dev/null || true
done
as=()
passed mount_ends

# What is refused.
touch "$scratch/inner/file"
expect 5 "$SELFSAME" mount "$backup" "$scratch/inner"
[ -f "$scratch/inner/file" ] || fail "it was mounted over"
expect 1 "$SELFSAME" mount "$backup" "$scratch/none"
grep -q "mkdir" "$scratch/said" || fail "what to do is not said"
[ "$(cat "$backup"/* | sha256sum)" = "$sum" ] || fail "the backup was changed"
passed mount_refused

# A damaged frame: an error there, and only there.
file=$(ls "$backup"/*2.ext4.zst)
printf '\377' | dd of="$file" bs=1 seek=$(($(stat -c %s "$file") / 2)) conv=notrunc status=none
mounted "$backup" "$look"
bad=0 good=0
for ((at = 0; at < 64; at++)); do
    if dd if="$(echo "$look"/images/*2.ext4)" bs=1M skip="$at" count=1 iflag=fullblock status=none >"$scratch/read" 2>/dev/null; then
        cmp -n 1048576 -i $((36864 * 512 + at * 1048576)):0 "$disk" "$scratch/read" || fail "silently wrong at $at MiB"
        good=$((good + 1))
    else
        bad=$((bad + 1))
    fi
done
[ "$bad" -eq 1 ] && [ "$good" -eq 63 ] || fail "$bad MiB are bad, $good good"
if [ -e "$look/2" ]; then
    ! cmp -s "$look/2/deep/a/b/c/noise" /dev/null || fail "no noise"
    [ "$(tail -n 1 "$look/2/deep/numbers")" = 200000 ] || fail "a file elsewhere is lost too"
fi
stopped
passed mount_damaged
