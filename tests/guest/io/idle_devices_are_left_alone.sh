#!/bin/sh
# Sixty active devices that nobody uses: the pool's clock makes no work for them.
# vm: timeout=120 smp=2
. "$TESTS/lib.sh"

TRACE=/sys/kernel/tracing
[ -d "$TRACE/events" ] || mount -t tracefs tracefs "$TRACE" || skip "no tracing"
load_side "$TARGETS"
META=$(disk 16)
DATA=$(disk 16)
export POOL=pool
N=60
awk -v n=$N 'BEGIN {
    print "<superblock uuid=\"\" time=\"0\" transaction=\"0\" version=\"2\" data_block_size=\"128\" nr_data_blocks=\"256\">"
    for (i = 1; i <= n; i++)
        printf "<device dev_id=\"%d\" mapped_blocks=\"0\" transaction=\"0\" creation_time=\"0\" snap_time=\"0\"></device>\n", i
    print "</superblock>"
}' >"$W/pool.xml"
thin_restore -q -i "$W/pool.xml" -o "$META"
pool_load pool "$META" "$DATA" 128
awk -v n=$N -v table="$THIN_T /dev/mapper/pool" 'BEGIN {
    for (i = 1; i <= n; i++)
        printf "%st%d,,,rw,0 2048 %s %d", (i > 1 ? ";" : ""), i, table, i
}' >"$W/tables"
dmsetup create --concise "$(cat "$W/tables")"

sleep 1
echo 1 >"$TRACE/events/workqueue/workqueue_execute_start/enable"
echo >"$TRACE/trace"
sleep 4
echo 0 >"$TRACE/events/workqueue/workqueue_execute_start/enable"
works=$(grep -cE 'drr_work_run|do_worker|do_waker' "$TRACE/trace" || :)
echo "$works works in 4 s"
# The pool's own: its clock, and what that wakes.
at_least "works in 4 seconds" "$works" 2
at_most "works in 4 seconds" "$works" 30
# shellcheck disable=SC2046 # many words
dmsetup remove $(seq "$N" | sed s/^/t/)
