#!/bin/sh
# cache=eager: file systems are unmounted, devices removed and caches dropped just when their copies are to leave, many times.
# vm: timeout=200 smp=2
. "$TESTS/lib.sh"

only drr dropin
image ext4 64 -b 4096
remove a b
message create_snap 3 1
message cache eager
round=0
# Each of three ways with each of four times.
while [ "$round" -lt 12 ]; do
    round=$((round + 1))
    thin a 1 64
    thin b 2 64
    thin c 3 64
    mount_ab ro,noload
    C=$(mounted c ro,noload)
    cat "$A/file" "$B/file" "$C/file" >/dev/null
    # From at once to longer than copies are left alone.
    sleep "0.$((round % 4 * 5))"
    case $((round % 3)) in
    0) echo 3 >/proc/sys/vm/drop_caches ;;
    1) cat "$A/file" >/dev/null ;;
    esac
    umount "$A"
    umount "$B"
    umount "$C"
    remove a b c
done
drr_at_least cache_dropped_pages 100
thin a 1 64
A=$(mounted a ro,noload)
cmp "$A/file" "$W/file"
umount "$A"
remove a
pool_remove pool
unload dm_drr
