#!/bin/sh
# Metadata that cannot be rolled back fails the pool: all I/O is EIO, status Fail, resume works, and only a new pool ends it.
# vm: timeout=200
. "$TESTS/lib.sh"

load_side "$TARGETS"
META=$(disk 8)
DATA=$(disk 32)
POOL=pool
size=$(sectors "$META")
dmsetup create lmeta --table "0 $size linear $META 0"
pool_load pool /dev/mapper/lmeta "$DATA" 128
thin_new t 0 16
model "$W/t" 16
put t "$W/t" 0 1048576 direct
message create_thin 1
now=$(events pool)
reload lmeta "0 $size error"
# It takes a commit to find out.
fails 'Input/output error' dd if=/dev/zero of=/dev/mapper/t bs=64k count=1 seek=100 oflag=direct,dsync conv=notrunc
failed() {
    case $(dmsetup status pool) in *' Fail') ;; *) return 1 ;; esac
}
wait_for 10 failed
at_least events "$(events pool)" $((now + 1))
is_failed() {
    failed || fail "status is $(dmsetup status pool)"
    equals "status of t" "$(dmsetup status t)" "0 32768 $THIN_T Fail"
    fails 'Input/output error' dd if=/dev/mapper/t of=/dev/null bs=4k count=1 iflag=direct
    fails 'Input/output error' dd if=/dev/zero of=/dev/mapper/t bs=4k count=1 oflag=direct conv=notrunc
    fails 'not supported' message create_thin 2
    fails 'Invalid argument' thin u 1 16
}
is_failed
dmsetup suspend pool
dmsetup resume pool
is_failed
# The metadata is there again; the pool does not believe it, and takes no new table.
reload lmeta "0 $size linear $META 0"
dmsetup suspend pool
dmsetup resume pool
is_failed
fails 'Invalid argument' dmsetup reload pool --table "$(dmsetup table pool)"
remove t
dmsetup remove pool
pool_forget pool
# What had been committed is all there.
check_metadata /dev/mapper/lmeta
pool_load pool /dev/mapper/lmeta "$DATA" 128
equals mode "$(pool_field 5)" rw
thin t 0 16
same t "$W/t"
remove t
pool_remove pool
