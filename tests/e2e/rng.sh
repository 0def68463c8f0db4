#!/bin/sh
# rng.sh - a stock kernel finds the virtio random number generator over PCI,
# reads from it by MSI-X and by INTx, and two runs do not give the same.
. "$(dirname "$0")/lib.sh"

need_kernel amd64
need_modules amd64
cat >"$tmp/guest" <<'END'
echo "T rng" $(cat /sys/class/misc/hw_random/rng_available)
echo "T msi $(grep -c 'MSI.*virtio0' /proc/interrupts)"
echo "T bytes $(head -c 100000 /dev/hwrng | wc -c)"
echo "T first $(head -c 16 /dev/hwrng | xxd -p)"
# As often as it takes to wrap the ring.
i=0
while [ $i -lt 300 ]; do
	i=$((i + 1))
	head -c 3 /dev/hwrng >/dev/null || echo "T failed $i"
done
rmmod virtio_rng && modprobe virtio_rng
echo "T again $(head -c 1000 /dev/hwrng | wc -c)"
END
guest_initrd "$tmp/guest"

run()
{
	hostel --kernel "$KERNELS/vmlinuz-amd64" --initrd "$tmp/initrd" \
		--append "console=ttyS0 quiet hostel.script=test $1"
	ok "power-off is status 0" is "$status" 0
	ok "and no word" test ! -s "$err"
	ok "it is found" is "$(value rng)" virtio_rng.0
	ok "by messages: $2" is "$(value msi)" "$2"
	ok "bytes" is "$(value bytes)" 100000
	ok "no read fails" is "$(value failed)" ""
	ok "the driver comes back" is "$(value again)" 1000
}
run "" 2
first=$(value first)
run pci=nomsi 0
ok "other bytes" test "$first" != "$(value first)"
ok "some bytes" test -n "$first"
finish
