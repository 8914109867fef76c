#!/bin/sh
# Freeze, suspend, resume and thaw in several orders, with a snapshot in between: nobody is stuck, frozen states are clean, files are whole.
# vm: smp=2
. "$TESTS/lib.sh"

# f: freeze, u: thaw; s, n: suspend the thin with and without its file system, r: resume it; p: suspend the pool, q: resume it; c: a
# snapshot, C: one that must be clean, because the file system has been frozen.
orders=${FREEZE_ORDERS:-fCsru sCfru ncfru pscqr spfCqru}
pool 128 96
thin_new t 0 24
mkfs.ext4 -q -b 4096 /dev/mapper/t
dir=$(mounted t)
noise "$W/file" 40000
cp "$W/file" "$dir/whole.0"
sync
# A writer that never rests; each file is whole once it has its name. Ended by the name of the file.
writes() {
    w_n=0
    while [ -e "$W/going" ]; do
        w_n=$((w_n + 1))
        cp "$W/file" "$dir/next" && xfs_io -c fsync "$dir/next" && mv "$dir/next" "$dir/whole.$((w_n % 4))" || return 1
        : >"$W/wrote"
    done
    echo "$w_n" >"$W/written"
}
# one_more: the writer has ended a file, which it cannot while anything is frozen or suspended.
one_more() {
    rm -f "$W/wrote"
    wait_for 60 test -e "$W/wrote"
}
step() {
    case $1 in
    f) fsfreeze -f "$dir" ;;
    u) fsfreeze -u "$dir" ;;
    s) dmsetup suspend t ;;
    n) dmsetup suspend --nolockfs --noflush t ;;
    r) dmsetup resume t ;;
    p) dmsetup suspend pool ;;
    q) dmsetup resume pool ;;
    c | C) message create_snap "$id" 0 ;;
    esac
}
# all_done: whoever suspended something after it had been resumed, because he had to wait, is put right.
all_done() {
    dmsetup resume t
    dmsetup resume pool
    for d_job in $jobs; do
        if kill -0 "$d_job" 2>/dev/null; then
            return 1
        fi
    done
}
touch "$W/going"
in_background writes
writer=$!
id=0
clean=
for order in $orders; do
    one_more
    id=$((id + 1))
    jobs=
    first=
    rest=$order
    while [ -n "$rest" ]; do
        letter=${rest%"${rest#?}"}
        rest=${rest#?}
        # Whatever froze the file system came first.
        if [ "$letter" = C ]; then
            wait "$first" || fail "no freeze at the beginning of $order"
        fi
        # In the background, because some wait for what comes later; each gets the time to come that far.
        in_background step "$letter" 2>>"$W/refused"
        jobs="$jobs $!"
        first=${first:-$!}
        for _ in 1 2 3 4 5; do
            if ! kill -0 $! 2>/dev/null; then
                break
            fi
            sleep 0.1
        done
        if [ "$letter" = C ]; then
            wait $! || fail "no snapshot in the middle of $order"
            clean="$clean $id"
        fi
    done
    wait_for 60 all_done
    # A freeze that came late has nobody to thaw it yet.
    all_done
    fsfreeze -u "$dir" 2>/dev/null || :
    echo "$order: $(wc -l <"$W/refused") refused so far"
done
one_more
rm "$W/going"
wait "$writer" || fail "the writer failed"
at_least "files written meanwhile" "$(cat "$W/written")" $((id + 1))
# Only what froze twice was refused.
if grep -vE 'Device or resource busy|Invalid argument' "$W/refused"; then
    fail "refused for another reason"
fi
umount "$dir"
e2fsck -fn /dev/mapper/t >"$W/e2fsck" 2>&1 || fail "e2fsck: $(cat "$W/e2fsck")"
last=$id
for id in $(seq 1 "$last"); do
    thin "s$id" "$id" 24
    case " $clean " in
    *" $id "*)
        if dumpe2fs -h "/dev/mapper/s$id" 2>/dev/null | grep -q needs_recovery; then
            fail "snapshot $id is not clean"
        fi
        ;;
    esac
    at=$(mounted "s$id")
    for file in "$at"/whole.*; do
        cmp "$file" "$W/file"
    done
    umount "$at"
done
