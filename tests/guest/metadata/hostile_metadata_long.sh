#!/bin/sh
# 12,000 damaged metadata images end in an error or a change of mode.
# vm: timeout=5400 hostile=yes long=yes solo=yes
HOSTILE_SEED=2026 HOSTILE_COUNT=12000
. "$TESTS/hostile_metadata_is_refused_or_contained.sh"
