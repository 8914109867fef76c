#!/bin/sh
# Mappings of writes that nobody flushed are on the metadata device about a second later.
# vm: timeout=120
. "$TESTS/lib.sh"

pool
thin_new t 0 16
noise "$W/new" 262144
before=$(dd if="$META" bs=1M iflag=direct status=none | sha256sum)
# The exclusive close would flush; so the device is held open while its metadata is looked at.
exec 3<>/dev/mapper/t
dd if="$W/new" of=/dev/mapper/t bs=64k oflag=direct conv=notrunc status=none
committed() {
    dd if="$META" of="$W/meta" bs=1M iflag=direct status=none
    thin_dump "$W/meta" >"$W/dump" && grep -q 'dev_id="0" mapped_blocks="4"' "$W/dump"
}
wait_for 4 committed
exec 3>&-
if [ "$before" = "$(sha256sum <"$W/meta")" ]; then
    fail "the metadata device has not changed"
fi
