#!/bin/sh
# Metadata that fills up sends an event at its threshold, then refuses changes, serves what is mapped, and goes on when it has grown.
# vm: timeout=200
. "$TESTS/lib.sh"

load_side "$TARGETS"
META=$(disk 8)
# Held by nothing but the pages that are written.
DATA=$(disk 6000)
POOL=pool
# 512 blocks, all but about 140 of them used by one large device.
dmsetup create grow --table "0 4096 linear $META 0"
{
    echo "<superblock uuid=\"\" time=\"0\" transaction=\"0\" version=\"2\" data_block_size=\"128\" nr_data_blocks=\"96000\">"
    echo "<device dev_id=\"0\" mapped_blocks=\"88000\" transaction=\"0\" creation_time=\"0\" snap_time=\"0\">"
    echo "<range_mapping origin_begin=\"0\" data_begin=\"0\" length=\"88000\" time=\"0\"/></device></superblock>"
} >"$W/xml"
thin_restore -q -i "$W/xml" -o /dev/mapper/grow
blockdev --flushbufs "$META"
pool_load pool /dev/mapper/grow "$DATA" 128
equals threshold "$(pool_field 9)" 128
thin t 0 16
model "$W/t" 16
dd if="$W/t" of=/dev/mapper/t bs=1M oflag=direct conv=notrunc status=none
used=$(pool_field 2 | cut -d/ -f1)
# The status counts the reserve, a tenth, as used.
at_most "metadata blocks used" "$used" $((512 - 128 + 51 - 4))
now=$(events pool)
equals events "$now" 0
id=1
low=
# Each device takes a block.
while [ "$id" -lt 200 ] && message create_thin "$id" 2>"$W/refused"; do
    id=$((id + 1))
    if [ -z "$low" ] && [ "$(events pool)" -gt 0 ]; then
        low=$(pool_field 2 | cut -d/ -f1)
    fi
done
[ -n "$low" ] || fail "no event before the metadata was full"
# 128 free of 512, the reserve of 51 among them.
at_least "metadata blocks used at the event" "$low" $((512 - 128 + 51 - 16))
at_most "metadata blocks used at the event" "$low" $((512 - 128 + 51 + 16))
grep -q 'not supported' "$W/refused" || fail "refused otherwise: $(cat "$W/refused")"
equals mode "$(pool_field 5)" ro
equals mark "$(pool_field 8)" -
equals "metadata blocks" "$(pool_field 2)" 512/512
at_least events "$(events pool)" $((now + 2))
# Without a change all goes on; and what needs one fails.
put t "$W/t" 1048576 65536 direct
same t "$W/t"
thin u 1 16
fails 'Input/output error' dd if=/dev/zero of=/dev/mapper/u bs=64k count=1 oflag=direct conv=notrunc
blkdiscard /dev/mapper/u
fails 'not supported' message delete 2
# The same table again does not help.
dmsetup suspend pool
dmsetup resume pool
equals mode "$(pool_field 5)" ro
# Nor does a new one for long.
reload pool "$(dmsetup table pool)"
equals mode "$(pool_field 5)" ro
# More metadata does, on the next resume.
reload grow "0 16384 linear $META 0"
dmsetup suspend --noflush pool
dmsetup resume pool
equals mode "$(pool_field 5)" rw
equals "metadata blocks" "$(pool_field 2 | cut -d/ -f2)" 2048
equals threshold "$(pool_field 9)" 512
message delete 2
model "$W/u" 16
put u "$W/u" 0 1048576 direct
same u "$W/u"
same t "$W/t"
remove t u
pool_remove pool
