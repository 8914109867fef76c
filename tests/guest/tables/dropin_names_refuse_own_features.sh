#!/bin/sh
# thin-pool takes dm-thin's feature arguments only: drr, no_drr and the like are EINVAL.
# vm: timeout=120
. "$TESTS/lib.sh"

# Under its own names the module takes them, so this is about the drop-in names in every run.
if [ "$TARGETS" = drr ]; then
    TARGETS=dropin
fi
pool
remove pool
pool_forget pool
for word in drr no_drr fine_cow no_fine_cow; do
    log_mark
    fails 'Invalid argument' dmsetup create pool --table "0 $(sectors "$DATA") $POOL_T $META $DATA 128 0 1 $word"
    log_names 'feature'
done
