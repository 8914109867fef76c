#!/bin/sh
# The soak for twenty seconds without verification: what is served, and read by those who wait for each other, is right by itself.
# vm: timeout=240 mem=1536 smp=2
SOAK_SECONDS=${SOAK_SECONDS:-20} SOAK_VERIFY=off
# A disk that takes a while, so that reads meet.
DATA_ATTRS="irqmode=2 completion_nsec=5000000"
. "$TESTS/soak.sh"
