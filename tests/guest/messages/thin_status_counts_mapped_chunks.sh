#!/bin/sh
# Thin status is '0 -' while empty, then mapped sectors and the highest mapped sector.
# vm: timeout=120
. "$TESTS/lib.sh"

status_is() {
    equals "status of $1" "$(dmsetup status "$1")" "0 32768 $THIN_T $2"
}

pool
thin_new t 0 16
status_is t '0 -'
model "$W/t" 16
put t "$W/t" 0 512 direct
status_is t '128 127'
put t "$W/t" 1048576 65536 direct
status_is t '256 2175'
# Within what is mapped, and across a boundary.
put t "$W/t" 4096 8192 direct
status_is t '256 2175'
put t "$W/t" $((2 * 65536 - 512)) 1024 direct
status_is t '512 2175'
# The last chunk of the device.
put t "$W/t" $((16 * 1048576 - 512)) 512 direct
status_is t '640 32767'
snap s 1 t 0
status_is s '640 32767'
put s "$W/t" 0 512 direct
status_is s '640 32767'
equals "chunks used" "$(chunks_used)" 6
