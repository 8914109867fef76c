#!/bin/sh
# When the metadata device loses all writes from some moment on, a pool loaded again is what it was at that moment.
# vm: timeout=300
. "$TESTS/lib.sh"
. "$TESTS/flaky_lib.sh"

flaky_pool
thin_new t 0 16
model "$W/t" 16
put t "$W/t" 0 2097152 direct
snap s 1 t 0
cp "$W/t" "$W/s"
message set_transaction_id 0 3
breaks fmeta drop_writes
# The pool cannot know: these succeed.
writes t 8388608 65536
writes t 0 4096
writes s 131072 65536
message create_snap 2 0
message set_transaction_id 3 4
remove t s
dmsetup remove pool
works fmeta
check_metadata /dev/mapper/fmeta
flaky_load
equals "mode" "$(pool_field 5) $(pool_field 8)" 'rw -'
equals "transaction" "$(pool_field 1)" 3
thin t 0 16
thin s 1 16
fails 'No data available|Invalid argument|No such' thin none 2 16
same t "$W/t"
same s "$W/s"
put t "$W/t" 0 4096 direct
same t "$W/t"
same s "$W/s"
