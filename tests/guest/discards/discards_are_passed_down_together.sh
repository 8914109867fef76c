#!/bin/sh
# The parts of a discard, and discards of several devices, are passed down beside each other: a slow data device takes as many as it can at once.
# vm: timeout=120 smp=2
. "$TESTS/lib.sh"

# 40 ms for each, 64 at once.
DATA_ATTRS="discard=1 irqmode=2 completion_nsec=40000000"
load_side "$TARGETS"
META=$(disk 8)
# shellcheck disable=SC2086 # several attributes
DATA=$(disk 24 $DATA_ATTRS)
POOL=pool
# Every second chunk of the data device is one device's, the others the other's: none has a neighbour.
awk 'BEGIN {
    print "<superblock uuid=\"\" time=\"0\" transaction=\"0\" version=\"2\" data_block_size=\"128\" nr_data_blocks=\"384\">"
    for (d = 0; d < 2; d++) {
        printf "<device dev_id=\"%d\" mapped_blocks=\"160\" transaction=\"0\" creation_time=\"0\" snap_time=\"0\">\n", d
        for (i = 0; i < 160; i++)
            printf "<single_mapping origin_block=\"%d\" data_block=\"%d\" time=\"0\"/>\n", i, 2 * i + d
        print "</device>"
    }
    print "</superblock>"
}' >"$W/pool.xml"
thin_restore -q -i "$W/pool.xml" -o "$META"
pool_load pool "$META" "$DATA" 128
thin a 0 10
thin b 1 10
equals "chunks used" "$(chunks_used)" 320
begin=$(milliseconds)
in_background blkdiscard /dev/mapper/a
other=$!
blkdiscard /dev/mapper/b
wait "$other" || fail "the discard of a failed"
took=$(($(milliseconds) - begin))
echo "320 chunks took $took ms"
equals "chunks used" "$(chunks_used)" 0
# One after the other they would take 12.8 s.
at_most "the time of the discards, ms" "$took" 6400
