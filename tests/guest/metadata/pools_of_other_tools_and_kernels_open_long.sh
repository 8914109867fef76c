#!/bin/sh
# The same under the thin_check of Debian 12: metadata by older tools, by LVM's repair and by older kernels opens, is used, and passes.
# vm: root=bookworm timeout=600 long=yes solo=yes
export EVERY=yes
. "$TESTS/pools_of_other_tools_and_kernels_open.sh"
