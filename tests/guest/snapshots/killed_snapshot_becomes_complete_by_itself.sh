#!/bin/sh
# While a write in place of its origin is held below the pool, the sender of create_snap can be killed. The snapshot is there, cannot be
# opened yet, becomes complete by itself, and can be deleted before. Another one of the same origin waits, and can be killed too.
# vm: timeout=120 smp=2
. "$TESTS/lib.sh"

# dm-thin would have its origins suspended.
only drr dropin
pool 128 64
thin_new a 0 4
noise "$W/a" 4194304
dd if="$W/a" of=/dev/mapper/a bs=1M oflag=direct conv=fsync status=none

# hold N: the Nth 32 KiB of the thin are being written, for longer than the test takes. They land when `let_go` is called.
hold() {
    noise "$W/held" 32768
    dd if="$W/held" of="$W/a" bs=32k seek="$1" conv=notrunc status=none
    throttled wbps=512 dd if="$W/held" of=/dev/mapper/a bs=32k seek="$1" oflag=direct conv=notrunc status=none
    held=$!
    wait_for 20 in_flight a
}
let_go() {
    still_going "$held" "the held write"
    unthrottled
    wait "$held"
    cgroup_remove "$THROTTLED"
}
# begin_snapshot ID ORIGIN, $sender
begin_snapshot() {
    in_background dmsetup message pool 0 "create_snap $1 $2"
    sender=$!
    wait_for 20 in_ioctl "$sender"
    sleep 0.2
    still_going "$sender" "the message"
}
# killed: at once, not when the write ends.
killed() {
    kill -KILL "$sender"
    wait "$sender" 2>/dev/null && fail "the killed sender has succeeded"
    still_going "$held" "the held write"
}

hold 0
begin_snapshot 1 0
killed
fails 'File exists' message create_snap 1 0
fails 'busy' thin s 1 4
# Another one of its origin changes nothing before it is its turn.
begin_snapshot 2 0
killed
message create_thin 2
# One that is deleted meanwhile is gone, and its id is free for another device.
message delete 1
message create_thin 1
thin s 1 4
head -c 4194304 /dev/zero | cmp - /dev/mapper/s
remove s
begin_snapshot 3 0
# Nobody else is held up.
message delete 2
message create_thin 4
still_going "$held" "the held write"
let_go
wait "$sender" || fail "the last snapshot failed"
thin s 3 4
same s "$W/a"
remove s

hold 1
begin_snapshot 5 0
killed
# A snapshot of one that is being made itself: not before that is complete.
begin_snapshot 6 5
let_go
wait "$sender" || fail "the snapshot of the snapshot failed"
for id in 5 6; do
    wait_for 10 thin s "$id" 4
    same s "$W/a"
    remove s
done
same a "$W/a"
# Copies go on again.
message create_snap 7 0
dd if="$W/held" of=/dev/mapper/a bs=4k count=1 seek=500 oflag=direct conv=notrunc,fsync status=none
thin s 7 4
same s "$W/a"
remove s a
pool_remove pool
