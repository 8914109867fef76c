#!/bin/sh
# Three snapshots read a file in turn: the first from disk, each other one from the one before it, as the heatmap says.
# vm: timeout=120
. "$TESTS/lib.sh"
only drr dropin

image ext4 64 -b 4096
message create_snap 3 0
thin c 3 64
mount_ab ro,noload
C=$(mounted c ro,noload)
drop_caches
message stats reset
equals "the heatmap of nothing" "$(message heatmap)" "source target pages bytes"
for dir in "$A" "$B" "$C"; do
    cmp "$dir/file" "$W/file"
done
message heatmap >"$W/heatmap"
cat "$W/heatmap"

# pages SOURCE TARGET: their pages, 0 without a row; 4 KiB each.
pages() {
    awk -v s="$1" -v t="$2" '$1 == s && $2 == t { if ($4 != $3 * 4096) exit 1; n = $3 } END { print n + 0 }' "$W/heatmap"
}
at_least "pages that the first reads from disk" "$(pages disk 1)" 4096
at_least "pages that the second has from the first" "$(pages 1 2)" 3900
at_least "pages that the third has from the second" "$(pages 2 3)" 3900
at_most "pages that the third has from the first" "$(pages 1 3)" 196
equals "pages that the first has from others" "$(($(pages 2 1) + $(pages 3 1)))" 0
equals "pages of all rows between devices, and served_pages" "$(awk '$1 ~ /^[0-9]/ { n += $3 } END { print n }' "$W/heatmap")" \
    "$(stat_of served_pages)"
message stats reset
equals "the heatmap after a reset" "$(message heatmap)" "source target pages bytes"
# A device that is gone is neither a target nor, from then on, a source.
umount "$C"
remove c
drop_caches
cmp "$B/file" "$W/file"
message heatmap >"$W/heatmap"
equals "pages from a device that is gone" "$(pages 3 2)" 0
