#!/bin/sh
# New tables under I/O, each order of suspending with each order of resuming.
# vm: timeout=600 smp=2 long=yes
TABLE_ORDERS=all
. "$TESTS/tables_are_exchanged_in_every_order_under_io.sh"
