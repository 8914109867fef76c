#!/bin/sh
# Block sizes, hints, discard and cache limits of pool and thin are dm-thin's, for several data devices, chunk sizes and features.
# vm: timeout=200
. "$TESTS/lib.sh"

POOL=pool
meta=$(disk 8)
plain=$(disk 64)
fits=$(disk 64 discard=1)
large=$(disk 64 discard=1 blocksize=4096 cache_size=4)
odd=$(disk 64 discard=1 max_sectors=200)

# What both of a pool and a thin show, for each case. The largest bio is not compared: dm-drr cuts it to whole pages.
show() {
    while read -r data bs features; do
        dd if=/dev/zero of="$meta" bs=4k count=1 oflag=direct status=none
        echo "$data $bs $features:"
        eval "data=\$$data"
        # shellcheck disable=SC2086 # the features are words
        dmsetup create pool --table "0 $(sectors "$data") $POOL_T $meta $data $bs 0 $features"
        message create_thin 0
        thin t 0 16
        for name in pool t; do
            (cd "/sys/dev/block/$(dmsetup info -c --noheadings -o major,minor "$name")/queue" && grep . [a-hj-z]* 2>/dev/null) |
                grep -v '^max.*_sectors_kb:'
        done
        remove t pool
    done <<EOT
plain 128 0
fits 384 0
fits 2048 1 ignore_discard
fits 2048 1 no_discard_passdown
large 256 0
odd 128 0
odd 4096 0
EOT
}
load_side stock
show >"$W/stock"
unload dm_thin_pool
load_side "$TARGETS"
show >"$W/here"
cmp "$W/stock" "$W/here" || fail "limits differ: $(diff "$W/stock" "$W/here")"
