#!/bin/sh
# Metadata marked needs_check comes up read-only whatever the table says, is not grown, and is writable again once the mark is cleared.
# vm: timeout=200 smp=2
. "$TESTS/lib.sh"

load_side "$TARGETS"
META=$(disk 8)
DATA=$(disk 32)
POOL=pool
dmsetup create grow --table "0 32768 linear $DATA 0"
pool_load pool "$META" /dev/mapper/grow 128
thin_new t 0 16
model "$W/t" 16
put t "$W/t" 0 1048576 direct
remove t
pool_remove pool
# Sets the flag, and the checksum to match: crc32c over all but itself.
cat >"$W/mark" <<'PY'
import sys
with open(sys.argv[1], "r+b", 0) as f:
    b = bytearray(f.read(4096))
    b[4] |= 1
    crc = 0xFFFFFFFF
    for byte in b[4:]:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ (0x82F63B78 if crc & 1 else 0)
    b[0:4] = (crc ^ 160774).to_bytes(4, "little")
    f.seek(0)
    f.write(b)
PY
python3 "$W/mark" "$META"
blockdev --flushbufs "$META"

pool_load pool "$META" /dev/mapper/grow 128
pool_forget pool
is_read_only() {
    equals mode "$(pool_field 5)" ro
    equals mark "$(pool_field 8)" needs_check
    fails 'not supported' message create_thin 1
}
is_read_only
thin t 0 16
same t "$W/t"
fails 'Input/output error' dd if=/dev/zero of=/dev/mapper/t bs=64k count=1 seek=100 oflag=direct conv=notrunc
# Neither a resume nor a new table, a larger one, changes that; and nothing grows.
dmsetup suspend pool
dmsetup resume pool
is_read_only
reload grow "0 65536 linear $DATA 0"
log_mark
reload pool "0 65536 $POOL_T $META /dev/mapper/grow 128 0"
log_names 'unable to grow the data device until repaired'
is_read_only
equals chunks "$(pool_field 3)" 16/256
same t "$W/t"
remove t
dmsetup remove pool

thin_check -q --clear-needs-check-flag "$META"
pool_load pool "$META" /dev/mapper/grow 128
equals mode "$(pool_field 5)" rw
equals mark "$(pool_field 8)" -
equals chunks "$(pool_field 3)" 16/512
thin t 0 16
put t "$W/t" 8388608 65536 direct
same t "$W/t"
remove t
pool_remove pool
