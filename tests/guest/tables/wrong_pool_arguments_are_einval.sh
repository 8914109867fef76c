#!/bin/sh
# Each argument of a pool's table, wrong in turn, is refused with EINVAL and named in the kernel log; nothing is written.
# vm: timeout=120
. "$TESTS/lib.sh"

load_side "$TARGETS"
META=$(disk 8)
DATA=$(disk 64)
size=$(sectors "$DATA")
bad=0
# word in the log ~ dmsetup's error ~ arguments
while IFS='~' read -r word error arguments; do
    arguments=$(echo "$arguments" | sed "s,META,$META,g; s,DATA,$DATA,g")
    log_mark
    if out=$(dmsetup create p --table "0 $size $POOL_T $arguments" 2>&1); then
        echo "accepted: '$arguments'"
        dmsetup remove p
        bad=1
        continue
    fi
    if ! printf '%s' "$out" | grep -qE "$error"; then
        echo "'$arguments': expected '$error', got: $out"
        bad=1
    fi
    if ! log_since | grep -v test-mark | grep -qiE "table:.* $POOL_T: .*($word)"; then
        echo "'$arguments': the log does not name '$word':"
        log_since
        bad=1
    fi
done <<EOT
argument~Invalid argument~
argument~Invalid argument~META
argument~Invalid argument~META DATA
argument~Invalid argument~META DATA 128
block size~Invalid argument~META DATA 0 0
block size~Invalid argument~META DATA 64 0
block size~Invalid argument~META DATA 127 0
block size~Invalid argument~META DATA 192 0
block size~Invalid argument~META DATA 2097280 0
block size~Invalid argument~META DATA 12x 0
block size~Invalid argument~META DATA -128 0
block size~Invalid argument~META DATA 18446744073709551744 0
low water~Invalid argument~META DATA 128 x
low water~Invalid argument~META DATA 128 -1
feature~Invalid argument~META DATA 128 0 x
feature~Invalid argument~META DATA 128 0 -1
feature~Invalid argument~META DATA 128 0 99
feature~Invalid argument~META DATA 128 0 2 skip_block_zeroing
feature~Invalid argument~META DATA 128 0 1 no_such_feature
feature~Invalid argument~META DATA 128 0 2 skip_block_zeroing no_such_feature
metadata~Invalid argument|No such~nowhere DATA 128 0
data~Invalid argument|No such~META nowhere 128 0
metadata~Invalid argument~META META 128 0
EOT
equals "faults" "$bad" 0
# A table that is refused has not formatted anything.
cmp -n $((8 * 1048576)) "$META" /dev/zero || fail "a refused table has written to the metadata device"
dmsetup ls | grep -q '(' && fail "a refused device is there"
pool_load pool "$META" "$DATA" 128
