#!/bin/sh
# cache=pressure: a container's own limit reclaims memory while the system has plenty: copies that are charged to the container leave, a
# sibling's stay, and the container reads its file without the disk all the same.
# vm: timeout=150 mem=1024 smp=2
. "$TESTS/lib.sh"

only drr dropin
FILE_MIB=48
image ext4 96 -b 4096
mount_ab ro,noload
pages=$((FILE_MIB * 256))
echo +memory >/sys/fs/cgroup/cgroup.subtree_control
# in_group NAME CMD…
in_group() {
    g_dir=/sys/fs/cgroup/$1
    shift
    # shellcheck disable=SC2016 # for the other shell
    sh -c 'echo $$ >"$1/cgroup.procs"; shift; exec "$@"' - "$g_dir" "$@"
}
mkdir /sys/fs/cgroup/first /sys/fs/cgroup/second
message cache pressure
in_group first cmp "$A/file" "$W/file"
in_group second cmp "$B/file" "$W/file"
message stats reset
kept=$(cached "$A/file")
at_least "pages of the sibling in memory" "$kept" $((pages * 9 / 10))

# Reclaim takes page cache by its own lists too, at least as much as was asked for.
asked=0
dropped() {
    echo 1M >/sys/fs/cgroup/second/memory.reclaim || :
    asked=$((asked + 1))
    [ "$(stat_of cache_dropped_pages)" -ge 64 ]
}
until dropped; do
    at_most "MiB that were reclaimed" "$asked" 40
done
at_most "pages of the container in memory" "$(cached "$B/file")" $((pages - asked * 256 / 2 - 64))
# The sibling has not asked.
equals "pages of the sibling in memory" "$(cached "$A/file")" "$kept"
start=$(sectors_read "$DATA")
in_group second cmp "$B/file" "$W/file"
at_most "sectors read from disk" "$(($(sectors_read "$DATA") - start))" 256

# A group that is gone takes nothing with it.
umount "$B"
cgroup_remove /sys/fs/cgroup/second
mkdir /sys/fs/cgroup/second
B=$(mounted b ro,noload)
in_group second cmp "$B/file" "$W/file"
echo 8M >/sys/fs/cgroup/second/memory.reclaim || :
in_group second cmp "$B/file" "$W/file"
drr_is hash_rejects 0
umount "$A" "$B"
remove a b
pool_remove pool
cgroup_remove /sys/fs/cgroup/first
cgroup_remove /sys/fs/cgroup/second
