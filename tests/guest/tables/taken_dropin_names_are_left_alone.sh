#!/bin/sh
# With dm-thin loaded, dm-drr loads with its own names and says so; with thin_names=2 it refuses to load.
# vm: timeout=120
# skip-ok: the module under test is the stock dm-thin, or not under these names
. "$TESTS/lib.sh"

only drr dropin
version() {
    dmsetup targets | awk -v t="$1" '$1 == t { print $2 }'
}

unload dm_drr
modprobe dm-thin-pool
references=$(cat /sys/module/dm_thin_pool/refcnt)
log_mark
modprobe dm-drr thin_names=1
log_names 'drr.*(taken|in use|already|exist)'
equals "version of drr-pool" "$(version drr-pool)" v1.0.0
equals "version of drr" "$(version drr)" v1.0.0
# A pool under the taken name is dm-thin's, and both kinds live side by side.
META=$(disk 8)
DATA=$(disk 32)
meta2=$(disk 8)
data2=$(disk 32)
POOL=pool
POOL_T=thin-pool THIN_T=thin
pool_load pool "$META" "$DATA" 128
at_least "references to dm_thin_pool" "$(cat /sys/module/dm_thin_pool/refcnt)" 1
thin_new t 0 8
model "$W/t" 8
put t "$W/t" 0 1048576
POOL=own
POOL_T=drr-pool THIN_T=drr
pool_load own "$meta2" "$data2" 128
thin_new u 0 8
model "$W/u" 8
put u "$W/u" 0 1048576
same t "$W/t"
same u "$W/u"
remove t u
pool_remove pool
pool_remove own
rmmod dm_drr
equals "references to dm_thin_pool" "$(cat /sys/module/dm_thin_pool/refcnt)" "$references"
log_mark
fails 'busy|exists' modprobe dm-drr thin_names=2
log_names 'drr.*thin-pool.*thin_names'
equals "version of drr-pool" "$(version drr-pool)" ''
[ ! -d /sys/module/dm_drr ] || fail "the module is there after a failed load"
# thin_names=0 does not care.
modprobe dm-drr thin_names=0
