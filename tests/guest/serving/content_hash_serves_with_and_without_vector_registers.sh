#!/bin/sh
# With the content hash in vector registers and without, what a sibling has is served, and is the same.
# vm: timeout=120
. "$TESTS/lib.sh"

only drr dropin

# serves WANTED: a pool whose content hash is of that kind serves a sibling.
serves() {
    image ext4 32 -b 4096
    mount_ab ro,noload
    drop_caches
    drr_message stats reset
    drr_is vector_hash "$1"
    cmp "$A/file" "$W/file"
    start=$(sectors_read "$DATA")
    cmp "$B/file" "$W/file"
    at_most "sectors read for the sibling" $(($(sectors_read "$DATA") - start)) 3276
    drr_at_least served_pages 3900
    drr_is hash_rejects 0
    # One read of each size that is copied by way of a private page.
    for bytes in 512 4096 65536; do
        dd if="$B/file" of="$W/direct" iflag=direct bs="$bytes" count=4 status=none
        cmp -n $((4 * bytes)) "$W/direct" "$W/file"
    done
    drr_at_least bounced_pages 4
    drr_is hash_rejects 0
    umount "$A" "$B"
    remove a b
    pool_remove pool
}

wanted=0
if grep -qw avx2 /proc/cpuinfo && grep -qw pclmulqdq /proc/cpuinfo; then
    wanted=1
fi
serves "$wanted"
unload dm_drr
modprobe dm-drr vector_hash=0 sampling="$SAMPLING"
serves 0
