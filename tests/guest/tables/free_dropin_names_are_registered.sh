#!/bin/sh
# Without dm-thin loaded, dm-drr registers thin-pool and thin 1.24.0 beside drr-pool and drr 1.0.0, unless thin_names=0.
# vm: timeout=120
# skip-ok: the module under test is the stock dm-thin, or not under these names
. "$TESTS/lib.sh"

only drr dropin
version() {
    dmsetup targets | awk -v t="$1" '$1 == t { print $2 }'
}

unload dm_drr
unload dm_thin_pool
for names in '' thin_names=1 thin_names=2; do
    # shellcheck disable=SC2086 # none or one word
    modprobe dm-drr $names
    for expected in drr-pool:v1.0.0 drr:v1.0.0 thin-pool:v1.24.0 thin:v1.24.0; do
        equals "version of ${expected%:*} with '$names'" "$(version "${expected%:*}")" "${expected#*:}"
    done
    rmmod dm_drr
done
modprobe dm-drr thin_names=0
equals "version of drr-pool" "$(version drr-pool)" v1.0.0
equals "version of drr" "$(version drr)" v1.0.0
equals "version of thin-pool with thin_names=0" "$(version thin-pool)" ''
equals "version of thin with thin_names=0" "$(version thin)" ''
# The names are free for dm-thin then.
modprobe dm-thin-pool
equals "version of dm-thin's thin-pool" "$(version thin-pool)" v1.24.0
