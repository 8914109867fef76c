#!/bin/sh
# Unmapped chunks read from the external origin in a full and in a read_only pool; what would have to map them fails.
# vm: timeout=300
. "$TESTS/lib.sh"

pool 128 8 0 error_if_no_space
external_disk 4
end=$((20 * 128 + 67))
external o "$end"
message create_thin 0
external_thin t 0 4096 o
external_model "$W/t" 4096 "$end"
put t "$W/t" 4096 4096 direct
put t "$W/t" $((21 * 65536)) 65536 direct
thin_new fill 1 8
dd if=/dev/zero of=/dev/mapper/fill bs=64k count=126 oflag=direct conv=notrunc status=none
fails 'No space' dd if=/dev/zero of=/dev/mapper/t bs=4k seek=200 count=1 oflag=direct conv=notrunc
fails 'No space' dd if=/dev/zero of=/dev/mapper/t bs=64k seek=5 count=1 oflag=direct conv=notrunc
equals mode "$(pool_field 5)" out_of_data_space
# What is mapped can be written.
put t "$W/t" 8192 512 direct
# dm-thin sends what lies past the end to the origin here, and the reader gets an error.
check() {
    if has_drr; then
        same t "$W/t"
    else
        for n in 0 21; do
            dd if=/dev/mapper/t bs=64k skip="$n" count=19 iflag=direct status=none | head -c 65536 >"$W/got" || :
            dd if="$W/t" bs=64k skip="$n" count=1 status=none | cmp - "$W/got"
        done
    fi
}
check
remove fill t
pool_remove pool
pool_load pool "$META" "$DATA" 128 0 read_only
external_thin t 0 4096 o
check
fails 'Input/output error' dd if=/dev/zero of=/dev/mapper/t bs=64k seek=5 count=1 oflag=direct conv=notrunc
fails 'Input/output error' dd if=/dev/zero of=/dev/mapper/t bs=512 seek=$((21 * 128 - 1)) count=1 oflag=direct conv=notrunc
check
external_unharmed
