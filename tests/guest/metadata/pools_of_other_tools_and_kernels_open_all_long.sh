#!/bin/sh
# Every image of metadata by older tools, by LVM's repair and by older kernels opens, is used, passes thin_check, and opens on dm-thin again.
# vm: timeout=400 long=yes
export EVERY=yes
. "$TESTS/pools_of_other_tools_and_kernels_open.sh"
