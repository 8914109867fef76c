#!/bin/sh
# Without error_if_no_space writes wait in a full pool and go on, all of them right, once the data device has grown.
# vm: timeout=150 smp=2
. "$TESTS/lib.sh"

load_side "$TARGETS"
META=$(disk 8)
DATA=$(disk 64)
dmsetup create grow --table "0 16384 linear $DATA 0"
POOL=pool
pool_load pool "$META" /dev/mapper/grow 128
thin_new t 0 16
noise "$W/t" $((16 * 1048576))
in_background dd if="$W/t" of=/dev/mapper/t bs=1M oflag=direct conv=notrunc status=none
writer=$!
mode_is() {
    [ "$(dmsetup status --noflush pool | awk '{ print $8 }')" = "$1" ]
}
wait_for 20 mode_is out_of_data_space
sleep 1
kill -0 "$writer" || fail "the writer did not wait"
equals "chunks used" "$(chunks_used)" 128

# As LVM does: the larger table loaded, suspended without flushing, resumed.
dmsetup reload grow --table "0 65536 linear $DATA 0"
dmsetup suspend --noflush --nolockfs grow
dmsetup resume grow
dmsetup reload pool --table "0 65536 $POOL_T $META /dev/mapper/grow 128 0"
dmsetup suspend --noflush pool
dmsetup resume pool
wait "$writer"
mode_is rw || fail "the pool is not rw again: $(dmsetup status pool)"
equals "chunks" "$(pool_field 3)" 256/512
same t "$W/t"
remove t
pool_remove pool
