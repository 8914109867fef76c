#!/bin/sh
# After a power cut at any of 200 flushes discarded and rewritten chunks have their owner's bytes.
# vm: timeout=3600 mem=1536 long=yes solo=yes smp=2
. "$TESTS/lib.sh"
. "$TESTS/power_cut_lib.sh"

power_cut discards 64
