#!/bin/sh
# disk.sh - a stock kernel uses virtio disks: what it writes is in the file,
# what is there it reads, and the disk is what --disk says.
. "$(dirname "$0")/lib.sh"

need_kernel amd64
need_modules amd64
cat >"$tmp/guest" <<'END'
sum()
{
	sha256sum | cut -c 1-64
}
echo "T size $(cat /sys/block/vda/size)"
echo "T queues $(ls /sys/block/vda/mq | wc -l)"
for disk in vda vdb vdc; do
	cut -c 35 /sys/block/$disk/device/features
done >/tmp/packed
echo "T packed $(tr -d '\n' </tmp/packed)"
echo "T serial $(cat /sys/block/vda/serial)"
echo "T cache $(cat /sys/block/vda/queue/write_cache)"
echo "T readonly $(cat /sys/block/vdb/ro)"
echo "T sum $(sum </dev/vdb)"
dd if=/dev/vdb of=/dev/vda bs=64k 2>/dev/null
sync
echo "T direct $(dd if=/dev/vda bs=64k iflag=direct 2>/dev/null | sum)"
blkdiscard -o 1048576 -l 1048576 /dev/vda && echo "T trim done"
dd if=/dev/zero of=/dev/vdb bs=512 count=1 conv=fsync 2>/dev/null ||
	echo "T refused yes"
mkdir -p /mnt
mke2fs /dev/vdc >/dev/null 2>&1
mount -t ext4 /dev/vdc /mnt && cp /bin/busybox /mnt && umount /mnt
mount -t ext4 -o ro /dev/vdc /mnt &&
	cmp /bin/busybox /mnt/busybox && echo "T files same"
umount /mnt
echo "write through" >/sys/block/vda/cache_type
echo "T changed $(cat /sys/block/vda/queue/write_cache)"
dd if=/bin/busybox of=/dev/vda bs=4k count=16 conv=fsync 2>/dev/null
rmmod virtio_blk && modprobe virtio_blk
echo "T again $(dd if=/dev/vda bs=4k count=16 2>/dev/null | sum)"
END
guest_initrd "$tmp/guest"

head -c 8388608 /dev/urandom >"$tmp/b"
want=$(sum <"$tmp/b")

run()
{
	rm -f "$tmp/a" "$tmp/c"
	truncate -s 8M "$tmp/a"
	truncate -s 16M "$tmp/c"
	hostel --kernel "$KERNELS/vmlinuz-amd64" --initrd "$tmp/initrd" \
		--append "console=ttyS0 quiet hostel.script=test" --cpus 2 \
		--disk "$tmp/a,format=raw,discard,cache=$1${3:-}" \
		--disk "$tmp/b,format=raw,readonly${3:-}" \
		--disk "$tmp/c,cache=$1${3:-}"
	ok "power-off is status 0" is "$status" 0
	ok "and no word" test ! -s "$err"
	ok "size" is "$(value size)" 16384
	ok "a queue a processor" is "$(value queues)" 2
	ok "packed queues if asked for" is "$(value packed)" \
		"$([ -n "${3:-}" ] && echo 111 || echo 000)"
	ok "serial" is "$(value serial)" hostel-disk0
	ok "cache of $1" is "$(value cache)" "$2"
	ok "read-only" is "$(value readonly)" 1
	ok "what is read" is "$(value sum)" "$want"
	ok "what comes back" is "$(value direct)" "$want"
	ok "discard" is "$(value trim)" done
	ok "nothing is written to a read-only disk" is "$(value refused)" yes
	ok "it is whole" is "$(sum <"$tmp/b")" "$want"
	ok "a file system" is "$(value files)" same
	ok "the guest may change the mode" is "$(value changed)" \
		"write through"
	ok "after a reset of the device" is "$(value again)" \
		"$(head -c 65536 /bin/busybox | sum)"
	ok "the file holds it" is "$(tail -c +2097153 "$tmp/a" | sum)" \
		"$(tail -c +2097153 "$tmp/b" | sum)"
	ok "the discarded space is back" is "$(tail -c +1048577 "$tmp/a" |
		head -c 1048576 | tr -d '\0' | wc -c)" 0
}
limited()
{
	cat >"$tmp/slow" <<'END'
centis()
{
	tr -d . </proc/uptime | cut -d' ' -f1 | sed 's/^0*\(.\)/\1/'
}
from=$(centis)
dd if=/dev/vda of=/dev/null bs=64k count=32 iflag=direct 2>/dev/null
echo "T bytes $(($(centis) - from))"
from=$(centis)
dd if=/dev/vdb of=/dev/null bs=4k count=60 iflag=direct 2>/dev/null
echo "T ops $(($(centis) - from))"
END
	sh "$top/tools/initramfs.sh" add "$tmp/slow.initrd" "$tmp/initrd" \
		"hostel/test=$tmp/slow" || exit 99
	hostel --kernel "$KERNELS/vmlinuz-amd64" --initrd "$tmp/slow.initrd" \
		--append "console=ttyS0 quiet hostel.script=test" \
		--disk "$tmp/a,format=raw,bps=2M,bps_burst=512K" \
		--disk "$tmp/c,format=raw,iops=50,iops_burst=10"
	# 2 MiB less the burst and one request on credit; 50 operations.
	ok "2 MiB at 2 MiB/s: $(value bytes)" test "$(value bytes)" -ge 68
	ok "60 reads at 50/s: $(value ops)" test "$(value ops)" -ge 95
}
run writeback "write back"
run writethrough "write through"
run none "write back"
run unsafe "write back"
run writeback "write back" ,packed
run none "write back" ,packed
limited
finish
