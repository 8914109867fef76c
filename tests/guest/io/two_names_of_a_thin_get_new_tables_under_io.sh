#!/bin/sh
# Two names of one thin write sectors of the same chunks while either gets new tables, is suspended in turn with the pool, or made anew.
# vm: smp=2 long=yes
. "$TESTS/lib.sh"

pool 128 96
thin_new one 0 8
thin two 0 8
thin three 0 8
model "$W/t" 8
touch "$W/going"
in_background python3 "$TESTS/random_io.py" "$W/going" "/dev/mapper/one=$W/t@0/2" "/dev/mapper/two=$W/t@1/2" >"$W/io"
io=$!
round=0
for order in "one two pool" "two pool one" "pool one two" "two one pool"; do
    round=$((round + 1))
    # Sharing is broken again, by both.
    message create_snap "$round" 0
    for name in $order; do
        case $name in
        pool) dmsetup reload pool --table "0 $(sectors "$DATA") $POOL_T $META $DATA 128 $round 1 no_discard_passdown" ;;
        *) dmsetup reload "$name" --table "0 16384 $THIN_T /dev/mapper/pool 0" ;;
        esac
    done
    for name in $order; do
        # Without flush: what waits for a suspended pool goes back, and does not hold its thin up.
        timeout 100 dmsetup suspend --noflush --nolockfs "$name" 2>>"$W/refused" &
        jobs=$!
        sleep 0.1
        # Resuming it with its new table suspends it as well, and may find that done.
        dmsetup resume "$name" 2>>"$W/refused" || :
        dmsetup resume pool
        wait "$jobs" || :
        dmsetup resume "$name"
    done
    # The third name has nothing under way.
    remove three
    thin three 0 8
    still_going "$io" "the I/O"
done
if grep -vE 'Invalid argument|Command failed' "$W/refused"; then
    fail "refused for another reason"
fi
rm "$W/going"
wait "$io" || fail "the I/O: $(cat "$W/io")"
cat "$W/io"
for name in one two three; do
    same "$name" "$W/t"
done
