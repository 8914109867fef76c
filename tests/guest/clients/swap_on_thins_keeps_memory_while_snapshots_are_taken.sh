#!/bin/sh
# Memory that is swapped to a thin, and to a file on one, comes back as it was while snapshots of both are taken and deleted.
# vm: smp=2
. "$TESTS/lib.sh"

# Little more room than what is swapped takes: places that become free lie among others, and a chunk is never written as a whole.
mib=12
pool
thin_new s 0 8
thin_new f 1 24
mkfs.ext4 -q -b 4096 /dev/mapper/f
dir=$(mounted f)
noise "$W/file" 1048576
cp "$W/file" "$dir/file"
dd if=/dev/zero of="$dir/swap" bs=1M count=7 conv=fsync status=none
chmod 600 "$dir/swap"
sync
mkswap -q /dev/mapper/s
mkswap -q "$dir/swap"
# Both in turn.
swapon -p 5 /dev/mapper/s
swapon -p 5 "$dir/swap"
swapped() {
    awk -v n="$1" '$1 == n { print $2 }' /proc/vmstat
}
out=$(swapped pswpout) in=$(swapped pswpin)

cat >"$W/swapped.py" <<'END'
import errno, mmap, os, random, struct, sys, time

MADV_PAGEOUT = 21
pages, going = int(sys.argv[1]) * 256, sys.argv[2]
reclaim = os.open(sys.argv[3] + "/memory.reclaim", os.O_WRONLY)
with open(sys.argv[3] + "/cgroup.procs", "w") as group:
    group.write("0")
memory = mmap.mmap(-1, pages * 4096, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)

def page(i, turn):
    return struct.pack("<QQ", i, turn) * 256

# Every page with its number. A third of them, chosen by chance, is looked at and written anew in each round; the others stay where they are.
random.seed(1)
turns = [0] * pages
for i in range(pages):
    memory[i * 4096:(i + 1) * 4096] = page(i, 0)
n = 0
while n < 6 or os.path.exists(going):
    n += 1
    # Written, and then let go by whoever reclaims.
    memory.madvise(MADV_PAGEOUT)
    time.sleep(0.1)
    try:
        os.write(reclaim, b"16M")
    except OSError as e:
        # There is not as much.
        if e.errno != errno.EAGAIN:
            raise
    for i in random.sample(range(pages), pages // 3):
        if memory[i * 4096:(i + 1) * 4096] != page(i, turns[i]):
            sys.exit("page %d is not what it was before round %d" % (i, n))
        turns[i] = n
        memory[i * 4096:(i + 1) * 4096] = page(i, n)
for i in range(pages):
    if memory[i * 4096:(i + 1) * 4096] != page(i, turns[i]):
        sys.exit("page %d is not what it was at the end" % i)
print(n, "rounds")
END
group=/sys/fs/cgroup/swapping
echo +memory >/sys/fs/cgroup/cgroup.subtree_control
mkdir "$group"
touch "$W/going"
in_background python3 "$W/swapped.py" "$mib" "$W/going" "$group"
user=$!
id=10
while [ "$id" -lt 22 ]; do
    id=$((id + 2))
    dmsetup suspend s
    message create_snap $((id - 1)) 0
    dmsetup resume s
    message create_snap "$id" 1
    if [ "$id" -gt 12 ]; then
        message delete $((id - 3))
        message delete $((id - 2))
    fi
done
rm "$W/going"
wait "$user" || fail "memory came back as something else"
at_least "pages swapped out" $(($(swapped pswpout) - out)) $((mib * 256))
at_least "pages swapped in" $(($(swapped pswpin) - in)) $((mib * 256))
cgroup_remove "$group"
swapoff /dev/mapper/s "$dir/swap"
cmp "$dir/file" "$W/file"
umount "$dir"
# The file system as it was when the last snapshot was taken.
thin last "$id" 24
last=$(mounted last)
cmp "$last/file" "$W/file"
umount "$last"
