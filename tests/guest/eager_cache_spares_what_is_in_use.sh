#!/bin/sh
# With cache=eager the copy that leaves is the one that is used less: one that is read again and again stays, and one that is mapped.
# vm: timeout=120
. "$TESTS/lib.sh"

only drr dropin
image ext4 64 -b 4096
mount_ab ro,noload
pages=4096
message cache eager

# Read again and again.
for _ in 1 2 3; do
    cmp "$A/file" "$W/file"
done
cmp "$B/file" "$W/file"
wait_for 10 cached_at_most $((pages / 10)) "$B/file"
at_least "cached pages of the busy sibling" "$(cached "$A/file")" $((pages * 9 / 10))

# Mapped: by somebody who sleeps on it.
drop_caches
python3 - "$A/file" "$W/mapped" <<'END' &
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
cmp "$B/file" "$W/file"
sleep 1
at_least "cached pages of the sibling that has it mapped" "$(cached "$A/file")" $((pages * 9 / 10))
kill "$sleeper"
