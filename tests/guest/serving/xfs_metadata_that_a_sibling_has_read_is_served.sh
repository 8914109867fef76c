#!/bin/sh
# The metadata of an XFS, which lives in buffers outside of any page cache, is not read from the data device by a sibling either.
# vm: timeout=120
FS=xfs
FS_MIB=320
MKFS="-m reflink=1"
OPTIONS=ro,norecovery
DATA_MIB=400
# shellcheck source=tests/guest/serving/metadata_that_a_sibling_has_read_is_served.sh
. "$TESTS/metadata_that_a_sibling_has_read_is_served.sh"
