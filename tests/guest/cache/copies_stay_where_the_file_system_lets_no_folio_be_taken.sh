#!/bin/sh
# cache=pressure: FAT does not say that the kernel may take its folios away, so both copies of a file stay, and are served.
# vm: timeout=120 smp=2 kernel=stock
. "$TESTS/lib.sh"

only drr dropin
modprobe -q vfat || skip "the kernel has no FAT"
pool
thin_new origin 0 64
# FAT16 in clusters of 4 KiB, which begin at a multiple of that: no tool for it is in the guest.
python3 - /dev/mapper/origin <<'END'
import struct, sys
boot = bytearray(512)
boot[0:11] = b"\xeb\x3c\x90MSDOS5.0"
struct.pack_into("<HBHBHHBHHHII", boot, 11, 512, 8, 8, 1, 512, 0, 0xF8, 64, 32, 2, 0, 131072)
boot[36], boot[38] = 0x80, 0x29
boot[43:62] = b"NO NAME    FAT16   "
boot[510:512] = b"\x55\xaa"
with open(sys.argv[1], "r+b") as device:
    device.write(boot)
    device.seek(8 * 512)
    device.write(b"\xf8\xff\xff\xff")
END
dir=$(mounted origin)
noise "$W/file" $((16 * 1048576))
cp "$W/file" "$dir/file"
umount "$dir"
snap a 1 origin 0
snap b 2 origin 0
A=$(mounted a ro)
B=$(mounted b ro)
message cache pressure
message stats reset
cmp "$A/file" "$W/file"
cmp "$B/file" "$W/file"
drr_at_least served_pages 4000
echo 2 >/proc/sys/vm/drop_caches
kept() {
    [ "$(stat_of cache_kept_busy)" -ge 64 ]
}
wait_for 10 kept
drr_is cache_dropped_pages 0
at_least "pages of both files in memory" "$(cached "$A/file" "$B/file")" 8000
cmp "$A/file" "$W/file"
drr_is hash_rejects 0
