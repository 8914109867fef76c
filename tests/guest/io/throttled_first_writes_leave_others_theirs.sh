#!/bin/sh
# A control group may write 4 KiB a second, and has 4,000 whole chunks written first: it holds up no other thin's first writes.
# vm: timeout=120 smp=2
. "$TESTS/lib.sh"

DATA_ATTRS="memory_backed=0" pool 128 272
thin_new t 0 256
thin_new v 1 4
throttled wbps=4096 blkdiscard -z -l $((4000 * 65536)) /dev/mapper/t
writer=$!
wait_for 30 fills_no_more 200
filled=$(chunks_used)
echo "$filled chunks are being filled"
if has_drr; then
    # One lands every 16 seconds, and makes room for another one.
    at_most "chunks that are being filled" "$filled" 210
fi
for at in 0 17 34; do
    answered dd if=/dev/zero of=/dev/mapper/v bs=4k count=1 seek="$at" oflag=direct status=none
done
answered dd if=/dev/zero of=/dev/mapper/v bs=64k count=8 seek=8 oflag=direct status=none
still_going "$writer" "the throttled writer"
unthrottled
ended_soon "$writer" 16 "the throttled writer"
equals "mapped sectors" "$(thin_mapped t)" $((4000 * 128))
remove t v
pool_remove pool
