#!/bin/sh
# A page that a layer has in memory is served inside of its domain only; snapshots begin in their origin's; bad tags are refused.
. "$TESTS/lib.sh"

only drr dropin
export FILE_MIB=4
image ext4 64 -b 4096
message domain 1 red
# A snapshot of a device in a domain is in it, too.
message create_snap 3 1
thin c 3 64
for words in 'domain 1' 'domain 1 red blue' 'domain x red' 'domain 16777216 red' 'domain 1 012345678901234567890123456789012'; do
    # shellcheck disable=SC2086 # words
    fails 'Invalid argument' message $words
done
fails 'No data available' message domain 9 red
message layers >"$W/layers"
for line in '1 .* red' '2 .* -' '3 .* red'; do
    grep -qE "^ *$line\$" "$W/layers" || fail "layers does not have '$line': $(cat "$W/layers")"
done

mount_ab ro,noload
C=$(mounted c ro,noload)
# served_to DIR: pages that a reading of the file takes from siblings; the bytes are right.
served_to() {
    message stats reset
    cmp "$1/file" "$W/file"
    stat_of served_pages
}
drop_caches
at_most "pages served to the first reader" "$(served_to "$A")" 0
at_most "pages served to another domain" "$(served_to "$B")" 0
at_least "pages served inside of the domain" "$(served_to "$C")" 970

# A layer that moves takes none of its pages along, and leaves none behind.
message domain 1 -
umount "$C"
C=$(mounted c ro,noload)
drop_caches
cmp "$A/file" "$W/file"
at_most "pages served from a layer that has left" "$(served_to "$C")" 0
at_least "pages served in the domain that it has moved to" "$(served_to "$B")" 970
