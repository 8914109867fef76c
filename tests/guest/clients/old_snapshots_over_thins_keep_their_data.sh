#!/bin/sh
# dm-snapshot over a thin, its exceptions on another thin of the pool: origin, snapshot, the thin's own snapshots and a merge are right.
# vm: smp=2 long=yes
. "$TESTS/lib.sh"

pool
modprobe dm-snapshot
thin_new t 0 4
thin_new cow 1 8
model "$W/t" 4
put t "$W/t" 0 4194304 direct
# The thin has snapshots of its own below all this.
snap under 2 t 0
cp "$W/t" "$W/under"
dmsetup create base --table "0 8192 linear /dev/mapper/t 0"
dmsetup create org --table "0 8192 snapshot-origin /dev/mapper/base"
dmsetup suspend org
dmsetup create old --table "0 8192 snapshot /dev/mapper/base /dev/mapper/cow P 16"
dmsetup resume org
cp "$W/t" "$W/old"
random_puts org "$W/t" 4 6 100
random_puts old "$W/old" 4 6 100
same org "$W/t"
same old "$W/old"
same under "$W/under"
# Both thins in the middle of it.
snap cow2 3 cow 1
snap t2 4 t 0
cp "$W/t" "$W/t2"
random_puts org "$W/t" 4 6 100
random_puts old "$W/old" 4 6 100
same org "$W/t"
same old "$W/old"
same t2 "$W/t2"
# The old snapshot goes back into its origin.
remove old
dmsetup suspend org
dmsetup reload org --table "0 8192 snapshot-merge /dev/mapper/base /dev/mapper/cow P 16"
dmsetup resume org
merged() {
    # shellcheck disable=SC2046 # words
    set -- $(dmsetup status org)
    [ "${4%%/*}" = "$5" ]
}
wait_for 60 merged
same org "$W/old"
remove org base
same t "$W/old"
same t2 "$W/t2"
same under "$W/under"
