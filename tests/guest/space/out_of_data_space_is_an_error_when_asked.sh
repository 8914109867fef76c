#!/bin/sh
# With error_if_no_space a full pool fails writes that need space, says out_of_data_space, serves the rest, and recovers by a delete.
# vm: timeout=120
. "$TESTS/lib.sh"

pool 128 8 0 error_if_no_space
thin_new t 0 16
thin_new u 1 16
model "$W/t" 16
model "$W/u" 16
put t "$W/t" 0 4194304 direct
put u "$W/u" 0 4194304 direct
equals "chunks used" "$(chunks_used)" 128
fails 'No space left|Input/output error' dd if=/dev/zero of=/dev/mapper/t bs=64k count=1 seek=200 oflag=direct conv=notrunc
equals mode "$(pool_field 5)" out_of_data_space
# What is mapped can be read and written.
put t "$W/t" 65536 4096 direct
same t "$W/t"
same u "$W/u"
# A shared chunk needs space for its copy.
message create_snap 2 0
fails 'No space left|Input/output error' dd if=/dev/zero of=/dev/mapper/t bs=4k count=1 oflag=direct conv=notrunc
same t "$W/t"
remove u
message delete 1
is_rw() {
    [ "$(pool_field 5)" = rw ]
}
wait_for 5 is_rw
put t "$W/t" 8388608 65536 direct
put t "$W/t" 0 4096 direct
same t "$W/t"
