#!/bin/sh
# Unmapped chunks read from the external origin, zeroes past its end, wherever that lies.
# vm: timeout=300
. "$TESTS/lib.sh"

pool
external_disk 8
external larger 16384
id=0
# Sectors of the thin and of the origin: longer, as long, ending with a chunk, inside one, inside a page, on an odd sector, at once.
for shape in 8192:12288 8192:8192 8192:640 8192:704 8192:708 8192:707 8192:1 707:16384 709:707; do
    t_len=${shape%:*} o_len=${shape#*:}
    external o "$o_len"
    message create_thin "$id"
    external_thin t "$id" "$t_len" o
    external_model "$W/t" "$t_len" "$o_len"
    same t "$W/t"
    # Reads that begin and end on any sector around the origin's end.
    if [ "$o_len" -gt 16 ] && [ "$((o_len + 16))" -le "$t_len" ]; then
        for place in -9:18 -1:2 -1:1 0:1 -3:16 5:4; do
            skip=$((o_len + ${place%:*})) count=${place#*:}
            dd if=/dev/mapper/t bs=$((count * 512)) skip=$((skip * 512)) count=1 iflag=direct,skip_bytes status=none >"$W/got"
            dd if="$W/t" bs=$((count * 512)) skip=$((skip * 512)) count=1 iflag=skip_bytes status=none | cmp - "$W/got" ||
                fail "$count sectors at $skip of $shape are wrong"
        done
    fi
    equals "status of t" "$(dmsetup status t)" "0 $t_len $THIN_T 0 -"
    remove t o
    id=$((id + 1))
done
equals "chunks used" "$(chunks_used)" 0
external_unharmed
