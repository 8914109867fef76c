#!/bin/sh
# drr-pool takes drr and no_drr as feature arguments and prints them so that the table loads again.
# vm: timeout=120
# skip-ok: the module under test is the stock dm-thin, or not under these names
. "$TESTS/lib.sh"

only drr
pool
remove pool
pool_forget pool
size=$(sectors "$DATA")
for features in '1 drr' '1 no_drr' '2 skip_block_zeroing no_drr' '3 no_drr no_discard_passdown skip_block_zeroing'; do
    dmsetup create pool --table "0 $size $POOL_T $META $DATA 128 0 $features"
    table=$(dmsetup table pool)
    for word in ${features#* }; do
        case "$table" in
        *" $word "*) ;;
        *) fail "'$features' is printed as '$table'" ;;
        esac
    done
    dmsetup reload pool --table "$table"
    dmsetup suspend pool
    dmsetup resume pool
    equals "reloaded table" "$(dmsetup table pool)" "$table"
    dmsetup remove pool
done
log_mark
fails 'Invalid argument' dmsetup create pool --table "0 $size $POOL_T $META $DATA 128 0 2 drr no_drr"
log_names 'drr'
