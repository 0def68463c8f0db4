#!/bin/sh
# mmio.sh - a stock kernel finds virtio disks that are on no bus, and uses
# them, with split and with packed queues.
. "$(dirname "$0")/lib.sh"

need_kernel amd64
need_modules amd64
cat >"$tmp/guest" <<'END'
sum()
{
	sha256sum | cut -c 1-64
}
# Which is which, their sizes tell.
disk()
{
	grep -lx "$1" /sys/block/vd?/size | sed 's,/sys/block/\(vd.\)/size,\1,'
}
a=$(disk 32768)
b=$(disk 16384)
echo "T found $(ls -d /sys/bus/platform/devices/LNRO0005:0* | wc -l)"
echo "T packed $(cut -c 35 /sys/block/$a/device/features)"
echo "T sum $(sum </dev/$b)"
dd if=/dev/$b of=/dev/$a bs=64k conv=fsync 2>/dev/null
echo "T direct $(dd if=/dev/$a bs=64k count=128 iflag=direct 2>/dev/null |
	sum)"
rmmod virtio_blk && modprobe virtio_blk
echo "T again $(sum </dev/$(disk 16384))"
grep -q "IO-APIC  *2[01]-.*virtio" /proc/interrupts && echo "T wire yes"
END
guest_initrd "$tmp/guest"

head -c 8388608 /dev/urandom >"$tmp/b"
want=$(sum <"$tmp/b")
run()
{
	rm -f "$tmp/a"
	truncate -s 16M "$tmp/a"
	hostel --kernel "$KERNELS/vmlinuz-amd64" --initrd "$tmp/initrd" \
		--append "console=ttyS0 quiet hostel.modules=virtio_mmio \
hostel.script=test" --cpus 2 \
		--disk "$tmp/a,format=raw,bus=mmio$1" \
		--disk "$tmp/b,format=raw,bus=mmio,readonly"
	ok "power-off is status 0" is "$status" 0
	ok "and no word" test ! -s "$err"
	ok "two are found" is "$(value found)" 2
	ok "packed queues if asked for" is "$(value packed)" "$2"
	ok "what is read" is "$(value sum)" "$want"
	ok "what comes back" is "$(value direct)" "$want"
	ok "after a reset of the device" is "$(value again)" "$want"
	ok "by a wire" is "$(value wire)" yes
	ok "the file holds it" is "$(head -c 8388608 "$tmp/a" | sum)" "$want"
}
run "" 0
run ,packed 1
set --
for i in $(seq 17); do
	set -- "$@" --disk "$tmp/a,format=raw,readonly,bus=mmio"
done
hostel --kernel "$KERNELS/vmlinuz-amd64" "$@"
ok "there is room for sixteen" refused "at most 16 virtio devices"
finish
