#!/bin/sh
# Crossing the low water mark sends one dm event; so does running out of space.
# vm: timeout=120
. "$TESTS/lib.sh"

events() {
    dmsetup info -c --noheadings -o events pool
}

pool 128 16 64 error_if_no_space
thin_new t 0 32
model "$W/t" 32
before=$(events)
put t "$W/t" 0 8388608 direct
equals "events with 128 of 256 chunks free" "$(events)" "$before"
put t "$W/t" 8388608 4259840 direct
passed() {
    [ "$(events)" -gt "$before" ]
}
wait_for 3 passed
now=$(events)
put t "$W/t" 13631488 1048576 direct
equals "events below the mark" "$(events)" "$now"
before=$now
fails 'No space left|Input/output error' dd if=/dev/zero of=/dev/mapper/t bs=1M count=8 seek=16 oflag=direct conv=notrunc
wait_for 3 passed
