#!/bin/sh
# Docker 20.10 with its devicemapper driver runs containers of a real image on a pool under dm-thin's names, and gives the space back.
# vm: root=bookworm mem=3072 smp=2 timeout=2400 image=yes solo=yes kernel=stock
#
# Docker knows the drop-in names alone; TARGETS=stock shows the same on dm-thin. No network: the image comes in as a tar.
if [ "${TARGETS:-drr}" = drr ]; then
    TARGETS=dropin
fi
# shellcheck source=tests/guest/lib.sh
. "$TESTS/lib.sh"

CONTAINERS="1 2 3 4"
RUN=$W/docker
# Below $MNT, where the teardown unmounts whatever is left.
STATE=$MNT/docker
SOCKET=unix://$RUN/docker.sock
CONTAINERD=$RUN/containerd.sock

docker() {
    command docker -H "$SOCKET" "$@"
}

# --- what dockerd expects of a host ----------------------------------------------------------------------------------------------

# Docker's libdevmapper waits for udev, whatever dmsetup does in these tests.
udevd() {
    exec env -u DM_DISABLE_UDEV /usr/lib/systemd/systemd-udevd
}

# Not dockerd's own child, whose time limits cannot be set: a container that does not tell its state within 2 s is an error there,
# and four that start on an emulated processor take longer.
containerd_here() {
    cat >"$W/containerd.toml" <<END
version = 2
root = "$STATE/containerd"
state = "$RUN/containerd"
disabled_plugins = ["io.containerd.grpc.v1.cri"]
[grpc]
address = "$CONTAINERD"
[timeouts]
"io.containerd.timeout.shim.cleanup" = "120s"
"io.containerd.timeout.shim.load" = "120s"
"io.containerd.timeout.shim.shutdown" = "120s"
"io.containerd.timeout.task.state" = "120s"
END
    exec containerd --config "$W/containerd.toml" >"$W/containerd.log" 2>&1
}

dockerd_here() {
    # A private dm.fs and size: the default base device of 10 GiB is more than this pool has.
    exec env -u DM_DISABLE_UDEV dockerd -H "$SOCKET" --containerd "$CONTAINERD" \
        --data-root "$STATE" --exec-root "$RUN" --pidfile "$RUN/docker.pid" \
        --bridge=none --iptables=false --ip6tables=false --exec-opt native.cgroupdriver=cgroupfs \
        --storage-driver devicemapper --storage-opt "dm.thinpooldev=/dev/mapper/$POOL" \
        --storage-opt dm.basesize=1G --storage-opt dm.fs=ext4 --storage-opt dm.min_free_space=5% >"$W/dockerd.log" 2>&1
}

docker_answers() {
    kill -0 "$dockerd_pid" 2>/dev/null || {
        cat "$W/dockerd.log"
        fail "dockerd has ended"
    }
    docker version >/dev/null 2>&1
}

# Docker puts a removal or a deletion off while udev still looks at the device, and tries again every 30 s.
thins_are() {
    [ "$(dmsetup ls --target "$THIN_T" | grep -c '(')" = "$1" ]
}

chunks_used_are() {
    [ "$(chunks_used)" = "$1" ]
}

# --- the test --------------------------------------------------------------------------------------------------------------------

# Without zeroing, as docker's own set-up makes its pools.
pool 128 1536 0 skip_block_zeroing
mkdir "$RUN" "$STATE"
mountpoint -q /sys/fs/cgroup || mount -t cgroup2 cgroup2 /sys/fs/cgroup
mount -t tmpfs tmpfs "$STATE"
if ! pidof systemd-udevd >/dev/null; then
    in_background udevd
    wait_for 20 test -S /run/udev/control
fi
in_background containerd_here
containerd_pid=$!
wait_for 60 test -S "$CONTAINERD"
in_background dockerd_here
dockerd_pid=$!
wait_for 120 docker_answers
equals "storage driver" "$(docker info --format '{{.Driver}}')" devicemapper
empty=$(chunks_used)

mkdir "$MNT/image"
mount -o ro "$IMAGE" "$MNT/image"
# By its path: busybox's sh takes busybox's tar for `tar`. In big records, or half of the time goes into changes of process. Without
# the packages of python, half of the image: they would only make the import longer.
/usr/bin/tar -C "$MNT/image" --one-file-system -b 2048 --exclude=./usr/lib/python3 -c . | docker import - demo >/dev/null
want=$(sha256sum <"$MNT/image/usr/bin/python3")
umount "$MNT/image"
imported=$(chunks_used)
# The image's data, over 120 MiB, is there once.
at_least "chunks of the image" $((imported - empty)) 1900

# All four at once, each with a program of the image.
for c in $CONTAINERS; do
    docker run -d --network none --name "c$c" demo sh -c \
        "python3 -c 'import json; print(json.dumps(sum(range($c + 1))))' >/result && echo >/ready; exec sleep infinity" \
        >"$W/run.$c" 2>&1 &
    echo $! | tee -a "$W/pids" >>"$W/starts"
done
while read -r pid; do
    wait "$pid" || {
        cat "$W"/run.*
        fail "a container does not start"
    }
done <"$W/starts"
equals "containers that run" "$(docker ps -q | wc -l)" 4
wait_for 100 thins_are 4

# What one writes, it reads back and the others do not see; each can overwrite the image's files for itself.
for c in $CONTAINERS; do
    noise "$W/noise.$c" 3000000
    docker exec -i "c$c" sh -c 'until test -e /ready; do sleep 0.2; done; cat >/noise && cp /noise /etc/debian_version && sync' \
        <"$W/noise.$c"
done
for c in $CONTAINERS; do
    mine=$(sha256sum <"$W/noise.$c")
    docker exec "c$c" sh -c 'cat /result; for f in /usr/bin/python3 /noise /etc/debian_version; do sha256sum <$f; done' >"$W/has.$c"
    printf '%s\n' $((c * (c + 1) / 2)) "$want" "$mine" "$mine" | cmp - "$W/has.$c" ||
        fail "container $c does not have its own result, the image's python and what it wrote (twice): $(cat "$W/has.$c")"
done

# A stop unmounts the thin and deactivates it, and nothing of it stays in memory: what was written is on the device.
docker stop -t 0 c2 >/dev/null
docker start c2 >/dev/null
equals "/noise of container 2 after a restart" "$(docker exec c2 sh -c 'sha256sum </noise')" "$(sha256sum <"$W/noise.2")"

# A commit is an image, and a container of it has the data.
docker commit c3 committed >/dev/null
equals "/noise in the committed image" "$(docker run --rm --network none committed sh -c 'sha256sum </noise')" \
    "$(sha256sum <"$W/noise.3")"

# Space comes back to the chunk.
docker rm -f c1 c2 c3 c4 >/dev/null
docker rmi committed >/dev/null
wait_for 100 chunks_used_are "$imported"
docker rmi demo >/dev/null
wait_for 100 chunks_used_are "$empty"
kill "$dockerd_pid"
wait "$dockerd_pid" || fail "dockerd did not end well"
kill "$containerd_pid"
wait "$containerd_pid" || fail "containerd did not end well"
for log in dockerd containerd; do
    if grep -E 'level=(error|fatal)' "$W/$log.log"; then
        fail "$log reports errors"
    fi
done
