#!/bin/sh
# A copy, a zeroing or an overwrite that the data device fails is an error to its writer; nothing is mapped, the rest goes on.
# vm: timeout=300
. "$TESTS/lib.sh"
. "$TESTS/flaky_lib.sh"

flaky_pool
thin_new t 0 16
model "$W/t" 16
put t "$W/t" 0 1048576 direct
snap s 1 t 0
cp "$W/t" "$W/s"
used=$(chunks_used)
mapped=$(thin_mapped t)

# data_table TARGETS: the first MiB (16 chunks, all that is used) and the rest.
data_table() {
    dmsetup suspend --noflush --nolockfs fdata
    dmsetup load fdata --table "0 2048 $1
2048 $(($(sectors "$DATA") - 2048)) $2"
    dmsetup resume fdata
}
good="linear $DATA"

# The old chunk cannot be read.
data_table "flakey $DATA 0 0 1 1 error_reads" "$good 2048"
fails 'Input/output error' writes t 4096 4096
data_table "$good 0" "$good 2048"
same t "$W/t"
same s "$W/s"

# The new chunk cannot be written: by a copy, by the writer itself, by zeroes.
data_table "$good 0" "error"
fails 'Input/output error' writes t 4096 4096
fails 'Input/output error' writes t 65536 65536
fails 'Input/output error' writes t 8388608 4096
# What needs no new chunk works meanwhile.
same t "$W/t"
same s "$W/s"
message create_thin 5

data_table "$good 0" "$good 2048"
equals "mode" "$(pool_field 5) $(pool_field 8)" 'rw -'
if has_drr; then
    equals "chunks used" "$(chunks_used)" "$used"
else
    # dm-thin leaks the chunks that could not be filled, and thin_check says so.
    pool_forget pool
fi
equals "sectors mapped" "$(thin_mapped t)" "$mapped"
same t "$W/t"
same s "$W/s"
put t "$W/t" 4096 4096 direct
put t "$W/t" 65536 65536 direct
put t "$W/t" 8388608 4096 direct
same t "$W/t"
same s "$W/s"
remove t s
dmsetup remove pool
