#!/bin/sh
# A sibling's pages move to other frames because their memory goes off line: no record leads there any more, and everybody reads the right
# bytes; when the memory is back all is as before.
# vm: timeout=150 mem=2048 movable=1024 smp=2
. "$TESTS/lib.sh"

FILE_MIB=48
image ext4 128 -b 4096
mount_ab ro,noload
cmp "$A/file" "$W/file"
drr_message stats reset

# blocks STATE: memory blocks in that state of which the movable zone is told.
blocks() {
    for block in /sys/devices/system/memory/memory[0-9]*; do
        if [ "$(cat "$block/state")" = "$1" ] && grep -q Movable "$block/valid_zones"; then
            echo "$block"
        fi
    done
}
off=0
# Some have pages from before there were zones, which cannot move.
for block in $(blocks online); do
    # Who reads at this moment gets the right bytes, too.
    in_background cmp "$B/file" "$W/file"
    reader=$!
    if echo offline >"$block/state" 2>/dev/null; then
        off=$((off + 1))
    fi
    wait "$reader" || fail "a reader got something else"
    cmp "$A/file" "$W/file"
    # Cold again, for the next one.
    drop_caches
    cmp "$A/file" "$W/file"
    if [ "$off" -ge 3 ]; then
        break
    fi
done
at_least "memory blocks taken off line" "$off" 1
cmp "$B/file" "$W/file"
for block in $(blocks offline); do
    echo online_movable >"$block/state"
done
drop_caches
cmp "$A/file" "$W/file"
before=$(sectors_read "$DATA")
cmp "$B/file" "$W/file"
if has_drr; then
    at_most "sectors read from disk in the end" "$(($(sectors_read "$DATA") - before))" 512
fi
drr_is hash_rejects 0
