#!/bin/sh
# A container may use 12 MiB and reads 48 MiB that a sibling has in memory, twice, under each cache policy: no OOM kill, and the disk is
# hardly read; on dm-thin it is read twice.
# vm: timeout=200 mem=1024 smp=2
. "$TESTS/lib.sh"

FILE_MIB=48
image ext4 96 -b 4096
mount_ab ro,noload
cgroup=/sys/fs/cgroup/limited
echo +memory >/sys/fs/cgroup/cgroup.subtree_control
mkdir "$cgroup"
echo 12M >"$cgroup/memory.max"
# shellcheck disable=SC2016 # for the other shell
limited() {
    sh -c 'echo $$ >"$1/cgroup.procs"; shift; exec "$@"' - "$cgroup" "$@"
}

cmp "$A/file" "$W/file"
for policy in off pressure eager; do
    drr_message cache $policy
    before=$(sectors_read "$DATA")
    limited cmp "$B/file" "$W/file"
    limited cmp "$B/file" "$W/file"
    read=$(($(sectors_read "$DATA") - before))
    echo "cache $policy: $read sectors from disk; $(grep -o 'max [0-9]*' "$cgroup/memory.events" | head -1) times at the limit"
    if has_drr; then
        at_most "sectors from disk, cache $policy" "$read" $((FILE_MIB * 2048 / 20))
    else
        at_least "sectors from disk, dm-thin" "$read" $((FILE_MIB * 2048 * 19 / 10))
    fi
done
at_least "times at the limit" "$(word 2 "$(grep '^max ' "$cgroup/memory.events")")" 1
equals "OOM kills" "$(word 2 "$(grep '^oom_kill ' "$cgroup/memory.events")")" 0
drr_is hash_rejects 0
cgroup_remove "$cgroup"
