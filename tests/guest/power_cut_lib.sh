# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
#
# power_cut WORKLOAD DATA_MIB [option…]: disks, and power_cut.py on them, which says what it does. Sourced after lib.sh.
# vm: smp=2

power_cut() {
    load_side "$TARGETS"
    modprobe -a dm-log-writes dm-snapshot
    k_mib=$(($2 + 4))
    k_disk=$(disk "$k_mib" discard=1)
    k_replay=$(disk "$k_mib" discard=1)
    k_log=$(disk 1024)
    k_cow=$(disk 256)
    k_workload=$1
    shift 2
    if [ "$SIDE" = stock ]; then
        set -- "$@" --stock
    fi
    python3 "$TESTS/power_cut.py" "$k_workload" --disk "$k_disk" --replay "$k_replay" --log "$k_log" --cow "$k_cow" \
        --pool-target "$POOL_T" --thin-target "$THIN_T" --mnt "$MNT" "$@"
}
