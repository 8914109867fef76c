#!/bin/sh
# Activating a pool and its thins, reading, status, suspend and resume write nothing to the metadata device; the first change does.
# vm: timeout=200
. "$TESTS/lib.sh"

pool
thin_new t 0 16
model "$W/t" 16
put t "$W/t" 0 1048576
remove t
pool_remove pool
before=$(sectors_written "$META")
pool_load pool "$META" "$DATA" 128
thin t 0 16
same t "$W/t"
put t "$W/t" 65536 4096 direct
dmsetup status >/dev/null
dmsetup suspend pool
dmsetup resume pool
dmsetup suspend t
dmsetup resume t
# More than one period of the commits.
sleep 2
remove t
pool_remove pool
equals "sectors written to the metadata" "$(($(sectors_written "$META") - before))" 0
pool_load pool "$META" "$DATA" 128
message create_thin 1
at_least "sectors written to the metadata" "$(($(sectors_written "$META") - before))" 8
