#!/bin/sh
# After a power cut at any of 200 flushes every snapshot whose message was answered is there as it was taken.
# vm: timeout=3600 mem=1536 long=yes solo=yes smp=2
. "$TESTS/lib.sh"
. "$TESTS/power_cut_lib.sh"

power_cut snapshots 128
