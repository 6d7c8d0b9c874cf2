#!/bin/bash
# sandbox: what strace sees of the process that reads untrusted bytes. From the moment that its sandbox stands, it
# opens nothing, makes no socket and starts no program: all that it works with was handed to it.
test=sandbox
. "$(dirname "$0")/lib.sh"
needs sandbox strace || exit 0
calls='open|openat|openat2|creat|mknod|mknodat|socket|connect|bind|execve|execveat|fork|vfork|ptrace'
calls+='|unlink|unlinkat|rename|renameat|renameat2|mkdir|mkdirat|link|linkat|symlink|symlinkat|chmod|fchmodat'
calls+='|chown|fchownat|mount|umount2|kill|setuid|setresuid|stat|lstat|newfstatat|statx|readlink|readlinkat|access'

# traced CODES COMMAND...: one file of calls for each thread of both processes, in $scratch/calls.
traced() {
    local codes=$1
    shift
    rm -rf "$scratch/calls"
    mkdir "$scratch/calls"
    expect "$codes" strace -ff -o "$scratch/calls/t" "$@"
}

# behind: what the job called behind its sandbox. The monitor is the process that was started; its other threads are
# those that it cloned. All others are the job's.
behind() {
    local job monitor file
    job=$(grep -l '^seccomp(SECCOMP_SET_MODE_FILTER.* = 0' "$scratch"/calls/*) || fail "no process entered a sandbox"
    [ "$(wc -l <<<"$job")" -eq 1 ] || fail "more than one process entered a sandbox: $job"
    monitor=$(grep -lF "execve(\"$SELFSAME\"" "$scratch"/calls/*)
    awk '/^seccomp\(/ { last = NR } { line[NR] = $0 } END { while (++last <= NR) print line[last] }' "$job"
    for file in "$scratch"/calls/*; do
        [ "$file" != "$job" ] && [ "$file" != "$monitor" ] || continue
        ! grep -q "^clone.* = ${file##*.}\$" "$monitor" || continue
        cat "$file"
    done
}

# alone NAME CODES COMMAND...
alone() {
    local name=$1 calls_behind
    shift
    traced "$@"
    behind >"$scratch/behind"
    calls_behind=$(wc -l <"$scratch/behind")
    [ "$calls_behind" -ge 10 ] || fail "$name: only $calls_behind calls were seen: the test sees nothing"
    if grep -E "^($calls)\(" "$scratch/behind" | grep -v ' = -1 '; then
        fail "$name: the job did this behind its sandbox"
    fi
    echo "$name: $calls_behind calls behind the sandbox, none of them opens anything"
}

disk=$scratch/disk.img
small "$disk"
mkdir "$scratch/dest"
alone show 0 "$SELFSAME" show "$disk"
alone save 0 "$SELFSAME" save "$disk" "$scratch/dest" --name t --progress=plain
backup=$(echo "$scratch"/dest/t-*)
alone backups 0 "$SELFSAME" backups "$scratch/dest"
alone verify 0 "$SELFSAME" verify "$backup" --progress=none
alone against 0 "$SELFSAME" verify "$backup" --against "$disk" --progress=none
alone restore 0 "$SELFSAME" restore "$backup" "$scratch/back.img" --progress=none
same "$disk" "$scratch/back.img"
passed sandbox

# without SYSCALL ERROR TEXT: where the kernel or a container has not all, it is said, and it works on.
without() {
    expect 0 strace -f -o /dev/null -e "inject=$1:error=$2" "$SELFSAME" show "$disk"
    grep -q "note: .*$3" "$scratch/said" || fail "without $1: $(cat "$scratch/said")"
}
without landlock_create_ruleset ENOSYS 'no Landlock'
without landlock_create_ruleset EOPNOTSUPP 'no Landlock'
without seccomp EINVAL 'no seccomp'
[ "$(id -u)" -ne 0 ] || without setresuid EPERM 'no user nobody'
passed sandbox_missing

if [ "$(id -u)" -ne 0 ] || ! losetup -f >/dev/null 2>&1; then
    echo "SKIPPED: sandbox_device: needs root and loop devices"
    exit 0
fi
truncate -s "$(stat -c %s "$disk")" "$scratch/target.img"
loop "$scratch/target.img" 512
id=$("$SELFSAME" disks --json | json "[x['id'] for x in d['disks'] if x['path'] == '$device'][0]")
alone restore_device 0 "$SELFSAME" restore "$backup" "$device" --yes --target-id "$id" --progress=none
same "$disk" "$device"
blkdiscard -f -z "$device"
id=$("$SELFSAME" disks --json | json "[x['id'] for x in d['disks'] if x['path'] == '$device'][0]")
alone clone 0 "$SELFSAME" clone "$disk" "$device" --yes --target-id "$id" --progress=none
same "$disk" "$device"
passed sandbox_device
