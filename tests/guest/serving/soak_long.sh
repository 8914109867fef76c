#!/bin/sh
# The soak for ten minutes.
# vm: timeout=1200 mem=1536 long=yes smp=2
SOAK_SECONDS=600
. "$TESTS/soak.sh"
