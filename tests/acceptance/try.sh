#!/bin/bash
# try: a backup boots in a virtual computer, by a BIOS and by UEFI firmware, writes to its disk, and stays what it was;
# so it does from `serve --overlay`, which keeps what was written. QEMU emulates: there may be no KVM, or none that works.
test=try
. "$(dirname "$0")/lib.sh"
server=
stop() {
    [ -z "$server" ] || kill -KILL "$server" 2>/dev/null || true
    rm -rf "$scratch"
}
trap stop EXIT

# The laboratory's QEMU (scripts/setup-vm) is there whatever the system has. It gets a prefix of its own, as one that
# somebody built has. Who asks as root has it run by nobody.
laboratory=$(realpath -m "${SELFSAME_VM_CACHE:-target/vm}")/qemu
if [ -d "$laboratory" ]; then
    own=$scratch/qemu
    mkdir -p "$own/bin"
    ln -s "$laboratory/usr/share" "$own/share"
    libraries=$laboratory/usr/lib/x86_64-linux-gnu:$laboratory/lib/x86_64-linux-gnu
    printf '#!/bin/sh\nLD_LIBRARY_PATH=%q exec %q "$@"\n' "$libraries:$laboratory/usr/lib/x86_64-linux-gnu/pulseaudio" \
        "$laboratory/usr/bin/qemu-system-x86_64" >"$own/bin/qemu-system-x86_64"
    chmod 711 "$scratch"
    chmod 755 "$own/bin/qemu-system-x86_64"
    if [ "$(id -u)" -ne 0 ] || setpriv --reuid 65534 --clear-groups test -x "$laboratory/usr/bin/qemu-system-x86_64"; then
        PATH=$own/bin:$PATH
    else
        echo "nobody may not run $laboratory"
    fi
fi
needs try qemu-system-x86_64 qemu-img sfdisk mkfs.vfat mcopy || exit 0

# A boot sector that says who it is on the serial line, writes itself over sector 1, and turns the power off.
boots=$scratch/bios.img
truncate -s 4M "$boots"
code='\x31\xc0\x8e\xd8\x8e\xc0\x8e\xd0\xbc\x00\x7c\x52\xbe\x33\x7c\xfc\xac\x84\xc0\x74\x06\xba\xf8\x03\xee\xeb\xf5\x5a'
code+='\xb6\x00\xb8\x01\x03\xb9\x02\x00\xbb\x00\x7c\xcd\x13\xba\x04\x06\xb8\x00\x20\xef\xf4\xeb\xfd'
printf "${code}this disk boots\\n" | dd of="$boots" conv=notrunc status=none
printf '\x55\xaa' | dd of="$boots" bs=1 seek=510 conv=notrunc status=none
printf 'start=2048,size=4096,type=83\n' | sfdisk -q --no-reread "$boots"
save "$boots"
bios=$backup
sum() { cat "$1"/* | sha256sum; }
before=$(sum "$bios")

for how in '' --bios; do
    # shellcheck disable=SC2086 # no word is no argument
    timeout 100 "$SELFSAME" try "$bios" --headless --emulate --memory 64 $how >"$scratch/serial" 2>"$scratch/said" ||
        { cat "$scratch/said" >&2; fail "try ended with $?"; }
    grep -q 'this disk boots' "$scratch/serial" || fail "it did not boot: $(cat "$scratch/said")"
    grep -q 'with a BIOS' "$scratch/said" && grep -q '^DONE' "$scratch/said" || fail "$(cat "$scratch/said")"
done
[ "$(sum "$bios")" = "$before" ] || fail "the backup was changed"
expect 0 "$SELFSAME" verify "$bios" --progress=none
expect 0 "$SELFSAME" verify "$bios" --against "$boots" --progress=none
passed try_bios

# The same from `serve --overlay`.
"$SELFSAME" serve "$bios" --socket "$scratch/disk.sock" --overlay "$scratch/changes" >"$scratch/uri" 2>"$scratch/said" &
server=$!
for _ in $(seq 200); do [ ! -s "$scratch/uri" ] || break; sleep 0.05; done
timeout 100 qemu-system-x86_64 -nodefaults -display none -accel tcg -m 64 -serial "file:$scratch/serial" \
    -drive "format=raw,file=$(cat "$scratch/uri")" || fail "QEMU ended with $?"
grep -q 'this disk boots' "$scratch/serial" || fail "it did not boot from what is served"
qemu-img convert -f raw -O raw "$(cat "$scratch/uri")" "$scratch/after.img"
kill -INT "$server" && wait "$server"
server=
cmp -n 510 -i 0:512 "$boots" "$scratch/after.img" || fail "what the guest wrote is not in the overlay"
[ "$(sum "$bios")" = "$before" ] || fail "the backup was changed"
passed try_serve_overlay

# Ended from outside, and what cannot be started.
truncate -s 4M "$scratch/idle.img"
"$SELFSAME" try "$scratch/idle.img" --headless --emulate --memory 64 >"$scratch/serial" 2>"$scratch/said" &
server=$!
for _ in $(seq 200); do ! grep -q 'starts in' "$scratch/said" || break; sleep 0.05; done
guest=$(pgrep -P "$server" qemu | head -n 1)
[ -n "$guest" ] || fail "no QEMU runs below the monitor"
[ "$(id -u)" -ne 0 ] || [ "$(stat -c %u "/proc/$guest")" -ne 0 ] || fail "QEMU is root"
kill -TERM "$server"
code=0
wait "$server" || code=$?
server=
[ "$code" -eq 0 ] || fail "exit code $code: $(cat "$scratch/said")"
[ ! -e "/proc/$guest" ] || fail "QEMU is left"
! ls /var/tmp/selfsame-try-* >/dev/null 2>&1 || fail "a file is left"
passed try_ended

if ! compgen -G "$scratch/qemu/share/OVMF/OVMF_CODE*.fd" >/dev/null && ! compgen -G '/usr/share/OVMF/OVMF_CODE*.fd' >/dev/null; then
    echo "SKIPPED: try_uefi: needs OVMF"
    exit 0
fi
# The shell of the firmware runs what it finds.
disk=$scratch/uefi.img
truncate -s 68M "$disk"
printf 'label: gpt\nstart=2048,size=131072,type=U\n' | sfdisk -q --no-reread "$disk"
mkfs.vfat -F 32 --offset 2048 "$disk" 65536 >/dev/null
printf 'echo this disk boots\r\nfs0:\r\necho written > written.txt\r\nreset -s\r\n' >"$scratch/startup.nsh"
mcopy -i "$disk@@1M" "$scratch/startup.nsh" ::startup.nsh
save "$disk"
before=$(sum "$backup")
timeout 500 "$SELFSAME" try "$backup" --headless --emulate --memory 256 >"$scratch/serial" 2>"$scratch/said" ||
    { cat "$scratch/said" >&2; fail "try ended with $?"; }
grep -q 'with UEFI' "$scratch/said" || fail "not by UEFI: $(cat "$scratch/said")"
grep -aq 'this disk boots' "$scratch/serial" || fail "it did not boot: $(tail -c 500 "$scratch/serial")"
[ "$(sum "$backup")" = "$before" ] || fail "the backup was changed"
expect 0 "$SELFSAME" verify "$backup" --against "$disk" --progress=none
passed try_uefi
