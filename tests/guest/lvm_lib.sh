# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
# LVM on two disks of its own, $a and $b. Sourced after lib.sh.
#
# LVM knows dm-thin's names alone; TARGETS=stock shows the same on dm-thin.
if [ "${TARGETS:-drr}" = drr ]; then
    TARGETS=dropin
fi

# lvm COMMAND ARGUMENT…: must succeed without a complaint; its output is in $W/lvm.
# No udevd here: LVM makes its nodes itself. Devices of null_blk are unknown to it, and no list of devices is kept.
lvm() {
    lv_command=$1
    shift
    # shellcheck disable=SC2154 # the test's disks
    LVM_SUPPRESS_FD_WARNINGS=1 command lvm "$lv_command" --config "devices { types=[\"nullb\",16] use_devicesfile=0 scan=[\"/dev\"]
        filter=[\"a|^$a\$|\",\"a|^$b\$|\",\"r|.*|\"] external_device_info_source=\"none\" obtain_device_list_from_udev=0 }
        global { use_lvmpolld=0 } activation { udev_sync=0 udev_rules=0 verify_udev_operations=1 monitoring=0 } backup { backup=0 archive=0 }" \
        "$@" >"$W/lvm" 2>&1 || {
        cat "$W/lvm"
        fail "lvm $lv_command $*"
    }
    if grep -iE 'error|fail|corrupt|needs.check' "$W/lvm"; then
        fail "lvm $lv_command $* complains"
    fi
}

# field NAME FIELD: of a pool's status in LVM's hands.
field() {
    dmsetup status "$1" | awk -v n="$2" '{ print $(n + 3) }'
}
