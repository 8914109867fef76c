#!/bin/sh
# Generated messages get from dm-drr the answer that dm-thin, beside it, gives to the same text.
# vm: timeout=300 hostile=yes
# skip-ok: both are under test at once
WHAT=messages
. "$TESTS/hostile_tables_get_the_errno_of_dm_thin.sh"
