#!/bin/sh
# Suspend and resume leave a full pool out_of_data_space, without an event; a new table begins in write mode.
# vm: timeout=200
. "$TESTS/lib.sh"

pool 128 4 0 error_if_no_space
thin_new t 0 8
fails 'No space left' dd if=/dev/zero of=/dev/mapper/t bs=1M oflag=direct
wait_for 10 mode_is out_of_data_space
now=$(events pool)
dmsetup suspend pool
dmsetup resume pool
equals mode "$(pool_field 5)" out_of_data_space
equals events "$(events pool)" "$now"
reload pool "$(dmsetup table pool)"
equals mode "$(pool_field 5)" rw
equals events "$(events pool)" $((now + 1))
fails 'No space left' dd if=/dev/zero of=/dev/mapper/t bs=1M count=1 seek=6 oflag=direct conv=notrunc
wait_for 10 mode_is out_of_data_space
