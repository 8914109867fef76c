#!/bin/sh
# While a pool's metadata cannot be read, devices of other pools come and go, and only its own devices are taken; a failure frees them.
# vm: timeout=200 smp=2
. "$TESTS/lib.sh"
only drr dropin

pool
message create_thin 0
meta2=$(disk 8)
data2=$(disk 64)
# What is below the metadata of a second pool is held up until it is resumed.
dmsetup create gate --table "0 $(sectors "$meta2") linear $meta2 0"
table2="0 $(sectors "$data2") $POOL_T /dev/mapper/gate $data2 128 0"

# opening: the second pool is being opened, and cannot go on.
opening() {
    dmsetup suspend gate
    in_background sh -c "dmsetup create second --table '$table2' >'$W/second' 2>&1; echo \$? >'$W/rc'"
    wait_for 10 sh -c 'dmsetup info second >/dev/null 2>&1'
    sleep 0.5
    if [ -s "$W/rc" ]; then
        fail "the second pool did not wait for its metadata: $(cat "$W/second")"
    fi
}
# opened RC: it has gone on, and ended so.
opened() {
    dmsetup resume gate
    wait_for 20 test -s "$W/rc"
    equals "status of the second pool's opening" "$(cat "$W/rc")" "$1"
    rm "$W/rc"
}
# Not waited for: a command that waits for the other pool cannot be killed.
comes_and_goes() {
    in_background sh -c "dmsetup create x --table '0 8192 $THIN_T /dev/mapper/pool 0' && dmsetup remove x && echo done >'$W/went'"
    wait_for 10 test -s "$W/went"
    rm "$W/went"
}

opening
comes_and_goes
# Another pool can come, too.
meta3=$(disk 8)
data3=$(disk 64)
pool_load third "$meta3" "$data3" 128
pool_remove third
fails 'busy' dmsetup create again --table "$table2"
fails 'busy' dmsetup create again --table "0 $(sectors "$data2") $POOL_T $meta3 $data2 128 0"
# There is no pool yet.
number=$(dmsetup info -c --noheadings --separator : -o major,minor second)
fails 'Invalid argument|No such device' dmsetup create y --table "0 8192 $THIN_T $number 0"
opened 0
dmsetup message second 0 "create_thin 3"
dmsetup remove second
check_metadata /dev/mapper/gate

# What cannot be opened leaves nothing behind.
dd if=/dev/urandom of=/dev/mapper/gate bs=4096 count=1 oflag=direct status=none
opening
comes_and_goes
opened 1
dd if=/dev/zero of=/dev/mapper/gate bs=4096 count=1 oflag=direct status=none
dmsetup create second --table "$table2"
dmsetup remove second
dmsetup remove gate
