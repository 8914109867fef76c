#!/bin/sh
# A status that may flush finds out that an idle pool's metadata device takes no writes any more, and one that may not flush does not.
# vm: timeout=200
. "$TESTS/lib.sh"
. "$TESTS/flaky_lib.sh"

flaky_pool
thin_new t 0 16
model "$W/t" 16
put t "$W/t" 0 1048576 direct
# All is committed, and nothing else asks for a commit.
dmsetup status pool >/dev/null
sleep 2
breaks fmeta error_writes
# dm-thin commits by itself each second.
if [ "$SIDE" != stock ]; then
    equals mode "$(pool_word 5)" rw
fi
dmsetup status pool >/dev/null
equals "mode and mark" "$(pool_word 5) $(pool_word 8)" 'ro needs_check'
same t "$W/t"
remove t
dmsetup remove pool
works fmeta
thin_check -q --clear-needs-check-flag /dev/mapper/fmeta

# What can be neither read nor written fails the pool.
flaky_load
equals mode "$(pool_word 5)" rw
message create_thin 1
dmsetup status pool >/dev/null
breaks fmeta
dmsetup status pool >"$W/status"
if [ "$SIDE" != stock ]; then
    equals "the first status" "$(word 4 "$(cat "$W/status")")" Fail
fi
equals "the next status" "$(word 4 "$(dmsetup status pool)")" Fail
dmsetup remove pool
works fmeta

# A pool that was only opened is not written to by being asked.
flaky_load
before=$(sectors_written "$META")
dmsetup status pool >/dev/null
equals "sectors written" "$(sectors_written "$META")" "$before"
dmsetup remove pool
