#!/bin/sh
# With cache=eager the copies that leave are those that are used less: one that is read again and again stays, and one that is mapped.
# vm: timeout=120 smp=2
. "$TESTS/lib.sh"

only drr dropin
khugepaged_off
image ext4 64 -b 4096
message create_snap 3 1
message create_snap 4 1
thin c 3 64
thin d 4 64
mount_ab ro,noload
C=$(mounted c ro,noload)
D=$(mounted d ro,noload)
pages=4096
message cache eager

# Neither the newest nor the oldest, but read again and again.
cmp "$A/file" "$W/file"
for _ in 1 2 3; do
    cmp "$B/file" "$W/file"
done
cmp "$C/file" "$W/file"
cmp "$D/file" "$W/file"
wait_for 10 cached_at_most $((pages * 22 / 10)) "$A/file" "$B/file" "$C/file" "$D/file"
at_least "cached pages of the busy sibling" "$(cached "$B/file")" $((pages * 9 / 10))

# Mapped: by somebody who sleeps on it.
drop_caches
cmp "$A/file" "$W/file"
python3 - "$B/file" "$W/mapped" <<'END' &
import mmap, sys, time
with open(sys.argv[1], "rb") as f:
    m = mmap.mmap(f.fileno(), 0, prot=mmap.PROT_READ)
    sum(m[i] for i in range(0, len(m), 4096))
    open(sys.argv[2], "w").close()
    time.sleep(1000)
END
sleeper=$!
echo "$sleeper" >>"$W/pids"
is_mapped() { [ -e "$W/mapped" ]; }
wait_for 20 is_mapped
cmp "$C/file" "$W/file"
cmp "$D/file" "$W/file"
wait_for 10 cached_at_most $((pages * 22 / 10)) "$A/file" "$B/file" "$C/file" "$D/file"
at_least "cached pages of the sibling that has it mapped" "$(cached "$B/file")" $((pages * 9 / 10))
kill "$sleeper"
