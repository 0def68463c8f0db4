#!/bin/sh
# mmio_all.sh - a stock kernel drives each kind of virtio device on no bus:
# --virtio mmio.  More devices than pins: they share them.
. "$(dirname "$0")/lib.sh"

need_kernel amd64
need_modules amd64
cat >"$tmp/guest" <<'END'
exec </dev/hvc0 >/dev/hvc0 2>&1
stty -echo -onlcr
modprobe 9pnet_virtio
modprobe 9p
for m in virtio_balloon virtio_net virtio-rng virtio_blk \
	vmw_vsock_virtio_transport; do
	modprobe -q $m
done
echo "T found $(ls -d /sys/bus/platform/devices/LNRO0005:0* | wc -l)"
echo "T pci $(grep -il 0x1af4 /sys/bus/pci/devices/*/vendor | wc -l)"
for d in /sys/bus/virtio/devices/*; do
	echo "T driver $(basename $(readlink $d/driver))"
done
echo "T random $(cat /sys/class/misc/hw_random/rng_current)"
head -c 100000 /dev/hwrng | wc -c | sed 's/^/T bytes /'
ip link set eth0 up
udhcpc -i eth0 -n -q -s /bin/true >/dev/null 2>&1 && echo "T lease yes"
mount -t 9p -o trans=virtio,version=9p2000.L work /mnt 2>/dev/null ||
	{ mkdir -p /mnt; mount -t 9p -o trans=virtio,version=9p2000.L work /mnt; }
# All at once, on pins that they share.
dd if=/dev/vda bs=4k iflag=direct 2>/dev/null | sha256sum >/tmp/a &
dd if=/dev/vdb bs=4k iflag=direct 2>/dev/null | sha256sum >/tmp/b &
cp /mnt/file /tmp/c &
head -c 200000 /dev/hwrng >/mnt/random &
wait
echo "T a $(cut -c 1-64 /tmp/a)"
echo "T b $(cut -c 1-64 /tmp/b)"
echo "T c $(sha256sum </tmp/c | cut -c 1-64)"
echo "T wires $(grep -c 'IO-APIC  *2[0-3]-' /proc/interrupts)"
read -r line
echo "T typed $line"
END
guest_initrd "$tmp/guest"

mkdir "$tmp/share"
head -c 4194304 /dev/urandom >"$tmp/a"
head -c 4194304 /dev/urandom >"$tmp/b"
head -c 3000000 /dev/urandom >"$tmp/share/file"
echo "hello, guest" >"$tmp/typed"
input=$tmp/typed
hostel --kernel "$KERNELS/vmlinuz-amd64" --initrd "$tmp/initrd" --cpus 2 \
	--append "console=hvc0 quiet hostel.modules=virtio_mmio \
hostel.script=test" --virtio mmio --console virtio --net nat \
	--vsock "path=$tmp/vsock" -v "$tmp/share:work" \
	--disk "$tmp/a,format=raw" --disk "$tmp/b,format=raw,packed"
ok "power-off is status 0" is "$status" 0
ok "and no word" test ! -s "$err"
ok "eight are found" is "$(value found)" 8
ok "none on the PCI bus" is "$(value pci)" 0
ok "each has its driver" is "$(value driver | sort | tr '\n' ' ')" \
	"9pnet_virtio virtio_balloon virtio_blk virtio_blk virtio_console \
virtio_net virtio_rng vmw_vsock_virtio_transport "
ok "random numbers come from it" is "$(value random)" virtio_rng.0
ok "as many as are wanted" is "$(value bytes)" 100000
ok "a network" is "$(value lease)" yes
ok "a disk" is "$(value a)" "$(sum <"$tmp/a")"
ok "a second one, with packed queues" is "$(value b)" "$(sum <"$tmp/b")"
ok "a directory" is "$(value c)" "$(sum <"$tmp/share/file")"
ok "to write to, too" is "$(stat -c %s "$tmp/share/random")" 200000
ok "by wires" is "$(value wires)" 4
ok "a console" is "$(value typed)" "hello, guest"

hostel --kernel "$GUESTS/monitor" --virtio isa
ok "no such place" refused "virtio isa"
finish
