#!/bin/sh
# After a power cut at any of 200 flushes the pool is sound and every file that was fsynced on XFS is there.
# vm: timeout=3600 mem=1536 long=yes solo=yes smp=2
. "$TESTS/lib.sh"
. "$TESTS/power_cut_lib.sh"

# Each fsync is one flush of the data device.
power_cut xfs 160 --scale 1.25
