#!/bin/sh
# Metadata that a layer has read is not served in another domain, nor after a layer has moved into it.
# vm: timeout=120
. "$TESTS/lib.sh"
only drr dropin

FILE_MIB=1
TREE=common
image ext4 64 -b 4096
message create_snap 3 1
thin c 3 64
message domain 1 red

# pages_served_to NAME: mounts and lists a snapshot; how many pages of metadata were served meanwhile.
pages_served_to() {
    p_before=$(stat_of meta_served_pages)
    p_dir=$(mounted "$1" ro,noload)
    listing "$p_dir" >"$W/$1"
    equals "files of $1" "$(grep -c a-file-of-common "$W/$1")" 1280
    umount "$p_dir"
    echo $(($(stat_of meta_served_pages) - p_before))
}

drop_caches
few=$(pages_served_to a)
# A file system reads some of its blocks twice.
at_most "pages served to the first reader" "$few" 20
at_least "pages kept" "$(stat_of meta_pages)" 50
at_most "pages served to another domain" "$(pages_served_to b)" 20
at_least "pages served inside of that domain" "$(pages_served_to c)" 50
message domain 1 -
at_most "pages served to who has just come into the domain" "$(pages_served_to a)" 20
