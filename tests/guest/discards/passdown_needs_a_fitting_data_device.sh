#!/bin/sh
# Passdown is off, with a line in the log, where the data device takes no discards or none of a whole chunk; the table stays as given.
# vm: timeout=200
. "$TESTS/lib.sh"

load_side "$TARGETS"
META=$(disk 8)
POOL=pool
# becomes DISCARD_MODE REGEX: a pool on $DATA says so, and the log.
becomes() {
    log_mark
    pool_load pool "$META" "$DATA" 256
    equals "discard mode" "$(pool_field 6)" "$1"
    if [ -n "$2" ]; then
        log_names "$2.*passdown"
    fi
    equals "table" "$(dmsetup table pool | cut -d' ' -f6-)" "256 0 0 "
    thin t 0 8 2>/dev/null || thin_new t 0 8
    # Discards of the thin are none of the data device's business.
    dd if=/dev/zero of=/dev/mapper/t bs=1M count=1 oflag=direct conv=notrunc status=none
    equals "chunks used" "$(chunks_used)" 8
    blkdiscard /dev/mapper/t
    equals "chunks used" "$(chunks_used)" 0
    remove t
    pool_remove pool
}
DATA=$(disk 16)
becomes no_discard_passdown 'discard'
DATA=$(disk 16 discard=1)
becomes discard_passdown ''
echo 65536 >"/sys/block/${DATA##*/}/queue/discard_max_bytes"
becomes no_discard_passdown 'discard.*block'
