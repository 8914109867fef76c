#!/bin/sh
# On 192k chunks every byte reads back as written: inside chunks, across them, whole ones, before and after a snapshot.
# vm: timeout=150
. "$TESTS/lib.sh"

check_read_after_write 384
