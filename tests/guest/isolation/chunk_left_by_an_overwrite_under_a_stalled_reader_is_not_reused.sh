#!/bin/sh
# A chunk that its last owner overwrites elsewhere and another thin then wants, while a read of it is stalled below: right bytes all round.
# vm: timeout=120 smp=2
# Everything but the way in which the owner lets go is the discard's test.
HOW=overwritten
. "$TESTS/chunk_discarded_under_a_stalled_reader_is_not_reused.sh"
