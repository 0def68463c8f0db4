#!/bin/sh
# mmio_save.sh - a guest that reads and writes disks over MMIO and PCI, with
# packed queues, is saved and goes on with them on another engine.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/running.sh"

need_kernel amd64
need_modules amd64
cat >"$tmp/guest" <<'END'
n=0
while [ $n -lt 200 ]; do
	n=$((n + 1))
	for disk in vda vdb; do
		head -c 65536 /dev/urandom >/tmp/a
		dd if=/tmp/a of=/dev/$disk bs=4k oflag=direct 2>/dev/null
		dd if=/dev/$disk of=/tmp/b bs=4k count=16 iflag=direct \
			2>/dev/null
		cmp -s /tmp/a /tmp/b || echo "WRONG $disk"
	done
	echo "turn $n done"
done
END
guest_initrd "$tmp/guest"
truncate -s 1M "$tmp/a" "$tmp/b"

ENGINE=translator
start --kernel "$KERNELS/vmlinuz-amd64" --memory 192M \
	--initrd "$tmp/initrd" --append "console=ttyS0 quiet \
hostel.modules=virtio_mmio hostel.script=test" \
	--disk "$tmp/a,format=raw,packed" \
	--disk "$tmp/b,format=raw,bus=mmio,packed"
ok "it writes and reads" until_ turned 5
go_on 5 interpreter
go_on 5 translator
kill "$pid"
end
finish
