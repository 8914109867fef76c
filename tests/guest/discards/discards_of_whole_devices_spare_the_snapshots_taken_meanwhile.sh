#!/bin/sh
# A device is discarded whole, again and again, while snapshots of it are taken: in each a chunk is what it was or zeroes, and stays so.
# vm: smp=2
. "$TESTS/lib.sh"

DATA_ATTRS="discard=1 irqmode=2 completion_nsec=1000000"
pool 128 160
thin_new t 0 8
noise "$W/one" $((8 * 1048576))
last=0
for round in 1 2; do
    dd if="$W/one" of=/dev/mapper/t bs=1M oflag=direct conv=notrunc status=none
    # Shared or not when it is discarded, and not in one piece.
    if [ "$round" = 2 ]; then
        last=$((last + 1))
        message create_snap "$last" 0
    fi
    in_background blkdiscard --step 1M /dev/mapper/t
    discarder=$!
    for _ in 1 2 3; do
        last=$((last + 1))
        message create_snap "$last" 0
    done
    wait "$discarder" || fail "the discard failed"
    # All of it now, in one piece.
    blkdiscard /dev/mapper/t
    equals "sectors mapped" "$(thin_mapped t)" 0
    last=$((last + 1))
    message create_snap "$last" 0
done
cat >"$W/either.py" <<'END'
import sys

chunk = 65536
one = open(sys.argv[1], "rb").read()
zeroes, kept = bytes(chunk), 0
with open(sys.argv[2], "rb") as f:
    for at in range(0, len(one), chunk):
        got = f.read(chunk)
        if got == one[at:at + chunk]:
            kept += 1
        elif got != zeroes:
            sys.exit("chunk %d is neither" % (at // chunk))
print(kept)
END
# Written over, the chunks that the discards have freed are somebody else's.
noise "$W/two" $((8 * 1048576))
dd if="$W/two" of=/dev/mapper/t bs=1M oflag=direct conv=notrunc status=none
middle=0
for id in $(seq 1 "$last"); do
    thin s "$id" 8
    mapped=$(thin_mapped s)
    kept=$(python3 "$W/either.py" "$W/one" /dev/mapper/s)
    equals "chunks that snapshot $id maps" "$((mapped / 128))" "$kept"
    if [ "$kept" != 0 ] && [ "$kept" != 128 ]; then
        middle=$((middle + 1))
    fi
    remove s
done
echo "$middle of $last snapshots in the middle of a discard"
same t "$W/two"
blkdiscard /dev/mapper/t
for id in $(seq 1 "$last"); do
    message delete "$id"
done
equals "chunks used" "$(chunks_used)" 0
