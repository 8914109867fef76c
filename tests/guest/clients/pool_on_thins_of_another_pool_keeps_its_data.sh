#!/bin/sh
# A pool whose metadata and data are thins of another pool: its thins, the outer snapshots taken under it, and its crash image are right.
# vm: smp=2 long=yes
. "$TESTS/lib.sh"

pool 128 160
message create_thin 0
message create_thin 1
thin nmeta 0 8
thin ndata 1 48
pool_load inner /dev/mapper/nmeta /dev/mapper/ndata 128
POOL=inner
thin_new t 0 8
model "$W/t" 8
random_puts t "$W/t" 8 8 200
snap s 1 t 0
cp "$W/t" "$W/s"
random_puts t "$W/t" 8 8 200
random_puts s "$W/s" 8 8 200
same t "$W/t"
same s "$W/s"
# Snapshots of what is below, with the inner pool suspended: what it was at this moment.
dmsetup suspend inner
for id in 0 1; do
    dmsetup message pool 0 "create_snap $((id + 10)) $id"
done
dmsetup resume inner
cp "$W/t" "$W/t.then"
cp "$W/s" "$W/s.then"
# What is shared now is copied twice over.
random_puts t "$W/t" 8 8 200
random_puts s "$W/s" 8 8 200
same t "$W/t"
same s "$W/s"
if [ "$(dmsetup info -c --noheadings -o suspended pool)" = Suspended ]; then fail "the outer pool is suspended"; fi
dmsetup suspend pool
dmsetup resume pool
remove t s
# Forgotten: the outer pool's devices are gone before the teardown can check it.
pool_remove inner
POOL=pool
thin smeta 10 8
thin sdata 11 48
pool_load earlier /dev/mapper/smeta /dev/mapper/sdata 128
POOL=earlier
thin t 0 8
thin s 1 8
same t "$W/t.then"
same s "$W/s.then"
remove t s
pool_remove earlier
remove smeta sdata nmeta ndata
