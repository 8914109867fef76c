#!/bin/sh
# The table as printed is dm-thin's to the letter, trailing space included, and loads again as printed.
# vm: timeout=300
. "$TESTS/lib.sh"

pool
remove pool
pool_forget pool
size=$(sectors "$DATA")
devs="$(cat "/sys/class/block/${META##*/}/dev") $(cat "/sys/class/block/${DATA##*/}/dev")"

# Arguments as given, then as the table has to show them.
while IFS='|' read -r given shown; do
    # shellcheck disable=SC2086 # the arguments are words
    dmsetup create pool --table "0 $size $POOL_T $META $DATA $given"
    dmsetup table pool >"$W/table"
    printf '0 %s %s %s %s \n' "$size" "$POOL_T" "$devs" "$shown" >"$W/wanted"
    cmp "$W/table" "$W/wanted" || fail "'$given' prints '$(cat "$W/table")', expected '$(cat "$W/wanted")'"
    dmsetup reload pool --table "$(cat "$W/table")"
    dmsetup suspend pool
    dmsetup resume pool
    dmsetup table pool | cmp - "$W/wanted" || fail "reloaded as printed, the table has changed"
    dmsetup remove pool
    # And a pool made from the printed text.
    dmsetup create pool --table "$(cat "$W/wanted")"
    dmsetup table pool | cmp - "$W/wanted" || fail "made as printed, the table has changed"
    dmsetup remove pool
done <<EOT
128 0|128 0 0
128 100|128 100 0
128 0 0|128 0 0
128 32768 1 skip_block_zeroing|128 32768 1 skip_block_zeroing
128 0 1 ignore_discard|128 0 1 ignore_discard
128 0 1 no_discard_passdown|128 0 1 no_discard_passdown
128 0 1 read_only|128 0 1 read_only
128 0 1 error_if_no_space|128 0 1 error_if_no_space
128 0 3 error_if_no_space no_discard_passdown skip_block_zeroing|128 0 3 skip_block_zeroing no_discard_passdown error_if_no_space
128 0 4 read_only error_if_no_space skip_block_zeroing ignore_discard|128 0 4 skip_block_zeroing ignore_discard read_only error_if_no_space
EOT

pool_load pool "$META" "$DATA" 128
thin_new t 9 16
dmsetup table t >"$W/table"
equals "thin table" "$(cat "$W/table")" "0 32768 $THIN_T $(dmsetup info -c --noheadings -o major,minor pool) 9"
dmsetup reload t --table "$(cat "$W/table")"
dmsetup suspend t
dmsetup resume t
dmsetup table t | cmp - "$W/table"

# With an external origin, a third word.
dmsetup create o --table "0 1001 linear $(disk 1) 0"
message create_thin 10
dmsetup create u --table "0 32768 $THIN_T /dev/mapper/pool 10 /dev/mapper/o"
dmsetup table u >"$W/table"
number() {
    dmsetup info -c --noheadings -o major,minor "$1"
}
equals "thin table" "$(cat "$W/table")" "0 32768 $THIN_T $(number pool) 10 $(number o)"
dmsetup reload u --table "$(cat "$W/table")"
dmsetup suspend u
dmsetup resume u
dmsetup table u | cmp - "$W/table"
dmsetup remove u
dmsetup create u --table "$(cat "$W/table")"
dmsetup table u | cmp - "$W/table"
