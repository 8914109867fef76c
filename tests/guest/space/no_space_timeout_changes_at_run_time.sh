#!/bin/sh
# With no_space_timeout 0 writes wait without end; the value that holds when the pool is resumed ends them with ENOSPC and an event.
# vm: timeout=200 smp=2
. "$TESTS/lib.sh"

pool 128 4
seconds=/sys/module/$MODULE/parameters/no_space_timeout
echo 0 >"$seconds"
thin_new t 0 8
in_background dd if=/dev/zero of=/dev/mapper/t bs=1M oflag=direct conv=notrunc
writer=$!
wait_for 30 mode_is out_of_data_space
# The clock that ran would have ended after a second.
echo 1 >"$seconds"
sleep 3
kill -0 "$writer" || fail "the writer did not wait"
equals "what a full pool does" "$(pool_word 7)" queue_if_no_space
# A full pool is full when it comes back, and its clock starts anew.
now=$(events pool)
dmsetup suspend --noflush pool
dmsetup resume pool
equals mode "$(pool_word 5)" out_of_data_space
if wait "$writer"; then
    fail "the writer got space from nowhere"
fi
equals "what a full pool does" "$(pool_word 7)" error_if_no_space
at_least events "$(events pool)" $((now + 1))
fails 'No space left' dd if=/dev/zero of=/dev/mapper/t bs=64k count=1 seek=100 oflag=direct conv=notrunc
# Resumed, it queues again, as its table says.
echo 60 >"$seconds"
dmsetup suspend --noflush pool
dmsetup resume pool
equals "what a full pool does" "$(pool_word 7)" queue_if_no_space
