#!/bin/sh
# An error of the external origin fails the read, or the write whose chunk needs a copy, which then maps nothing.
# vm: timeout=300
. "$TESTS/lib.sh"

pool
external_disk 4
# Chunks 4 to 7 cannot be read, and sector 9 of chunk 10.
dmsetup create o <<EOT
0 512 linear $EXT 0
512 512 error
1024 265 linear $EXT 1024
1289 1 error
1290 806 linear $EXT 1290
EOT
message create_thin 0
external_thin t 0 4096 o
external_model "$W/t" 4096 2096
chunk() {
    dd if=/dev/mapper/t bs=64k skip="$1" count=1 iflag=direct status=none
}
chunk 3 >"$W/got"
dd if="$W/t" bs=64k skip=3 count=1 status=none | cmp - "$W/got"
for n in 4 7 10; do
    fails 'Input/output error' chunk "$n"
    fails 'Input/output error' dd if=/dev/zero of=/dev/mapper/t bs=512 seek=$((n * 128 + 64)) count=1 oflag=direct conv=notrunc
    fails 'Input/output error' chunk "$n"
done
equals "mapped sectors" "$(thin_mapped t)" 0
# dm-thin leaks the chunk that a failed copy was to fill, and thin_check says so.
if has_drr; then
    equals "chunks used" "$(chunks_used)" 0
else
    pool_forget pool
fi
# A whole chunk needs no origin; its neighbours are not harmed.
put t "$W/t" $((5 * 65536)) 65536 direct
put t "$W/t" $((8 * 65536)) 512 direct
fails 'Input/output error' chunk 4
chunk 5 >"$W/got"
dd if="$W/t" bs=64k skip=5 count=1 status=none | cmp - "$W/got"
equals "mapped sectors" "$(thin_mapped t)" 256
equals mode "$(pool_field 5)" rw
# Whole again, everything goes.
dmsetup reload o --table "0 2096 linear $EXT 0"
dmsetup suspend o
dmsetup resume o
put t "$W/t" $((4 * 65536 + 32768)) 512 direct
put t "$W/t" $((10 * 65536)) 512 direct
same t "$W/t"
if has_drr; then
    equals "chunks used" "$(chunks_used)" 4
fi
external_unharmed
