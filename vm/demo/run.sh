#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# The guest's half of `cargo xtask demo`: containers from one real image, on the stock dm-thin and then on dm-drr.
#
# Each side gets disks of its own with the same emulated latency, a pool, the image on a thin volume, and N snapshots of it. A
# container is a snapshot, mounted, with a program of it (app.py) in chroot and its own mount and pid namespaces. They start one
# after the other and stay up, as a host's containers do. At the end the files of all containers are compared between the sides.
#
#   TESTS   directory with lib.sh                IMAGE    block device with the image's ext4
#   SCRATCH writable directory                   COUNT    containers (4)
#   SIDES   sides to run (stock drr)             MEDIA    hdd, ssd or nvme (ssd)
#
# On standard output, between progress for people, lines for the host: `figure SIDE CASE METRIC VALUE` and
# `differences COUNT` when both sides ran. Exit status 0 says that every container ran and that there was no difference and no verify mismatch.

here=$(cd "$(dirname "$0")" && pwd)
# Set before lib.sh: the sides are switched below, not by TARGETS.
TARGETS=stock
# shellcheck source=tests/guest/lib.sh
. "$TESTS/lib.sh"

COUNT=${COUNT:-4}
SIDES=${SIDES:-stock drr}
MEDIA=${MEDIA:-ssd}
# 64 KiB, what docker and dm-thin's own documentation take.
CHUNK=128
TRACE=/sys/kernel/tracing
OUT=$W/out
mkdir "$OUT"

latency=$(media_attributes "$MEDIA")

# --- figures ---------------------------------------------------------------------------------------------------------------------

# count_reads DEV: from here on the kernel adds up what is read from this disk, by kind of request. The queue event, not the issue
# event: requests merge there, and a merged one has a single kind.
count_reads() {
    mountpoint -q "$TRACE" || mount -t tracefs tracefs "$TRACE"
    hist=$TRACE/events/block/block_bio_queue
    number=$(($(stat -c '0x%t' "$1") << 20 | $(stat -c '0x%T' "$1")))
    trigger="hist:keys=rwbs:vals=nr_sector:size=256 if dev == $number"
    echo "$trigger" >"$hist/trigger"
}

count_no_more() {
    echo "!$trigger" >"$hist/trigger"
}

# bytes_read [M]: of all reads so far; with M only those that the file system marks as its metadata (REQ_META).
bytes_read() {
    awk -v want="${1:-R}" '
        /^{ rwbs: R/ && index($3, want) { for (i = 1; i < NF; i++) if ($i == "nr_sector:") sum += $(i + 1) }
        END { printf "%d\n", sum * 512 }' "$hist/hist"
}

# pool_stat NAME: a figure of dm-drr's `stats`; dm-thin has none of them.
pool_stat() {
    if [ "$SIDE" = stock ]; then
        echo null
    else
        stat_of "$1"
    fi
}

# since NOW BEFORE: the difference, or null where there is no figure.
since() {
    if [ "$1" = null ]; then
        echo null
    else
        echo $(($1 - $2))
    fi
}

# --- one container ---------------------------------------------------------------------------------------------------------------

# The container's side of chroot: namespaces are already its own.
# shellcheck disable=SC2016 # expanded by the inner shell
inside='mount -t proc proc "$1/proc" && mount -t tmpfs tmpfs "$1/run" &&
    exec chroot "$1" /usr/bin/env -i PATH=/usr/bin:/bin LC_ALL=C.UTF-8 OMP_NUM_THREADS=1 PYTHONDONTWRITEBYTECODE=1 \
        PYTHONHASHSEED=0 python3 /srv/app.py'

# expect WORD: the next line that the container says starts with it.
expect() {
    read -r word rest <&3 || fail "container $1 ended before it was $2"
    [ "$word" = "$2" ] || fail "container $1 says '$word $rest' instead of '$2'"
}

start_container() {
    c=$1
    all_before=$(bytes_read) meta_before=$(bytes_read M)
    served_before=$(pool_stat served_pages) rejected_before=$(pool_stat hash_rejects)
    started=$(milliseconds)

    message "create_snap $c 0"
    dmsetup create "c$c" --table "0 $volume $THIN_T /dev/mapper/$POOL $c"
    root=$MNT/c$c
    mkdir -p "$root"
    mount -t ext4 -o noatime,noinit_itable "/dev/mapper/c$c" "$root"
    cp "$here/app.py" "$root/srv/app.py"
    mkfifo "$OUT/says.$c"
    # 3 and 4 stay outside: a container that held the writing end of its own standard input would never see it end.
    unshare --mount --pid --fork --kill-child sh -c "$inside" sh "$root" <"$OUT/hold" >"$OUT/says.$c" 3<&- 4>&- &
    echo $! >>"$W/pids"
    exec 3<"$OUT/says.$c"
    expect "$c" ready
    ready=$(milliseconds)
    expect "$c" "done"
    finished=$(milliseconds)
    exec 3<&-

    all=$(($(bytes_read) - all_before)) meta=$(($(bytes_read M) - meta_before))
    served=$(since "$(pool_stat served_pages)" "$served_before")
    rejected=$(since "$(pool_stat hash_rejects)" "$rejected_before")
    figure "$NAME" "container-$c" start_ms $((ready - started))
    figure "$NAME" "container-$c" finish_ms $((finished - started))
    figure "$NAME" "container-$c" app_bytes "${rest%% *}"
    figure "$NAME" "container-$c" data_bytes $((all - meta))
    figure "$NAME" "container-$c" meta_bytes "$meta"
    figure "$NAME" "container-$c" served_pages "$served"
    figure "$NAME" "container-$c" hash_rejects "$rejected"
    echo "$NAME: container $c up after $((ready - started)) ms, done after $((finished - started)) ms;" \
        "$((all >> 20)) MiB read from the disk"
}

# --- one side --------------------------------------------------------------------------------------------------------------------

# list_files SIDE C: type, mode, owner, size and target of everything, then the checksum of every file.
list_files() {
    (
        cd "$MNT/c$2"
        find . -xdev -printf '%y %m %U:%G %l %p\n' | sort -k5
        find . -xdev -type f -print0 | sort -z | xargs -0 sha256sum
    ) >"$OUT/files.$1.$2"
}

run_side() {
    load_side "$1"
    NAME=$(side_name "$1")
    # shellcheck disable=SC2086 # several attributes
    META=$(disk 64 $latency) DATA=$(disk "$data_mib" $latency)
    POOL=pool
    pool_load "$POOL" "$META" "$DATA" "$CHUNK"
    echo "$NAME: writing the image to a thin volume"
    began=$(milliseconds)
    message "create_thin 0"
    dmsetup create base --table "0 $volume $THIN_T /dev/mapper/$POOL 0"
    dd if="$IMAGE" of=/dev/mapper/base bs=256k iflag=direct oflag=direct conv=sparse,fsync status=none
    dmsetup remove base
    figure "$NAME" image bytes $(($(chunks_used) * CHUNK * 512))
    echo "$NAME: the image is $(($(chunks_used) * CHUNK / 2048)) MiB, written in $(($(milliseconds) - began)) ms"

    drop_caches
    delivered=$(sectors_read "$DATA")
    count_reads "$DATA"
    mkfifo "$OUT/hold"
    exec 4<>"$OUT/hold"
    c=1
    while [ $c -le "$COUNT" ]; do
        start_container $c
        c=$((c + 1))
    done
    # What the disk itself says it delivered must agree with the sum by kind, give or take what is under way.
    counted=$(bytes_read) delivered=$((($(sectors_read "$DATA") - delivered) * 512))
    count_no_more
    at_most "bytes that the disk delivered uncounted" $((delivered - counted)) $((delivered / 100 + 65536))
    at_most "bytes counted that the disk did not deliver" $((counted - delivered)) $((delivered / 100 + 65536))

    if [ "$SIDE" != stock ]; then
        message stats | awk -v n="$NAME" '$2 != 0 { text = text " " $1 "=" $2 } END { print n ": stats:" text }'
    fi

    echo "$NAME: checksums of all files of all containers, while they are up"
    if [ "$SIDE" != stock ]; then
        # Every page served from here on is also read from the disk and compared.
        message verify on
    fi
    began=$(milliseconds)
    c=1
    while [ $c -le "$COUNT" ]; do
        list_files "$NAME" $c &
        sums=$!
        if [ $((c + 1)) -le "$COUNT" ]; then
            list_files "$NAME" $((c + 1))
        fi
        wait "$sums"
        c=$((c + 2))
    done
    echo "$NAME: checksums took $(($(milliseconds) - began)) ms"
    mismatches=$(pool_stat verify_mismatches)
    compared=$(pool_stat verify_pages)
    figure "$NAME" all verify_mismatches "$mismatches"
    figure "$NAME" all verify_pages "$compared"
    if [ "$SIDE" != stock ]; then
        # No mismatch among no pages would prove nothing.
        at_least "served pages compared with the disk" "$compared" 1
        if [ "$mismatches" != 0 ]; then
            bad=1
            echo "$NAME: $mismatches served pages were not what the disk holds"
        fi
    fi

    # The end of standard input ends the programs; each has to say that it was well.
    exec 4>&-
    while read -r pid; do
        wait "$pid" || fail "$NAME: a container's program failed at its end"
    done <"$W/pids"
    : >"$W/pids"
    rm -f "$OUT/hold" "$OUT"/says.*
    (teardown) || fail "$NAME: could not be taken down"
    : >"$W/disks"
    : >"$W/pools"
}

# --- both sides, and the comparison ----------------------------------------------------------------------------------------------

[ -b "${IMAGE:?}" ] || fail "IMAGE=$IMAGE is no block device"
modprobe configfs
mountpoint -q /sys/kernel/config || mount -t configfs configfs /sys/kernel/config
# khugepaged moves a program's pages to huge ones by the clock, while an emulated processor takes some twenty times as long as a
# real one to start a program. Its interval grows by as much, or it comes in the middle of a start, which it does not on real
# hardware.
if [ "${ACCEL:-tcg}" != kvm ]; then
    echo 200000 >/sys/kernel/mm/transparent_hugepage/khugepaged/scan_sleep_millisecs
fi
volume=$(sectors "$IMAGE")
# The image once, and for every container what it writes for itself.
data_mib=$((volume / 2048 + COUNT * 128))
bad=0
for side in $SIDES; do
    run_side "$side"
done

differences=0
c=1
while [ $c -le "$COUNT" ]; do
    for name in dm-thin dm-drr; do
        if [ -f "$OUT/files.$name.$c" ]; then
            figure "$name" "container-$c" files "$(grep -c '^[0-9a-f]\{64\} ' "$OUT/files.$name.$c")"
        fi
    done
    if [ -f "$OUT/files.dm-thin.$c" ] && [ -f "$OUT/files.dm-drr.$c" ]; then
        if ! diff "$OUT/files.dm-thin.$c" "$OUT/files.dm-drr.$c" >"$OUT/diff"; then
            n=$(grep -c '^[<>]' "$OUT/diff")
            differences=$((differences + n))
            echo "container $c: $n lines differ (< dm-thin, > dm-drr), the first of them:"
            grep '^[<>]' "$OUT/diff" | head -n 10
        fi
    fi
    c=$((c + 1))
done
case $SIDES in
*' '*) echo "differences $differences" ;;
esac
[ "$differences" = 0 ] && [ "$bad" = 0 ]
