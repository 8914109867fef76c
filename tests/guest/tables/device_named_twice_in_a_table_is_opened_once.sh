#!/bin/sh
# A table that names one device twice, to be read and to be written, is refused or works, and is given back once.
# vm: timeout=120
. "$TESTS/lib.sh"

# dm-thin goes on with a device that was freed: an oops in thin_preresume (7.2).
only drr dropin

# numbers DEVICE: its other name.
numbers() {
    stat -L -c '%Hr:%Lr' "$1"
}

# As many chunks as the metadata disk has room for.
pool 128 8
log_mark
thin_new t 0 4
model "$W/t" 4
put t "$W/t" 0 65536 direct
pool_numbers=$(numbers /dev/mapper/pool)
for names in "/dev/mapper/pool 0 $pool_numbers" "$pool_numbers 0 /dev/mapper/pool"; do
    fails 'Invalid argument' dmsetup create twice --table "0 8192 $THIN_T $names"
done
same t "$W/t"
remove t
pool_remove pool

# Metadata that is to be read, on the disk that data are to be written to. Nothing is: the pool is read_only.
meta_numbers=$(numbers "$META")
before=$(sha256sum <"$META")
for names in "$META $meta_numbers" "$meta_numbers $META"; do
    dmsetup create twice --table "0 16384 $POOL_T $names 128 0 1 read_only"
    equals mode "$(dmsetup status twice | cut -d' ' -f8)" ro
    dmsetup remove twice
done
equals "the metadata" "$(sha256sum <"$META")" "$before"
# device-mapper knows what was given back and was not there, and the other way round; what was freed is KASAN's to see.
if log_since | grep -E 'not in table devices list|dm_put_device call missing'; then
    fail "device-mapper misses a device, or was given one that it had not given out"
fi
