#!/bin/sh
# Two snapshots under ext4 and two under XFS, a minute of everything at once with verification on: 0 mismatches, pages served.
# vm: timeout=240 mem=1536 smp=2
. "$TESTS/lib.sh"

seconds=${SOAK_SECONDS:-60}
# khugepaged keeps folios of a file locked while it reads ahead, for which it takes the file's invalidate lock; a truncation has that lock
# and waits for the folios (mm/khugepaged.c, collapse_file, 7.2). Both wait for good then, on any device.
khugepaged_off
pool 128 640
# A library that every container would have, and a place of its own for each.
noise "$W/lib" $((12 * 1048576))
for fs in ext4 xfs; do
    case $fs in
    ext4) id=0 option='-b 4096' mib=96 ;;
    xfs) id=10 option=-f mib=320 ;;
    esac
    thin_new "$fs" "$id" "$mib"
    # shellcheck disable=SC2086 # two words
    mkfs.$fs -q $option "/dev/mapper/$fs"
    dir=$(mounted "$fs")
    cp "$W/lib" "$dir/lib"
    # Read by all, rewritten by some.
    cp "$W/lib" "$dir/shared"
    sync
    umount "$dir"
    snap "$fs-a" $((id + 1)) "$fs" "$id"
    snap "$fs-b" $((id + 2)) "$fs" "$id"
    remove "$fs"
done
# With verification the disk is always read, so that nobody waits for another's read; without it the models tell what was wrong.
drr_message verify "${SOAK_VERIFY:-on}"
# Copies leave under everybody's hands.
drr_message cache eager
drr_message stats reset

end=$(($(cut -d. -f1 /proc/uptime) + seconds))
running() {
    [ "$(cut -d. -f1 /proc/uptime)" -lt "$end" ]
}

# Each worker leaves a file when it fails, whatever the others do.
worker() {
    w_name=$1
    shift
    if ! "$@" >"$W/out.$w_name" 2>&1; then
        touch "$W/failed.$w_name"
    fi
}

# The library, read in several ways, always the same; now and then dropped from this layer's cache alone.
readers() {
    while running; do
        cmp "$1/lib" "$W/lib" || return 1
        dd if="$1/lib" bs=256k iflag=direct status=none | cmp - "$W/lib" || return 1
        xfs_io -r -c "fadvise -d 0 12m" "$1/lib" || return 1
        # Faults through a mapping, at random places.
        xfs_io -r -c "mmap -r 0 12m" -c "mread -f 3m 1m" -c "mread 9m 512k" "$1/lib" >/dev/null || return 1
    done
}

# The same by two siblings at the same moment, from the disk as far as others let them.
together() {
    while running; do
        for t_dir in "$@"; do
            xfs_io -r -c "fadvise -d 0 12m" "$t_dir/lib" || return 1
        done
        t_jobs=
        for t_dir in "$@"; do
            cmp "$t_dir/lib" "$W/lib" &
            t_jobs="$t_jobs $!"
        done
        for t_job in $t_jobs; do
            wait "$t_job" || return 1
        done
    done
}

# Its own copy of what all share, changed under a model: buffered, direct, through mappings, punched, truncated, never what a sibling
# wrote.
writers() {
    w_file=$1/shared w_model=$W/model.$2
    cp "$W/lib" "$w_model"
    w_i=0
    while running; do
        w_i=$((w_i + 1))
        w_at=$((w_i * 7919 % 2900 * 4096)) w_odd=$((w_i * 104729 % 12000000))
        for w_to in "$w_file" "$w_model"; do
            case $((w_i % 6)) in
            0) xfs_io -c "pwrite -q -S $((w_i % 256)) $w_odd 3000" "$w_to" ;;
            1) xfs_io -c "mmap -rw 0 12m" -c "mwrite -S $((w_i % 256)) $w_at 20000" "$w_to" ;;
            2) xfs_io -c "fpunch $w_odd 50000" "$w_to" ;;
            3) xfs_io -c "truncate $((w_odd + 1))" -c "truncate 12m" "$w_to" ;;
            4) xfs_io -c "pwrite -q -S $((w_i % 256)) -b 64k $w_at 64k" -c fsync "$w_to" ;;
            5)
                # The model is on a tmpfs, which may know nothing of O_DIRECT.
                if [ "$w_to" = "$w_file" ]; then w_d=-d; else w_d=; fi
                xfs_io $w_d -c "pwrite -q -S $((w_i % 256)) -b 64k $w_at 64k" "$w_to"
                ;;
            esac
        done
        if [ $((w_i % 5)) = 0 ]; then
            cmp "$w_file" "$w_model" || return 1
        fi
        if [ $((w_i % 16)) = 0 ]; then
            # Back to what the image had: shared chunks of the file system again, in part.
            cp "$1/lib" "$w_file" && cp "$W/lib" "$w_model" || return 1
        fi
    done
    sync
    cmp "$w_file" "$w_model"
}

exerciser() {
    if command -v fsx >/dev/null; then
        w_seed=1
        while running; do
            fsx -q -S "$w_seed" -N 400 -P "$W" "$1/fsx" || return 1
            w_seed=$((w_seed + 1))
        done
    else
        fio --name=x --directory="$1" --size=6m --rw=randrw --bsrange=512-64k --ioengine=mmap --verify=crc32c --verify_backlog=64 \
            --verify_fatal=1 --time_based --runtime=$((end - $(cut -d. -f1 /proc/uptime)))
    fi
}

droppers() {
    while running; do
        sleep 3
        echo 3 >/proc/sys/vm/drop_caches
        sleep 2
        echo 1 >/proc/sys/vm/drop_caches
        sleep 2
        # No page cache by its own lists, so that there are copies which may leave.
        echo 2 >/proc/sys/vm/drop_caches
    done
}

for fs in ext4 xfs; do
    if [ $fs = xfs ]; then options=nouuid; else options=rw; fi
    for side in a b; do
        dir=$(mounted "$fs-$side" "$options")
        in_background worker "read-$fs-$side" readers "$dir"
        jobs="${jobs:-} $!"
        in_background worker "write-$fs-$side" writers "$dir" "$fs-$side"
        jobs="$jobs $!"
    done
    if [ "${SOAK_VERIFY:-on}" = off ]; then
        in_background worker "together-$fs" together "$MNT/$fs-a" "$MNT/$fs-b"
        jobs="$jobs $!"
    fi
    # shellcheck disable=SC2086
    in_background worker "fsx-$fs" exerciser "$dir"
    jobs="$jobs $!"
done
in_background worker stress stress-ng --vm 1 --vm-bytes 96m --vm-method flip --verify --timeout "$seconds" --temp-path "$W"
jobs="$jobs $!"
in_background worker drop droppers
jobs="$jobs $!"
for job in $jobs; do
    wait "$job"
done

for failed in "$W"/failed.*; do
    if [ -e "$failed" ]; then
        name=${failed##*/failed.}
        echo "--- $name:"
        tail -n 20 "$W/out.$name"
        failures="${failures:-} $name"
    fi
done
equals "failed workers" "${failures:-}" ''

# At rest: the library on all four, from the device.
for fs in ext4 xfs; do
    for side in a b; do
        umount "$MNT/$fs-$side"
        if [ $fs = xfs ]; then options=nouuid; else options=rw; fi
        dir=$(mounted "$fs-$side" "$options")
        cmp "$dir/lib" "$W/lib"
        cmp "$dir/shared" "$W/model.$fs-$side"
        umount "$dir"
    done
done
for side in a b; do
    e2fsck -fn "/dev/mapper/ext4-$side" >"$W/fsck" 2>&1 || fail "e2fsck of ext4-$side: $(cat "$W/fsck")"
    xfs_repair -n "/dev/mapper/xfs-$side" >"$W/fsck" 2>&1 || fail "xfs_repair of xfs-$side: $(cat "$W/fsck")"
done
no_mismatches
drr_at_least served_pages 1000
# On the debug kernel a minute is too short for three copies of a page to meet, of which one goes, and for two readers of one.
case $(uname -r) in
*-debug) ;;
*)
    drr_at_least cache_dropped_pages 10
    if [ "${SOAK_VERIFY:-on}" = off ]; then
        drr_at_least followed_pages 16
    fi
    ;;
esac
if has_drr; then
    message stats
fi
