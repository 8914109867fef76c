#!/bin/sh
# Ids of 2^24 and more, negative ones and words are refused with EINVAL by every message; 2^24 - 1 works.
# vm: timeout=120
. "$TESTS/lib.sh"

pool
message create_thin 0
for id in 16777216 4294967296 18446744073709551616 -1 word 1x ''; do
    fails 'Invalid argument' message create_thin "$id"
    fails 'Invalid argument' message create_snap "$id" 0
    fails 'Invalid argument' message create_snap 1 "$id"
    fails 'Invalid argument' message delete "$id"
done
message create_thin 16777215
message create_snap 16777214 16777215
message delete 16777215
message delete 16777214
