#!/bin/sh
# A pool's table cannot be exchanged for one over another data device; a pool made anew over one serves nothing of what the last one held.
# vm: timeout=120
. "$TESTS/lib.sh"

# What the other disk has: every byte is another one.
turned() {
    python3 -c 'import sys; sys.stdout.buffer.write(sys.stdin.buffer.read().translate(bytes(255 - n for n in range(256))))'
}

pool 128 16
thin_new origin 0 8
noise "$W/first" $((8 * 1048576))
dd if="$W/first" of=/dev/mapper/origin bs=64k oflag=direct conv=fsync status=none
snap a 1 origin 0
snap b 2 origin 0
remove origin
OTHER=$(disk 16)
dd if="$DATA" bs=1M iflag=direct status=none | turned | dd of="$OTHER" bs=1M iflag=fullblock oflag=direct status=none
turned <"$W/first" >"$W/second"

# While a is open what is read of it stays in memory.
exec 5</dev/mapper/a
cmp /dev/mapper/a "$W/first"
dmsetup suspend pool
fails 'busy|Invalid argument' dmsetup load pool --table "0 $(sectors "$OTHER") $POOL_T $META $OTHER 128 0"
dmsetup resume pool
equals "inactive tables" "$(dmsetup info -c --noheadings -o tables_loaded pool)" Live
drr_message stats reset
cmp /dev/mapper/b "$W/first"
drr_at_least served_pages 2048
exec 5<&-
remove a b
pool_remove pool

pool_load pool "$META" "$OTHER" 128
thin a 1 8
thin b 2 8
exec 5</dev/mapper/a
cmp /dev/mapper/a "$W/second"
cmp /dev/mapper/b "$W/second"
drr_at_least served_pages 2048
exec 5<&-
remove a b
