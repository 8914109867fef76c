#!/bin/sh
# pvmove takes a pool's data to another disk under verified I/O: all of it is right, on the other disk, and nothing is left on the first.
# vm: smp=2 kernel=stock
. "$TESTS/lib.sh"
. "$TESTS/lvm_lib.sh"

load_side "$TARGETS"
a=$(disk 64 discard=1)
b=$(disk 64 discard=1)
lvm vgcreate --physicalextentsize 1m --setautoactivation n vg "$a" "$b"
lvm lvcreate --type thin-pool --size 32m --poolmetadatasize 2m --poolmetadataspare n --chunksize 64k --name pool vg "$a"
lvm lvcreate --virtualsize 16m --thinpool pool --name t vg
noise "$W/t" $((8 * 1048576))
dd if="$W/t" of=/dev/mapper/vg-t bs=1M oflag=direct status=none
lvm lvcreate --snapshot --name s vg/t
lvm lvchange --activate y --ignoreactivationskip vg/s
model "$W/t.now" 16
dd if="$W/t" of="$W/t.now" conv=notrunc status=none
touch "$W/going"
in_background python3 "$TESTS/random_io.py" "$W/going" "/dev/mapper/vg-t=$W/t.now" >"$W/io"
job=$!
reads() {
    while :; do
        cmp -n 8388608 /dev/mapper/vg-s "$W/t" || return 1
        blockdev --flushbufs /dev/mapper/vg-s
    done
}
in_background reads
reader=$!
lvm pvmove --interval 1 --name vg/pool_tdata "$a" "$b"
still_going "$job" "the I/O"
still_going "$reader" "the reader"
rm "$W/going"
kill "$reader"
wait "$job" || fail "the I/O: $(cat "$W/io")"
cat "$W/io"
equals "disk of the data" "$(dmsetup table vg-pool_tdata | cut -d' ' -f4)" "$(cat "/sys/block/${b##*/}/dev")"
blockdev --flushbufs /dev/mapper/vg-s
cmp -n 8388608 /dev/mapper/vg-s "$W/t"
same vg-t "$W/t.now"
# Where the data was may go.
lvm vgchange --activate n vg
dd if=/dev/zero of="$a" bs=1M seek=1 count=30 oflag=direct status=none
lvm lvchange --activate y --ignoreactivationskip vg/s vg/t
cmp -n 8388608 /dev/mapper/vg-s "$W/t"
same vg-t "$W/t.now"
lvm vgremove --yes vg
equals "devices left" "$(dmsetup ls | grep -c vg)" 0
