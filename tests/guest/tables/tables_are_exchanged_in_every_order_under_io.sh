#!/bin/sh
# Pool, thin and snapshot are suspended in one order and resumed in another with new tables, the pool's with other features: I/O stays right.
# vm: smp=2
. "$TESTS/lib.sh"

# Three orders of suspending, each with another order of resuming; TABLE_ORDERS=all for every one with every one.
DATA_ATTRS=discard=1
pool
thin_new t 0 12
model "$W/t" 12
put t "$W/t" 0 6291456 direct
snap s 1 t 0
cp "$W/t" "$W/s"
snap still 2 t 0
cp "$W/t" "$W/still"
touch "$W/going"
in_background python3 "$TESTS/random_io.py" "$W/going" "/dev/mapper/t=$W/t" "/dev/mapper/s=$W/s" >"$W/io"
io=$!

features() {
    case $(($1 % 6)) in
    0) echo "0 1 error_if_no_space" ;;
    1) echo "16 1 no_discard_passdown" ;;
    2) echo "5 1 skip_block_zeroing" ;;
    3) echo "0 2 skip_block_zeroing no_discard_passdown" ;;
    4) echo "3 0" ;;
    5) echo "0 2 skip_block_zeroing error_if_no_space" ;;
    esac
}
round=0
# exchange_tables SUSPENDED_IN_THIS_ORDER RESUMED_IN_THIS_ORDER
exchange_tables() {
    round=$((round + 1))
    dmsetup reload pool --table "0 $(sectors "$DATA") $POOL_T $META $DATA 128 $(features $round)"
    dmsetup reload t --table "0 24576 $THIN_T /dev/mapper/pool 0"
    dmsetup reload s --table "0 24576 $THIN_T /dev/mapper/pool 1"
    # In the background: a thin that is suspended after its pool waits for it, and may find then that its new table has done that.
    jobs=
    turn=$round
    for name in $1; do
        turn=$((turn + 1))
        case $((turn % 3)) in
        0) in_background dmsetup suspend "$name" 2>>"$W/refused" ;;
        1) in_background dmsetup suspend --noflush "$name" 2>>"$W/refused" ;;
        2) in_background dmsetup suspend --noflush --nolockfs "$name" 2>>"$W/refused" ;;
        esac
        jobs="$jobs $!"
        for _ in 1 2 3; do
            if ! kill -0 $! 2>/dev/null; then
                break
            fi
            sleep 0.1
        done
    done
    for name in $2; do
        in_background dmsetup resume "$name" 2>>"$W/refused"
        jobs="$jobs $!"
    done
    for job in $jobs; do
        wait "$job" || :
    done
    # A suspension that waited for its pool came after the resumption.
    for name in pool t s; do
        dmsetup resume "$name"
    done
    equals "features after '$1' and '$2'" "$(dmsetup table pool | cut -d' ' -f7- | sed 's/ $//')" "$(features $round)"
    still_going "$io" "the I/O"
}
permutations="pool:t:s pool:s:t t:pool:s t:s:pool s:pool:t s:t:pool"
downs="pool:t:s t:s:pool s:pool:t"
set -- s:t:pool pool:s:t t:pool:s
if [ "${TABLE_ORDERS:-some}" = all ]; then
    downs=$permutations
fi
for down in $downs; do
    if [ "${TABLE_ORDERS:-some}" = all ]; then
        ups=$permutations
    else
        ups=$1
        shift
    fi
    for up in $ups; do
        exchange_tables "$(echo "$down" | tr : ' ')" "$(echo "$up" | tr : ' ')"
    done
done
if grep -vE 'Invalid argument|Command failed' "$W/refused"; then
    fail "refused for another reason"
fi
rm "$W/going"
wait "$io" || fail "the I/O: $(cat "$W/io")"
cat "$W/io"
awk '$2 < 20 { exit 1 }' "$W/io" || fail "hardly any I/O took place"
same t "$W/t"
same s "$W/s"
same still "$W/still"
