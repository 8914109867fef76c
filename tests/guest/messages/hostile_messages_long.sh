#!/bin/sh
# 12,000 generated messages get the answers of dm-thin.
# vm: timeout=3600 hostile=yes long=yes solo=yes
# skip-ok: both are under test at once
WHAT=messages HOSTILE_SEED=2026 HOSTILE_COUNT=12000
. "$TESTS/hostile_tables_get_the_errno_of_dm_thin.sh"
