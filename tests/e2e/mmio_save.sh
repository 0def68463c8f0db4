#!/bin/sh
# mmio_save.sh - a guest that reads and writes disks over MMIO and PCI, with
# packed queues, is saved and goes on with them on another engine.
. "$(dirname "$0")/lib.sh"

need_kernel amd64
need_modules amd64
name=mmio$$
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
start --engine translator --kernel "$KERNELS/vmlinuz-amd64" --memory 192M \
	--initrd "$tmp/initrd" --append "console=ttyS0 quiet \
hostel.modules=virtio_mmio hostel.script=test" \
	--disk "$tmp/a,format=raw,packed" \
	--disk "$tmp/b,format=raw,bus=mmio,packed"
ok "it writes and reads" turned
for engine in interpreter translator; do
	"$HOSTEL" save "$name" "$tmp/state" >"$tmp/words" 2>&1
	ok "saving is status 0: $(cat "$tmp/words")" is $? 0
	wait "$pid"
	ok "the saved guest ends with status 0" is $? 0
	start --restore "$tmp/state" --engine "$engine"
	ok "it goes on, on $engine" turned
	ok "and nothing is wrong" test -z "$(grep WRONG "$out")"
done
kill "$pid"
wait "$pid"
finish
