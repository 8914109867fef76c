#!/bin/sh
# A read_only pool serves reads and mapped writes; what needs metadata fails: provisioning, breaking of sharing, messages.
# vm: timeout=120
. "$TESTS/lib.sh"

pool
thin_new t 0 16
model "$W/t" 16
put t "$W/t" 0 1048576 direct
snap s 1 t 0
cp "$W/t" "$W/s"
put t "$W/t" 0 65536 direct
remove t s
pool_remove pool
before=$(dd if="$META" bs=1M iflag=direct status=none | sha256sum)

pool_load pool "$META" "$DATA" 128 0 read_only
equals mode "$(pool_field 5)" ro
thin t 0 16
thin s 1 16
same t "$W/t"
same s "$W/s"
fails 'Input/output error' dd if=/dev/zero of=/dev/mapper/t bs=64k seek=100 count=1 oflag=direct conv=notrunc
fails 'Input/output error' dd if=/dev/zero of=/dev/mapper/s bs=4k seek=100 count=1 oflag=direct conv=notrunc
for words in 'create_thin 5' 'create_snap 5 0' 'delete 1' 'set_transaction_id 0 1' reserve_metadata_snap; do
    fails 'not supported' message "$words"
done
put t "$W/t" 4096 8192 direct
same t "$W/t"
same s "$W/s"
remove t s
pool_remove pool
equals "the metadata" "$(dd if="$META" bs=1M iflag=direct status=none | sha256sum)" "$before"
# And back to rw.
pool_load pool "$META" "$DATA" 128
message create_thin 5
