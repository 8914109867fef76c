#!/bin/sh
# Two snapshots change the same file system's metadata in turn: each sees its own, with every page that is served compared with the disk.
# vm: timeout=180
. "$TESTS/lib.sh"

FILE_MIB=1
TREE=common
image ext4 64 -b 4096
cp_of() {
    echo "$W/list.$1"
}
for n in a b; do
    dir=$(mounted $n)
    listing "$dir" >"$(cp_of $n)"
    umount "$dir"
done
cmp "$(cp_of a)" "$(cp_of b)"
for round in 1 2 3 4; do
    for n in a b; do
        # In every other round as it is used, else compared.
        drr_message verify "$([ $((round % 2)) = 0 ] && echo on || echo off)"
        dir=$(mounted $n)
        listing "$dir" | cmp - "$(cp_of $n)" || fail "round $round: $n has changed"
        mkdir "$dir/only-$n-$round"
        touch "$dir/only-$n-$round/file" "$dir/common.$round/file-of-$n"
        rm "$dir/common.$((round + 8))/a-file-of-common-$round"
        rm -r "$dir/common.$((round + 16))"
        listing "$dir" >"$(cp_of $n)"
        umount "$dir"
        # Readers in between, so that what was written is kept as well.
        if [ "$round" = 2 ]; then
            message create_snap "1$([ $n = a ] && echo 1 || echo 2)" "$([ $n = a ] && echo 1 || echo 2)"
        fi
    done
done
for n in a b; do
    e2fsck -fn "/dev/mapper/$n" >"$W/e2fsck" 2>&1 || fail "e2fsck of $n: $(cat "$W/e2fsck")"
done
drr_at_least meta_served_pages 20
no_mismatches
