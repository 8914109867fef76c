#!/bin/sh
# The soak for five minutes without verification.
# vm: timeout=900 mem=1536 long=yes smp=2
SOAK_SECONDS=300 SOAK_VERIFY=off
# A disk that takes a while, so that reads meet.
DATA_ATTRS="irqmode=2 completion_nsec=5000000"
. "$TESTS/soak.sh"
