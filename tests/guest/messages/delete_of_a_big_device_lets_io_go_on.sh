#!/bin/sh
# While a device with very many mappings is being deleted, reads of mapped data and first writes with their fsyncs are answered on
# other devices.
# vm: mem=1536 smp=2
. "$TESTS/lib.sh"

load_side "$TARGETS"
CHUNKS=${CHUNKS:-200000}
WRITES=4096
restored_pool "$CHUNKS" "$WRITES"
thin r 1 4
message create_thin 2
thin w 2 $((WRITES / 16))
io_goes_on "deletion of $CHUNKS mappings" 2 reads=r writes=w -- dmsetup message pool 0 "delete 0"
equals "chunks used" "$(chunks_used)" $((64 + $(thin_mapped w) / 128))
