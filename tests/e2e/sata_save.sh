#!/bin/sh
# sata_save.sh - a guest that reads and writes SATA disks, with many commands
# queued, and sends and receives by an e1000, is saved at work and goes on.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/running.sh"

need_kernel amd64
need_modules amd64
cat >"$tmp/guest" <<'END'
ifconfig eth0 10.0.2.15 up
for disk in sda sdb; do
	(
		n=0
		while [ $n -lt 400 ]; do
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
while [ $n -lt 400 ]; do
	n=$((n + 1))
	ping -q -c 20 -i 0.01 -s 1400 -W 2 10.0.2.2 >/dev/null &&
		echo "ping $n"
done
END
guest_initrd "$tmp/guest"
truncate -s 2M "$tmp/a" "$tmp/b"

ENGINE=translator
start --kernel "$KERNELS/vmlinuz-amd64" --memory 192M \
	--initrd "$tmp/initrd" --append "console=ttyS0 quiet \
hostel.modules=sd_mod,e1000 hostel.script=test" --net nat,nic=e1000 \
	--disk "$tmp/a,format=raw,bus=ahci" \
	--disk "$tmp/b,format=raw,bus=ahci"
ok "it writes and reads" until_ turned 5
for round in 1 2 3 4; do
	go_on 5 translator
	ok "it pings" until_ said "ping [0-9]"
	ok "no command failed" test -z "$(grep -E 'ata[0-9].*(failed|frozen)' \
		"$out")"
done
kill "$pid"
end
finish
