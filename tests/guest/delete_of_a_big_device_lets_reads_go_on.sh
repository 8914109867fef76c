#!/bin/sh
# While a device with very many mappings is being deleted, reads of mapped data on another device are answered.
# vm: mem=1536
. "$TESTS/lib.sh"

load_side "$TARGETS"
CHUNKS=${CHUNKS:-200000}
META=$(disk 64)
# Nobody reads back what is in it.
DATA=$(disk $(((CHUNKS + 64) / 16 + 1)) memory_backed=0)
export POOL=pool

# Device 0 maps every chunk but the last 64 in an order that makes no runs; device 1 has those.
awk -v n="$CHUNKS" 'BEGIN {
    printf "<superblock uuid=\"\" time=\"0\" transaction=\"0\" version=\"2\" data_block_size=\"128\" nr_data_blocks=\"%d\">\n", n + 64
    printf "<device dev_id=\"0\" mapped_blocks=\"%d\" transaction=\"0\" creation_time=\"0\" snap_time=\"0\">\n", n
    for (i = 0; i < n; i++)
        printf "<single_mapping origin_block=\"%d\" data_block=\"%d\" time=\"0\"/>\n", i, (i * 7919) % n
    print "</device>\n<device dev_id=\"1\" mapped_blocks=\"64\" transaction=\"0\" creation_time=\"0\" snap_time=\"0\">"
    printf "<range_mapping origin_begin=\"0\" data_begin=\"%d\" length=\"64\" time=\"0\"/>\n</device>\n</superblock>\n", n
}' >"$W/pool.xml"
thin_restore -q -i "$W/pool.xml" -o "$META"
rm "$W/pool.xml"
pool_load pool "$META" "$DATA" 128
thin r 1 4
equals "chunks used" "$(chunks_used)" $((CHUNKS + 64))

reads_go_on "deletion of $CHUNKS mappings" r dmsetup message pool 0 "delete 0"
equals "chunks used" "$(chunks_used)" 64
