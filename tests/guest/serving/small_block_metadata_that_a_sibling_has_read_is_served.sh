#!/bin/sh
# Metadata in blocks of 1 KiB, four to a page, is not read from the data device by a sibling either.
# vm: timeout=120
MKFS="-b 1024"
# shellcheck source=tests/guest/serving/metadata_that_a_sibling_has_read_is_served.sh
. "$TESTS/metadata_that_a_sibling_has_read_is_served.sh"
