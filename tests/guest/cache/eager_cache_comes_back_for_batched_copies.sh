#!/bin/sh
# With cache=eager a copy that another processor still holds in its batch for the LRU lists leaves later: with the next round after the batch
# was emptied.
# vm: smp=2
. "$TESTS/lib.sh"

only drr dropin
khugepaged_off
# All of this on the first processor, the module's works too.
taskset -p 1 $$ >/dev/null
cpumask=/sys/devices/virtual/workqueue/cpumask
mask=$(cat "$cpumask")
echo 1 >"$cpumask"

FILE_MIB=4
image ext4 64 -b 4096
thin origin 0 64
dir=$(mounted origin)
for n in 0 1 2 3 4 5 6 7; do
    head -c 4096 /dev/urandom >"$dir/small$n"
done
umount "$dir"
remove a b
snap a 3 origin 0
snap b 4 origin 0
snap c 5 origin 0
A=$(mounted a ro,noload)
B=$(mounted b ro,noload)
C=$(mounted c ro,noload)
message cache eager

cat "$A"/small* >"$W/want"
# What is read again and again does not leave in their place.
cat "$A"/small* "$A"/small* "$A"/small* >/dev/null
# The second processor gets eight small files of B, and then nothing more: they stay in its batch.
cat >"$W/reader.py" <<'END'
import os, sys, time
os.sched_setaffinity(0, {1})
files = [os.open("%s/small%d" % (sys.argv[1], n), os.O_RDONLY) for n in range(8)]
got = [bytearray(b"?" * 4096) for _ in files]
# Nothing more than the pages that are read goes to the batch from here on: it would empty it.
for fd, here in zip(files, got):
    os.preadv(fd, [here], 0)
os.mknod(sys.argv[2])
time.sleep(1000)
END
in_background python3 "$W/reader.py" "$B" "$W/read"
has_read() { [ -e "$W/read" ]; }
wait_for 20 has_read
cat "$C"/small* | cmp - "$W/want"
was_kept() { [ "$(stat_of cache_kept_busy)" -ge 1 ]; }
wait_for 10 was_kept

# A program that starts there fills the batch with pages of its own, which empties it; what others read begins a round.
taskset -c 1 python3 -c pass
for file in "$A/file" "$B/file" "$C/file"; do
    cmp "$file" "$W/file"
done
wait_for 10 cached_at_most 0 "$B"/small*
cat "$B"/small* | cmp - "$W/want"
echo "$mask" >"$cpumask"
