#!/bin/sh
# A pool's inactive table changes nothing before it is resumed, a cleared one never; discard support cannot be switched by one.
# vm: timeout=200
. "$TESTS/lib.sh"

pool 128 16
size=$(sectors "$DATA")
old=$(dmsetup table pool)
thin_new t 0 16
dmsetup reload pool --table "0 $size $POOL_T $META $DATA 128 100 2 error_if_no_space skip_block_zeroing"
equals "no space" "$(pool_field 7)" queue_if_no_space
equals table "$(dmsetup table pool)" "$old"
dmsetup clear pool
dmsetup suspend pool
dmsetup resume pool
equals "no space" "$(pool_field 7)" queue_if_no_space
dmsetup reload pool --table "0 $size $POOL_T $META $DATA 128 100 2 error_if_no_space skip_block_zeroing"
dmsetup suspend pool
equals "no space" "$(pool_field 7)" queue_if_no_space
dmsetup resume pool
equals "no space" "$(pool_field 7)" error_if_no_space
equals table "$(dmsetup table pool | cut -d' ' -f6-)" "128 100 2 skip_block_zeroing error_if_no_space "
# The new low water mark counts.
now=$(events pool)
dd if=/dev/zero of=/dev/mapper/t bs=1M count=11 oflag=direct conv=notrunc status=none
equals events "$(events pool)" $((now + 1))
log_mark
fails 'Invalid argument' dmsetup reload pool --table "0 $size $POOL_T $META $DATA 128 0 1 ignore_discard"
log_names 'discard'
equals "discard mode" "$(pool_field 6)" no_discard_passdown
