#!/bin/sh
# save_work.sh MODE - a guest that reads and writes two disks and pings is saved
# at work and goes on (on ENGINES, in turn, MOVES times).
#
# virtio: a disk on PCI and one on no bus, with packed queues, and virtio-net.
# sata: SATA disks with many commands queued, and an e1000.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/running.sh"

ENGINES=${ENGINES:-translator interpreter}
MOVES=${MOVES:-4}
need_kernel amd64
need_modules amd64
case ${1:-} in
virtio)
	disks="vda vdb" modules=virtio_mmio,virtio_net
	a=packed b=bus=mmio,packed nic=virtio
	;;
sata)
	disks="sda sdb" modules=sd_mod,e1000
	a=bus=ahci b=bus=ahci nic=e1000
	;;
*)
	echo "usage: save_work.sh virtio|sata"
	exit 99
	;;
esac
sed "s/DISKS/$disks/" >"$tmp/guest" <<'END'
ifconfig eth0 10.0.2.15 up
for disk in DISKS; do
	(
		n=0
		while [ $n -lt 1000 ]; do
			n=$((n + 1))
			head -c 262144 /dev/urandom >/tmp/a.$disk
			dd if=/tmp/a.$disk of=/dev/$disk bs=4k 2>/dev/null
			blockdev --flushbufs /dev/$disk
			dd if=/dev/$disk of=/tmp/b.$disk bs=4k count=64 \
				2>/dev/null
			cmp -s /tmp/a.$disk /tmp/b.$disk || echo "WRONG $disk"
			echo "turn $n done"
		done
	) &
done
n=0
while [ $n -lt 1000 ]; do
	n=$((n + 1))
	ping -q -c 20 -i 0.01 -s 1400 -W 2 10.0.2.2 >/dev/null &&
		echo "ping $n"
done
END
guest_initrd "$tmp/guest"
truncate -s 2M "$tmp/a" "$tmp/b"

next_engine
start --kernel "$KERNELS/vmlinuz-amd64" --memory 192M --cpus 2 \
	--initrd "$tmp/initrd" --append "console=ttyS0 quiet \
hostel.modules=$modules hostel.script=test" --net "nat,nic=$nic" \
	--disk "$tmp/a,format=raw,$a" --disk "$tmp/b,format=raw,$b"
ok "it writes and reads" until_ turned 5
for i in $(seq "$MOVES"); do
	go_on 5
	ok "it pings" until_ said "ping [0-9]"
	ok "no command failed, nothing odd in the log" \
		test -z "$(grep -E 'failed|frozen|WARNING|BUG:|Oops' "$out")"
done
kill "$pid"
end
finish
