#!/bin/sh
# An O_DIRECT|O_DSYNC write that has returned is in a copy of the devices taken right away, mapping and data.
# vm: timeout=120
. "$TESTS/lib.sh"

pool
thin_new t 0 16
model "$W/t" 16
noise "$W/old" 65536
dd if="$W/old" of=/dev/mapper/t bs=64k oflag=direct status=none
snap s 1 t 0
meta2=$(disk 8)
data2=$(disk 128)
# A fresh chunk, a whole shared chunk, a part of what is now private.
for place in 1048576:65536 0:65536 4096:4096 2097152:4096; do
    off=${place%:*} len=${place#*:}
    noise "$W/new" "$len"
    dd if="$W/new" of=/dev/mapper/t bs="$len" seek="$off" oflag=direct,dsync,seek_bytes conv=notrunc status=none
    dd if="$META" of="$meta2" bs=1M iflag=direct oflag=direct status=none
    dd if="$DATA" of="$data2" bs=1M iflag=direct oflag=direct status=none
    POOL=copy
    pool_load copy "$meta2" "$data2" 128
    thin c 0 16
    dd if=/dev/mapper/c bs="$len" skip="$off" count=1 iflag=direct,skip_bytes status=none | cmp - "$W/new"
    thin cs 1 16
    dd if=/dev/mapper/cs bs=64k count=1 iflag=direct status=none | cmp - "$W/old"
    remove c cs
    pool_remove copy
    POOL=pool
done
