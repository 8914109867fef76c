#!/bin/sh
# A commit that cannot be written is rolled back: read-only, needs_check, an event; reads go on; after the check all is there.
# vm: timeout=300
. "$TESTS/lib.sh"
. "$TESTS/flaky_lib.sh"

flaky_pool
thin_new t 0 16
model "$W/t" 16
put t "$W/t" 0 2097152 direct
snap s 1 t 0
cp "$W/t" "$W/s"
put t "$W/t" 65536 8192 direct
before=$(events)

breaks fmeta error_writes
# New chunks and broken sharing: what makes them durable fails.
fails 'Input/output error' writes t 8388608 65536
rolled_back "$before"
fails 'Input/output error' writes t 0 4096
same t "$W/t"
same s "$W/s"
# What is mapped and not shared can still be written; it is no fsync that may succeed now.
noise "$W/noise" 4096
for to in /dev/mapper/t "$W/t"; do
    flag=
    if [ "$to" = /dev/mapper/t ]; then flag=,direct; fi
    dd if="$W/noise" of="$to" bs=4096 seek=65536 count=1 oflag="seek_bytes$flag" conv=notrunc status=none
done
same t "$W/t"

works fmeta
fails 'Input/output error' writes t 8388608 65536
remove t s
repaired
thin t 0 16
thin s 1 16
same t "$W/t"
same s "$W/s"
put t "$W/t" 8388608 65536 direct
put s "$W/s" 0 4096 direct
same t "$W/t"
same s "$W/s"
