#!/bin/sh
# Each call of the module that allocates fails in its turn: an error or another try, never a wrong byte, a leak or damaged metadata.
# vm: kernel=debug long=yes timeout=3600 mem=1536 smp=4 solo=yes failslab=yes
ROUNDS=0
TRIES=2
. "$TESTS/failing_allocations_lose_nothing.sh"
