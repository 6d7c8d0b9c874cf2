#!/bin/bash
# images: the formats of other programs, read by every verb as what qemu-img makes of them. Hostile ones lead to no
# other file, and what reads them has no rights.
test=images
. "$(dirname "$0")/lib.sh"
needs images qemu-img qemu-nbd strace || exit 0
disk=$scratch/disk.img
small "$disk"
size=$(stat -c %s "$disk")

# read_as NAME: `show`, `verify --against`, `save`, and `restore` of that see the disk in $scratch/NAME.
read_as() {
    local file=$scratch/$1
    "$SELFSAME" show "$file" --json 2>"$scratch/said" >"$scratch/shown" || { cat "$scratch/said"; fail "show $1"; }
    [ "$(json "len(d['partitions'])" <"$scratch/shown")" -gt 0 ] || fail "$1: no partitions"
    qemu-img convert -O raw "$file" "$scratch/truth.img"
    expect 0 "$SELFSAME" verify "$whole" --against "$file" --progress=none
    save "$file"
    expect 0 "$SELFSAME" restore "$backup" "$scratch/back.img" --progress=none
    same "$scratch/truth.img" "$scratch/back.img"
    same "$disk" "$scratch/back.img"
    rm -rf "$scratch/back.img" "$scratch/truth.img" "$(dirname "$backup")"
    passed "images_$1"
}

save "$disk"
whole=$backup
mv "$(dirname "$whole")" "$scratch/whole" && whole=$scratch/whole/$(basename "$whole")
qemu-img convert -O qcow2 "$disk" "$scratch/plain.qcow2"
qemu-img convert -c -O qcow2 -o compression_type=zstd "$disk" "$scratch/packed.qcow2"
qemu-img convert -O vmdk "$disk" "$scratch/mono.vmdk"
qemu-img convert -O vmdk -o subformat=streamOptimized "$disk" "$scratch/stream.vmdk"
qemu-img convert -O vmdk -o subformat=twoGbMaxExtentSparse "$disk" "$scratch/split.vmdk"
qemu-img convert -O vmdk -o subformat=monolithicFlat "$disk" "$scratch/flat.vmdk"
qemu-img convert -O vpc -o force_size=on "$disk" "$scratch/dynamic.vhd"
qemu-img convert -O vpc -o subformat=fixed,force_size=on "$disk" "$scratch/fixed.vhd"
qemu-img convert -O vhdx "$disk" "$scratch/disk.vhdx"
qemu-img convert -O vdi "$disk" "$scratch/disk.vdi"
for name in plain.qcow2 packed.qcow2 mono.vmdk stream.vmdk split.vmdk flat.vmdk disk.vhdx disk.vdi; do read_as "$name"; done
# qemu-img needs to be told what a VHD is, and that its footer knows the size.
for name in dynamic.vhd fixed.vhd; do
    expect 0 "$SELFSAME" verify "$whole" --against "$scratch/$name" --progress=none
    passed "images_$name"
done

# Holes are known without reading: a large empty image is saved in no time.
qemu-img create -q -f qcow2 "$scratch/empty.qcow2" 64G
began=$SECONDS
expect 0 "$SELFSAME" save "$scratch/empty.qcow2" "$scratch/whole" --name t --progress=none
[ $((SECONDS - began)) -le 20 ] || fail "holes were read: $((SECONDS - began)) s"
passed images_holes

# In a filesystem in a backup they are disks too.
mkdir "$scratch/vms"
cp --sparse=always "$scratch/packed.qcow2" "$scratch/fixed.vhd" "$scratch/disk.vdi" "$scratch/vms"
truncate -s $((4 * size)) "$scratch/vms.img"
mkfs.ext4 -q -F -d "$scratch/vms" "$scratch/vms.img"
save "$scratch/vms.img"
parts=$("$SELFSAME" ls "$disk" --json | json "' '.join(v['part'] for v in d['volumes'] if v['readable'])")
[ -n "$parts" ] || fail "the sample disk has no files"
for name in packed.qcow2 fixed.vhd disk.vdi; do
    for part in $parts; do
        expect 0 "$SELFSAME" ls -lR "$backup" "0/$name/$part"
        diff <("$SELFSAME" ls -lR "$disk" "$part" 2>&1) <(grep -v 'by way of qemu-nbd' "$scratch/said" | sed "s|0/$name/||") ||
            fail "ls of partition $part of $name in a filesystem"
        expect 0 "$SELFSAME" get -r "$backup" "0/$name/$part" "$scratch/inner" --progress=none
        expect 0 "$SELFSAME" get -r "$disk" "$part" "$scratch/plain" --progress=none
        diff -r --no-dereference "$scratch/plain" "$scratch/inner" || fail "get of $name"
        rm -rf "$scratch/plain" "$scratch/inner"
    done
done
passed images_inside

# Other files are not followed.
echo "a secret" >"$scratch/secret"
truncate -s 1M "$scratch/secret"
refused() {
    expect 1 "$SELFSAME" show "$scratch/$1"
    grep -q "$2" "$scratch/said" || fail "$1: not said: $2: $(cat "$scratch/said")"
    ! grep -q "a secret" "$scratch/said" || fail "$1: the secret is out"
}
qemu-img create -q -f qcow2 -b "$scratch/secret" -F raw "$scratch/backed.qcow2"
refused backed.qcow2 "backing file"
qemu-img create -q -f qcow2 -o data_file="$scratch/data",data_file_raw=on "$scratch/apart.qcow2" 1M
refused apart.qcow2 "another file"
sed 's|"flat-flat.vmdk"|"../secret"|' "$scratch/flat.vmdk" >"$scratch/evil.vmdk"
refused evil.vmdk "not understood"
sed "s|\"flat-flat.vmdk\"|\"secret\"|; s/^RW [0-9]*/RW 2048/" "$scratch/flat.vmdk" >"$scratch/near.vmdk"
refused near.vmdk "secret"
cp "$scratch/plain.qcow2" "$scratch/torn.qcow2" && truncate -s 100000 "$scratch/torn.qcow2"
expect "1 4" "$SELFSAME" verify "$whole" --against "$scratch/torn.qcow2" --progress=none
head -c 600 "$scratch/disk.vhdx" >"$scratch/torn.vhdx" && refused torn.vhdx "failed"
gzip -k "$scratch/secret" && refused secret.gz "gzip -dk"
zstd -q "$scratch/secret" -o "$scratch/secret.zst" && refused secret.zst "zstd -d"
printf 'EVF\t\r\n\377\0\1\1\0\0\0' >"$scratch/x.E01" && refused x.E01 "ewfexport"
truncate -s 1M "$scratch/x.E01" && refused x.E01 "ewfexport"
passed images_hostile

# Who reads it: nobody, without capabilities, and behind its start it opens nothing but what programs are made of.
strace -ff -e trace=openat,connect,socket,execve,setresuid -o "$scratch/calls" "$SELFSAME" show "$scratch/plain.qcow2" \
    >/dev/null 2>&1 || fail "under strace"
bridge=$(grep -l 'execve(.*qemu-nbd.* = 0' "$scratch"/calls.*) || fail "no bridge was seen"
[ "$(id -u)" -ne 0 ] || grep -q 'setresuid(65534' "$bridge" || fail "it is root"
sed '1,/execve(.*qemu-nbd.* = 0/d' "$bridge" | grep ' = [0-9]' |
    grep -vE '"(/usr|/lib|/lib64|/bin|/nix/store|/gnu/store)/|"/etc/ld.so.cache"|"/dev/(null|urandom)"|"/(proc|sys)/|exited' >"$scratch/opened" || true
[ ! -s "$scratch/opened" ] || fail "it opened: $(cat "$scratch/opened")"
passed images_sandbox

# A user without root reads them too.
if [ "$(id -u)" -eq 0 ] && needs images_user setpriv; then
    chmod 755 "$scratch" && chmod 644 "$scratch/plain.qcow2"
    cp "$SELFSAME" "$scratch/selfsame"
    expect 0 setpriv --reuid daemon --regid daemon --clear-groups "$scratch/selfsame" show "$scratch/plain.qcow2"
    passed images_user
fi
