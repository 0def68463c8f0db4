#!/bin/sh
# rebind.sh [mmio] - a stock kernel takes its drivers off devices that are at
# work, and puts them back: each reset in the middle of something, and the
# device works as before.
. "$(dirname "$0")/lib.sh"

need_kernel amd64
need_modules amd64
cat >"$tmp/guest" <<'END'
modprobe 9pnet_virtio
modprobe 9p
modprobe virtio_balloon
modprobe vmw_vsock_virtio_transport
drivers=/sys/bus/virtio/drivers
mkdir -p /mnt
# rebind DRIVER: all its devices
rebind()
{
	for d in $drivers/$1/virtio*; do
		echo ${d##*/} >$drivers/$1/unbind
		echo ${d##*/} >$drivers/$1/bind
	done
}
sum()
{
	sha256sum | cut -c 1-64
}
disk()
{
	for d in /sys/block/vd?; do
		[ $(cat $d/size) = 16384 ] && echo /dev/${d##*/}
	done
}
for round in 1 2 3; do
	# Reads that are under way fail; the machine lives.
	for n in 1 2 3 4; do
		dd if=$(disk) of=/dev/null bs=64k iflag=direct 2>/dev/null &
	done
	head -c 200000 /dev/hwrng >/dev/null 2>&1 &
	ping -f -c 3000 -w 3 10.0.2.2 >/dev/null 2>&1 &
	rebind virtio_blk 2>/dev/null
	rebind virtio_rng 2>/dev/null
	rebind virtio_net 2>/dev/null
	rebind virtio_balloon 2>/dev/null
	rebind vmw_vsock_virtio_transport 2>/dev/null
	wait
	for try in 1 2 3 4 5 6 7 8 9 10; do
		[ -e "$(disk)" ] && break
		sleep 0.2
	done
	echo "T disk$round $(dd if=$(disk) bs=64k iflag=direct 2>/dev/null | sum)"
	head -c 5000 /dev/hwrng | wc -c | sed "s/^/T random$round /"
	ip link set eth0 up
	ip addr add 10.0.2.15/24 dev eth0 2>/dev/null
	ping -c 1 -w 10 10.0.2.2 >/dev/null && echo "T net$round yes"
	mount -t 9p -o trans=virtio,version=9p2000.L work /mnt
	(dd if=/mnt/file of=/dev/null bs=4k 2>/dev/null; true)
	umount /mnt
	rebind 9pnet_virtio 2>/dev/null
	mount -t 9p -o trans=virtio,version=9p2000.L work /mnt
	echo "T file$round $(sum </mnt/file)"
	umount /mnt
done
dmesg | grep -ci 'BUG:\|Oops\|WARNING:\|hung' | sed 's/^/T bad /'
END
guest_initrd "$tmp/guest"
mkdir "$tmp/share"
head -c 8388608 /dev/urandom >"$tmp/disk"
head -c 1000000 /dev/urandom >"$tmp/share/file"
disk=$(sha256sum <"$tmp/disk" | cut -c 1-64)
file=$(sha256sum <"$tmp/share/file" | cut -c 1-64)
# run HOW OPTION...
run()
{
	how=$1
	keys=$2
	shift 2
	hostel --kernel "$KERNELS/vmlinuz-amd64" --initrd "$tmp/initrd" \
		--cpus 2 --append "console=ttyS0 quiet hostel.script=test \
hostel.modules=virtio_mmio" --disk "$tmp/disk,format=raw,readonly$keys" \
		--net "nat$keys" --vsock "path=$tmp/v$keys" \
		-v "$tmp/share:work" "$@"
	ok "$how: power-off" is "$status" 0
	for n in 1 2 3; do
		ok "$how: a disk, $n" is "$(value disk$n)" "$disk"
		ok "$how: random numbers, $n" is "$(value random$n)" 5000
		ok "$how: a network, $n" is "$(value net$n)" yes
		ok "$how: a directory, $n" is "$(value file$n)" "$file"
	done
	ok "$how: the kernel has no complaint" is "$(value bad)" 0
}
run pci ""
run packed ,packed
run mmio "" --virtio mmio
finish
