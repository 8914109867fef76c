#!/bin/sh
# The low-water event comes once, and once more for the first allocation after a resume.
# vm: timeout=200
. "$TESTS/lib.sh"

pool 128 16 64
thin_new t 0 16
# allocates MIB EVENTS: the next MIB leave this many events in all since the start.
at=0
start=$(events pool)
allocates() {
    dd if=/dev/zero of=/dev/mapper/t bs=1M count="$1" seek="$at" oflag=direct conv=notrunc status=none
    at=$((at + $1))
    equals "events after $at MiB" "$(($(events pool) - start))" "$2"
}
allocates 11 0
allocates 2 1
allocates 1 1
dmsetup suspend pool
dmsetup resume pool
equals "events after a resume alone" "$(($(events pool) - start))" 1
allocates 1 2
