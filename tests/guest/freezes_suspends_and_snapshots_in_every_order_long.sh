#!/bin/sh
# Freezes, suspends and snapshots in all orders.
# vm: timeout=600 smp=2 long=yes
FREEZE_ORDERS="fCsru fsCru fsrCu fsCur sCfru sfCur sfCru sCrfu ncfru nfcru fnCru fnCur pcfqu pfcqu fpCqu fpCuq pscqr psqcr spCqr sCprq
    spCrq fpsCqru fspCrqu spfCqru pfscqru psfcuqr"
. "$TESTS/freezes_suspends_and_snapshots_in_every_order.sh"
