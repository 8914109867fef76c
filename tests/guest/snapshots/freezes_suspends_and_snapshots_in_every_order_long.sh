#!/bin/sh
# Freezes, suspends and snapshots in all orders.
# vm: timeout=600 smp=2 long=yes
# The last two thaw by hand what the suspension froze. The kernel counts one freeze too many from then on, and freezes nothing when it is
# suspended next (block/bdev.c, bdev_thaw).
FREEZE_ORDERS="fCsru fsCru fsrCu fsCur sCfru sfCru sCrfu ncfru nfcru fnCru fnCur pcfqu pfcqu fpCqu fpCuq pscqr psqcr spCqr sCprq
    spCrq fpsCqru fspCrqu spfCqru pfscqru psfcuqr sfcur"
. "$TESTS/freezes_suspends_and_snapshots_in_every_order.sh"
