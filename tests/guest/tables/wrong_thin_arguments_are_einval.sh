#!/bin/sh
# Each argument of a thin's table, wrong in turn, is refused and named in the kernel log; the pool is unharmed.
# vm: timeout=120
. "$TESTS/lib.sh"

pool
message create_thin 0
dmsetup create plain --table "0 2048 linear $DATA 0"
bad=0
# word in the log ~ dmsetup's error ~ arguments
while IFS='~' read -r word error arguments; do
    arguments=$(echo "$arguments" | sed "s,POOL,/dev/mapper/pool,g; s,PLAIN,/dev/mapper/plain,g; s,DISK,$META,g")
    log_mark
    if out=$(dmsetup create t --table "0 32768 $THIN_T $arguments" 2>&1); then
        echo "accepted: '$arguments'"
        dmsetup remove t
        bad=1
        continue
    fi
    if ! printf '%s' "$out" | grep -qE "$error"; then
        echo "'$arguments': expected '$error', got: $out"
        bad=1
    fi
    if ! log_since | grep -v test-mark | grep -qiE "table:.* $THIN_T: .*($word)"; then
        echo "'$arguments': the log does not name '$word':"
        log_since
        bad=1
    fi
done <<EOT
argument~Invalid argument~
argument~Invalid argument~POOL
argument~Invalid argument~POOL 0 PLAIN more
device id~Invalid argument~POOL x
device id~Invalid argument~POOL 0x
device id~Invalid argument~POOL -1
device id~Invalid argument~POOL 16777216
device id~Invalid argument~POOL 18446744073709551616
pool~Invalid argument|No such~nowhere 0
pool~Invalid argument~DISK 0
pool~Invalid argument~PLAIN 0
thin|device~No data available~POOL 7
origin~Invalid argument~POOL 0 POOL
origin~Invalid argument|No such~POOL 0 nowhere
EOT
equals "faults" "$bad" 0
thin t 0 16
model "$W/t" 16
put t "$W/t" 0 65536
same t "$W/t"
