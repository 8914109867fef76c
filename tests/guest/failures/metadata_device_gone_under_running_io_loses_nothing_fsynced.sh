#!/bin/sh
# The metadata device goes under six writers: the pool fails, no hang, no leak; loaded again everything fsynced is there.
# vm: timeout=600 smp=2
. "$TESTS/lib.sh"
. "$TESTS/flaky_lib.sh"

failed_state() {
    dmsetup status pool | grep -q ' Fail$' || fail "the pool's status is $(dmsetup status pool)"
}
mended() {
    dmsetup remove pool
    check_metadata /dev/mapper/fmeta
    thin_check --clear-needs-check-flag /dev/mapper/fmeta >"$W/thin_check" 2>&1
    flaky_load
}
fails_under_io fmeta
