#!/bin/sh
# hotplug.sh - disks and network cards come and go while a stock kernel runs;
# it is saved with them and goes on.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/running.sh"

need_kernel amd64
need_modules amd64
shell_initrd
head -c 4M /dev/urandom >"$tmp/one.img"
head -c 8M /dev/urandom >"$tmp/two.img"

start --kernel "$KERNELS/vmlinuz-amd64" --initrd "$tmp/initrd" \
	--disk "$tmp/one.img,format=raw" \
	--append "console=ttyS0 quiet hostel.modules=virtio_net hostel.script=test"
ok "it is ready" until_ said '^T ready'
guest 'echo "T disks" $(ls /sys/block)'
ok "one disk at first" is "$(value disks)" vda

verb attach one --disk "$tmp/two.img,format=raw,readonly"
ok "a disk is plugged in" is "$status" 0
guest 'for i in 1 2 3 4 5 6 7 8 9; do [ -b /dev/vdb ] || sleep 0.3; done'
guest 'echo "T sum $(sha256sum </dev/vdb)"'
ok "and read" is "$(value sum)" "$(sha256sum <"$tmp/two.img")"
verb devices one
ok "it is listed" test -n "$(echo "$answer" | grep "two.img")"
verb attach one --disk "$tmp/nothing.img"
ok "a file that is not there is refused" is "$status" 125
verb devices one
ok "and not listed" test -z "$(echo "$answer" | grep nothing)"

verb detach one "$tmp/two.img"
ok "it is taken out" is "$status" 0
guest 'echo "T disks" $(ls /sys/block)'
ok "and gone" is "$(value disks)" vda
verb detach one "$tmp/one.img"
ok "the first one, too" is "$status" 0
guest 'echo "T disks" none $(ls /sys/block)'
ok "none is left" is "$(value disks)" none

verb attach one --net nat
ok "a network card" is "$status" 0
guest 'for i in 1 2 3 4 5 6 7 8 9; do [ -e /sys/class/net/eth0 ] || sleep 0.3; done'
guest 'echo "T nets" $(ls /sys/class/net)'
ok "is found" is "$(value nets)" "eth0 lo"
# The guest's process may start no program; the one that asks does.
verb attach one --net "switch:hp$$"
ok "a card on a switch that did not run" is "$status" 0
verb detach one "${answer#slot }"
ok "is taken out again" is "$status" 0
verb attach one --disk "$tmp/one.img,format=raw"
guest 'for i in 1 2 3 4 5 6 7 8 9; do [ -b /dev/vda ] || sleep 0.3; done'

# A guest that takes out what is the board's own.
guest 'dd if=/dev/vda of=/dev/null bs=4k 2>/dev/null & sleep 0.1; for s in /sys/bus/pci/slots/[23]/power; do echo 0 >$s; done; wait'
ok "the guest lives" test "$status" = 0
verb devices one
ok "the board's own are still there" is "$(echo "$answer" | grep -c -E 'rng|balloon')" 2

verb save one "$tmp/saved"
ok "saved" is "$status" 0
end
start --restore "$tmp/saved"
guest 'echo 3 >/proc/sys/vm/drop_caches; echo "T sum $(sha256sum </dev/vda)"'
ok "the disk is there again" is "$(value sum)" "$(sha256sum <"$tmp/one.img")"
slot=$("$HOSTEL" devices one 9>&- | awk '$2 == "virtio-net" { print $1 }')
verb detach one "$slot"
ok "the card goes" is "$status" 0
guest 'echo "T nets" $(ls /sys/class/net)'
ok "and is gone" is "$(value nets)" lo
verb detach one 2
ok "the board's own stay" is "$status" 125
echo exit >&9
end
status=$?
ok "power-off is status 0" is "$status" 0
bad='WARNING|BUG:|Oops|Call Trace|ACPI Error|ACPI BIOS'
ok "nothing odd in the log" is "$(grep -cE "$bad" "$out")" 0
finish
