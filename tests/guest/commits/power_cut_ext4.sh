#!/bin/sh
# After a power cut at any of 200 flushes the pool is sound and every file that was fsynced on ext4 is there.
# vm: timeout=3600 mem=1536 long=yes solo=yes smp=2
. "$TESTS/lib.sh"
. "$TESTS/power_cut_lib.sh"

# Each fsync is one flush of the data device.
power_cut ext4 96 --scale 1.25
