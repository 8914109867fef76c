#!/bin/sh
# Writes in place to two thins are held below the pool while a snapshot of each is made: the one whose writes end is complete, the other one
# goes on waiting, cannot be opened, and has no copy of a chunk that misses the write; one of the same origin begins after it.
# vm: timeout=120 smp=2
. "$TESTS/lib.sh"

# dm-thin would have its origins suspended.
only drr dropin
pool
echo +io >/sys/fs/cgroup/cgroup.subtree_control
device=$(cat "/sys/class/block/${DATA##*/}/dev")
# limited NAME LIMIT: what a control group may write.
limited() {
    [ -d "/sys/fs/cgroup/$1" ] || mkdir "/sys/fs/cgroup/$1"
    echo "$device wbps=$2" >"/sys/fs/cgroup/$1/io.max"
}
noise "$W/held" 32768
noise "$W/more" 4096
held_a='' held_b='' snapshot_a='' snapshot_b=''
for name in a b; do
    id=$([ $name = a ] && echo 0 || echo 1)
    thin_new $name "$id" 4
    noise "$W/$name" 2097152
    dd if="$W/$name" of=/dev/mapper/$name bs=1M oflag=direct conv=notrunc,fsync status=none
    truncate -s 4M "$W/$name"
    limited $name 512
    # shellcheck disable=SC2016 # for the other shell
    in_background sh -c 'echo $$ >"/sys/fs/cgroup/$1/cgroup.procs"; exec dd if="$2" of="/dev/mapper/$1" bs=32k oflag=direct conv=notrunc status=none' \
        - $name "$W/held"
    eval "held_$name=\$!"
done
for name in a b; do
    wait_for 20 in_flight $name
done
for name in a b; do
    id=$([ $name = a ] && echo 0 || echo 1)
    in_background dmsetup message pool 0 "create_snap $((id + 10)) $id"
    eval "snapshot_$name=\$!"
    wait_for 20 in_ioctl $!
done
sleep 0.2
# A copy of the chunk that the held write goes to.
in_background dd if="$W/more" of=/dev/mapper/b bs=4k seek=8 oflag=direct conv=notrunc status=none
copied=$!
sleep 0.5
for name in a b; do
    eval "still_going \$held_$name 'the held write of $name'"
    eval "still_going \$snapshot_$name 'the snapshot of $name'"
done
fails 'busy' thin sa 10 4
fails 'busy' thin sb 11 4

limited a max
wait "$held_a" || fail "the write of a failed"
wait "$snapshot_a" || fail "the snapshot of a failed"
thin sa 10 4
sleep 0.5
# Another one of a: that of b has nothing to do with it.
answered message create_snap 12 0
still_going "$held_b" "the held write of b"
still_going "$snapshot_b" "the snapshot of b"
still_going "$copied" "the write that needs a copy of the held write's chunk"
fails 'busy' thin sb 11 4
# And another one of b comes after the first.
in_background message create_snap 13 1
again=$!
sleep 0.5
still_going "$again" "the second snapshot of b"

limited b max
for job in "$held_b" "$snapshot_b" "$copied" "$again"; do
    wait "$job" || fail "a write or a snapshot failed"
done
thin sb 11 4
for name in a b; do
    dd if="$W/held" of="$W/$name" bs=32k conv=notrunc status=none
    same s$name "$W/$name"
done
same a "$W/a"
dd if="$W/more" of="$W/b" bs=4k seek=8 conv=notrunc status=none
same b "$W/b"
cgroup_remove /sys/fs/cgroup/a
cgroup_remove /sys/fs/cgroup/b
remove a b sa sb
pool_remove pool
