#!/bin/sh
# A reader whose cgroup may hardly read at all is in the middle of a read: a sibling that wants the same pages has them soon all the same.
# vm: timeout=120
. "$TESTS/lib.sh"

image ext4 64 -b 4096
mount_ab ro,noload
drop_caches
cgroup=/sys/fs/cgroup/throttled
echo +io >/sys/fs/cgroup/cgroup.subtree_control
mkdir "$cgroup"
echo "$(cat "/sys/class/block/${DATA##*/}/dev") rbps=4096" >"$cgroup/io.max"
drr_message stats reset

# shellcheck disable=SC2016 # for the other shell
in_background sh -c 'echo $$ >"$1/cgroup.procs"; exec head -c 65536 "$2"' - "$cgroup" "$A/file" >"$W/slow"
slow=$!
sleep 1
# Both files are cold, and the slow one's first pages are on their way, for sixteen seconds or so.
begin=$(milliseconds)
head -c 65536 "$B/file" >"$W/quick"
took=$(($(milliseconds) - begin))
echo "the sibling had its pages in $took ms"
kill -0 "$slow" || fail "the throttled reader is not slow"
at_most "the time of the sibling's read, ms" "$took" 2000
head -c 65536 "$W/file" | cmp - "$W/quick"
drr_at_least followed_pages 1
drr_at_least detached_reads 1
# Given its share it ends well.
echo "$(cat "/sys/class/block/${DATA##*/}/dev") rbps=max" >"$cgroup/io.max"
wait "$slow" || fail "the throttled reader failed"
head -c 65536 "$W/file" | cmp - "$W/slow"
rmdir "$cgroup"
