#!/bin/sh
# After a power cut at a flush all that was fsynced is there, snapshots too: ten points of a mixed workload.
# vm: timeout=600 mem=1536 smp=2
. "$TESTS/lib.sh"
. "$TESTS/power_cut_lib.sh"

power_cut mixed 48 --points 10 --extra 2
