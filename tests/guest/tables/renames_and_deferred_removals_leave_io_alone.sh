#!/bin/sh
# Pool and thins are renamed under I/O; removed while open, they go with their last user, the pool with its last thin; names are free again.
# vm: smp=2
. "$TESTS/lib.sh"

pool
thin_new t 0 12
model "$W/t" 12
snap s 1 t 0
model "$W/s" 12
touch "$W/going"
in_background python3 "$TESTS/random_io.py" "$W/going" "/dev/mapper/t=$W/t" "/dev/mapper/s=$W/s" >"$W/io"
io=$!
begun() {
    [ "$(thin_mapped t)" -gt 0 ] && [ "$(thin_mapped s)" -gt 0 ]
}
wait_for 20 begun
for round in 1 2 3; do
    dmsetup rename t "t.$round"
    dmsetup rename pool "pool.$round"
    POOL=pool.$round
    message create_snap $((round + 10)) 0
    dmsetup suspend "$POOL"
    dmsetup rename "pool.$round" pool
    dmsetup rename s t
    dmsetup resume pool
    POOL=pool
    equals "mode of the pool under its old name" "$(pool_field 5)" rw
    thin s $((round + 10)) 12
    # It has its own data, whatever its name was before.
    remove s
    dmsetup rename t s
    dmsetup rename "t.$round" t
done
still_going "$io" "the I/O"
equals "what is under a name again" "$(dmsetup table t | cut -d' ' -f5) $(dmsetup table s | cut -d' ' -f5)" "0 1"

# All three while the I/O has the thins open.
dmsetup remove --deferred t
dmsetup remove --deferred s
dmsetup remove --deferred pool
equals "devices to be removed" "$(dmsetup info | grep -c 'DEFERRED REMOVE')" 3
# One is taken back.
dmsetup message s 0 @cancel_deferred_remove
dmsetup mknodes
fails 'Device or resource busy' dmsetup remove s
still_going "$io" "the I/O"
rm "$W/going"
wait "$io" || fail "the I/O: $(cat "$W/io")"
cat "$W/io"
gone() {
    ! dmsetup info "$1" >/dev/null 2>&1
}
wait_for 20 gone t
same s "$W/s"
equals "sort of the pool" "$(dmsetup table pool | cut -d' ' -f3)" "$POOL_T"
remove s
wait_for 20 gone pool
# Its last commit may be under way still.
wait_for 20 metadata_is_sound "$META"
# The names at once, and the data.
pool_forget pool
pool_load pool "$META" "$DATA" 128
thin t 0 12
thin s 1 12
same t "$W/t"
same s "$W/s"
