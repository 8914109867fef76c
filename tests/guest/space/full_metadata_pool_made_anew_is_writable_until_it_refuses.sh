#!/bin/sh
# A pool whose metadata was full, made anew, is rw with what is free, refuses the change too many again, and never needs a check.
# vm: timeout=200
. "$TESTS/lib.sh"
only drr dropin

load_side "$TARGETS"
META=$(disk 1)
DATA=$(disk 64)
POOL=pool
dmsetup create small --table "0 512 linear $META 0"
pool_load pool /dev/mapper/small "$DATA" 128
pool_forget pool
id=0
# fills: thins are made and written until the pool takes no more.
fills() {
    while message create_thin "$id" 2>"$W/refused"; do
        thin t "$id" 4
        id=$((id + 1))
        wrote=yes
        dd if=/dev/zero of=/dev/mapper/t bs=64k count=8 oflag=direct conv=notrunc,fsync status=none 2>"$W/refused" || wrote=
        remove t
        if [ -z "$wrote" ]; then
            break
        fi
        at_most "thins in 64 blocks of metadata" "$id" 64
    done
    grep -qE 'not supported|No space|Input/output' "$W/refused" || fail "refused otherwise: $(cat "$W/refused")"
}
fills
at_least "thins" "$id" 5
equals "mode and mark" "$(pool_word 5) $(pool_word 8)" 'ro -'
# What LVM reads the fill level from.
equals "metadata blocks" "$(pool_word 2)" 64/64
made=$id
dmsetup remove pool
check_metadata /dev/mapper/small
dmsetup create pool --table "0 $(sectors "$DATA") $POOL_T /dev/mapper/small $DATA 128 0"
equals "mode and mark" "$(pool_word 5) $(pool_word 8)" 'rw -'
used=$(pool_word 2)
at_most "metadata blocks used" "${used%/*}" 63
now=$(events pool)
fills
equals "mode and mark" "$(pool_word 5) $(pool_word 8)" 'ro -'
at_least events "$(events pool)" $((now + 1))
# All that was made is there.
message delete 0 2>"$W/refused" || grep -q 'not supported' "$W/refused"
thin t 0 4
dd if=/dev/mapper/t of=/dev/null bs=64k count=8 iflag=direct status=none
remove t
# What LVM does then: the metadata grows, and the pool goes on.
reload small "0 2048 linear $META 0"
dmsetup suspend --noflush pool
dmsetup resume pool
equals "mode and mark" "$(pool_word 5) $(pool_word 8)" 'rw -'
message create_thin 200
thin t 200 4
dd if=/dev/zero of=/dev/mapper/t bs=64k count=8 oflag=direct conv=notrunc,fsync status=none
remove t
at_least "thins made" "$made" 5
dmsetup remove pool
check_metadata /dev/mapper/small
dmsetup remove small
