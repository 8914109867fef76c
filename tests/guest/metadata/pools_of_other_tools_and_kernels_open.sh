#!/bin/sh
# Metadata by older tools, by LVM's repair and by older kernels opens, is used, passes thin_check, and opens on dm-thin again.
# vm: timeout=200
. "$TESTS/lib.sh"
# The images stand in $TESTS/images; the README there says how they were made. In the default run a few, and two devices of each; EVERY=yes for all.
if [ "${EVERY:-no}" = yes ]; then
    images='*' devices=4
else
    images='repaired-by-0.9.0 repaired-by-lvm leaks-freed-by-1.1.0 written-by-6.1' devices=2
fi
# Where dm-thin itself is under test, it stands on both sides.
want=$TARGETS

# unpacked IMAGE: a disk that holds it.
unpacked() {
    c_disk=$(disk 4)
    busybox xzcat "$1" >"$W/image"
    dd if="$W/image" of="$c_disk" bs=64k oflag=direct conv=notrunc status=none
    echo "$c_disk"
}
# opens IMAGE: what the pool says of it must be what thin_dump reads.
opens() {
    META=$(unpacked "$1")
    DATA=$(disk 128)
    # shellcheck disable=SC2034 # for lib.sh
    POOL=pool
    check_metadata "$META"
    # Both devices are larger than what the image knows: the pool grows into them.
    thin_dump "$META" >"$W/before"
    tid=$(sed -n 's/.*<superblock.* transaction="\([0-9]*\)".*/\1/p' "$W/before")
    pool_load pool "$META" "$DATA" 128
    equals "transaction of $1" "$(pool_field 1)" "$tid"
    equals "mode and mark of $1" "$(pool_field 5) $(pool_field 8)" 'rw -'
    equals "metadata blocks of $1" "$(pool_field 2 | cut -d/ -f2)" 1024
}
# uses: writes, breaks sharing, snapshots, deletes, sets the transaction.
uses() {
    ids=$(sed -n 's/.*<device dev_id="\([0-9]*\)".*/\1/p' "$W/before" | head -n "$devices")
    for id in $ids; do
        dmsetup create "t$id" --table "0 32768 $THIN_T /dev/mapper/pool $id"
        noise "$W/n" 65536
        dd if="$W/n" of="/dev/mapper/t$id" bs=64k seek=1 count=1 oflag=direct conv=notrunc,fsync status=none
        dd if=/dev/zero of="/dev/mapper/t$id" bs=4k seek=2000 count=1 oflag=direct conv=notrunc,fsync status=none
        dd if="/dev/mapper/t$id" bs=64k skip=1 count=1 iflag=direct status=none | cmp - "$W/n"
        message create_snap $((id + 1000)) "$id"
        dd if=/dev/zero of="/dev/mapper/t$id" bs=64k seek=1 count=1 oflag=direct conv=notrunc,fsync status=none
        dmsetup create old --table "0 32768 $THIN_T /dev/mapper/pool $((id + 1000))"
        dd if=/dev/mapper/old bs=64k skip=1 count=1 iflag=direct status=none | cmp - "$W/n"
        remove old "t$id"
        message delete $((id + 1000))
    done
    if [ "$(pool_field 4)" != - ]; then
        message release_metadata_snap
    fi
    message set_transaction_id "$tid" $((tid + 1))
}

opened=0
for image in "$TESTS"/images/*.xz; do
    name=$(basename "$image" .xz)
    case " $images " in
    ' * ' | *" $name "*) ;;
    *) continue ;;
    esac
    opened=$((opened + 1))
    echo "$name"
    load_side "$want"
    opens "$image"
    uses
    pool_remove pool
    # And back.
    load_side stock
    pool_load pool "$META" "$DATA" 128
    equals "transaction on dm-thin" "$(pool_field 1)" $((tid + 1))
    message create_thin 2000
    pool_remove pool
    taken_down "$image"
done
at_least "images that were opened" "$opened" 4
