#!/bin/sh
# A write in place is held below the pool: snapshots of other thins are made, and their chunks copied, all the same. A snapshot of the
# writer's own thin is complete only after it, cannot be opened before, and no copy of a chunk misses the write. Meanwhile other devices
# are made and deleted.
# vm: timeout=120 smp=2
. "$TESTS/lib.sh"

# dm-thin would have its origins suspended.
only drr dropin
pool
thin_new a 0 4
thin_new z 1 4
noise "$W/a" 2097152
noise "$W/z" 2097152
dd if="$W/a" of=/dev/mapper/a bs=1M oflag=direct status=none
dd if="$W/z" of=/dev/mapper/z bs=1M oflag=direct conv=notrunc,fsync status=none
noise "$W/held" 32768
noise "$W/more" 4096

throttled wbps=512 dd if="$W/held" of=/dev/mapper/a bs=32k oflag=direct conv=notrunc status=none
held=$!
wait_for 20 in_flight a

# Its neighbour.
message create_snap 2 1
dd if="$W/more" of=/dev/mapper/z bs=4k oflag=direct conv=notrunc,fsync status=none
dd if="$W/more" of=/dev/mapper/z bs=4k seek=600 oflag=direct conv=notrunc,fsync status=none
thin y 2 4
dd if="$W/more" of=/dev/mapper/y bs=4k seek=256 oflag=direct conv=notrunc,fsync status=none
still_going "$held" "the held write"

# Its own thin.
in_background dmsetup message pool 0 "create_snap 3 0"
snapshot=$!
wait_for 20 in_ioctl "$snapshot"
sleep 0.2
in_background dd if="$W/more" of=/dev/mapper/a bs=4k seek=8 oflag=direct conv=notrunc status=none
copied=$!
dd if="$W/more" of=/dev/mapper/a bs=4k seek=800 oflag=direct conv=notrunc status=none
fails 'busy' thin s 3 4
# Nobody else's administration waits.
message create_thin 4
message create_snap 5 1
message delete 4
message delete 5
sleep 0.5
still_going "$held" "the held write"
still_going "$snapshot" "the snapshot of the held write's thin"
still_going "$copied" "the write that needs a copy of the held write's chunk"
unthrottled
for job in "$held" "$snapshot" "$copied"; do
    wait "$job" || fail "a write or the snapshot failed"
done

model "$W/want" 4
dd if="$W/a" of="$W/want" bs=1M conv=notrunc status=none
dd if="$W/held" of="$W/want" bs=32k conv=notrunc status=none
thin s 3 4
same s "$W/want"
dd if="$W/more" of="$W/want" bs=4k seek=8 conv=notrunc status=none
dd if="$W/more" of="$W/want" bs=4k seek=800 conv=notrunc status=none
same a "$W/want"
rm "$W/want"
model "$W/want" 4
dd if="$W/z" of="$W/want" bs=1M conv=notrunc status=none
cp "$W/want" "$W/want_y"
dd if="$W/more" of="$W/want_y" bs=4k seek=256 conv=notrunc status=none
same y "$W/want_y"
dd if="$W/more" of="$W/want" bs=4k conv=notrunc status=none
dd if="$W/more" of="$W/want" bs=4k seek=600 conv=notrunc status=none
same z "$W/want"
remove a s y z
pool_remove pool
