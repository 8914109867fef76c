#!/bin/sh
# A thin asks for no read that its external origin cannot do: over 4 KiB sectors it has 4 KiB sectors.
# vm: timeout=300
. "$TESTS/lib.sh"

only drr dropin
pool
EXT=$(disk 4 blocksize=4096)
noise "$W/ext" 4194304
dd if="$W/ext" of="$EXT" bs=1M oflag=direct status=none
message create_thin 0
dmsetup create t --table "0 16384 $THIN_T /dev/mapper/$POOL 0 $EXT"
equals "logical block size" "$(blockdev --getss /dev/mapper/t)" 4096
external_model "$W/t" 16384 8192
same t "$W/t"
put t "$W/t" 12288 4096 direct
put t "$W/t" 777 4321
same t "$W/t"
remove t
dmsetup create t --table "0 16384 $THIN_T /dev/mapper/$POOL 0"
equals "logical block size without it" "$(blockdev --getss /dev/mapper/t)" 512
external_unharmed
