#!/bin/sh
# Queued writes in a full pool turn into errors after no_space_timeout seconds, which can be set at run time.
# vm: timeout=150
. "$TESTS/lib.sh"

pool 128 8
timeout_file=/sys/module/$MODULE/parameters/no_space_timeout
at_least "the default timeout" "$(cat "$timeout_file")" 60
echo 2 >"$timeout_file"
thin_new t 0 16
model "$W/t" 16
put t "$W/t" 0 4194304 direct
start=$(cut -d. -f1 /proc/uptime)
fails 'No space left|Input/output error' dd if=/dev/zero of=/dev/mapper/t bs=1M count=8 seek=4 oflag=direct conv=notrunc
at_least "seconds before the error" $(($(cut -d. -f1 /proc/uptime) - start)) 1
equals mode "$(pool_field 5)" out_of_data_space
equals "no space" "$(pool_field 7)" error_if_no_space
dd if=/dev/mapper/t bs=1M count=4 iflag=direct status=none | cmp -n 4194304 - "$W/t"
