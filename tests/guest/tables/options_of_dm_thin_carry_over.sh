#!/bin/sh
# With the README's line in modprobe.d, who loads dm-thin-pool gets this module, with the options that are configured and given for that.
# vm: timeout=60
. "$TESTS/lib.sh"

only drr dropin
mkdir "$W/conf"
cat >"$W/conf/drr.conf" <<'END'
install dm-thin-pool /sbin/modprobe dm-drr $CMDLINE_OPTS
options dm_thin_pool no_space_timeout=7
END
modprobe -C "$W/conf" dm-thin-pool snapshot_copy_throttle=50
[ ! -d /sys/module/dm_thin_pool ] || fail "dm-thin itself was loaded"
equals no_space_timeout "$(cat /sys/module/dm_drr/parameters/no_space_timeout)" 7
equals snapshot_copy_throttle "$(cat /sys/module/dm_drr/parameters/snapshot_copy_throttle)" 50
equals "version of thin-pool" "$(dmsetup targets | awk '$1 == "thin-pool" { print $2 }')" v1.24.0
