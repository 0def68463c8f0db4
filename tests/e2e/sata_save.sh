#!/bin/sh
# sata_save.sh - a guest that reads and writes SATA disks, with many commands
# queued, and sends and receives by an e1000, is saved at work and goes on.
. "$(dirname "$0")/lib.sh"

need_kernel amd64
need_modules amd64
name=sata$$
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

start()
{
	last_run="hostel run $*"
	rm -f "$out"
	timeout -k 5 "$LIMIT" "$HOSTEL" run --name "$name" "$@" </dev/null \
		>"$out" 2>"$err" &
	pid=$!
}
turned()
{
	for try in $(seq 600); do
		turns=$(grep -c "turn [0-9]* done" "$out" 2>/dev/null)
		[ "${turns:-0}" -lt 5 ] || return 0
		kill -0 "$pid" 2>/dev/null || return 1
		sleep 0.1
	done
	return 1
}
pinged()
{
	for try in $(seq 600); do
		! said "ping [0-9]" || return 0
		kill -0 "$pid" 2>/dev/null || return 1
		sleep 0.1
	done
	return 1
}
start --engine translator --kernel "$KERNELS/vmlinuz-amd64" --memory 192M \
	--initrd "$tmp/initrd" --append "console=ttyS0 quiet \
hostel.modules=sd_mod,e1000 hostel.script=test" --net nat,nic=e1000 \
	--disk "$tmp/a,format=raw,bus=ahci" \
	--disk "$tmp/b,format=raw,bus=ahci"
ok "it writes and reads" turned
for round in 1 2 3 4; do
	"$HOSTEL" save "$name" "$tmp/state" >"$tmp/words" 2>&1
	ok "saving is status 0: $(cat "$tmp/words")" is $? 0
	wait "$pid"
	ok "the saved guest ends with status 0" is $? 0
	start --restore "$tmp/state" --engine translator
	ok "it goes on, time $round" turned
	ok "and nothing is wrong" test -z "$(grep WRONG "$out")"
	ok "it pings" pinged
	ok "no command failed" test -z "$(grep -E 'ata[0-9].*(failed|frozen)' \
		"$out")"
done
kill "$pid"
wait "$pid"
finish
