#!/bin/sh
# hvc.sh - a stock kernel's console on virtio: its messages, a script's words in
# both directions, and nothing from the serial port.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/running.sh"

need_kernel amd64
need_modules amd64
cat >"$tmp/guest" <<'END'
echo "T serial" >/dev/ttyS0
exec </dev/hvc0 >/dev/hvc0 2>&1
stty -echo -onlcr
echo "T kernel" >/dev/kmsg
echo "T size $(stty size)"
read -r line
echo "T typed $line"
seq 20000

echo "T end"
END
guest_initrd "$tmp/guest"
echo "hello, guest" >"$tmp/typed"
input=$tmp/typed
hostel --console virtio --kernel "$KERNELS/vmlinuz-amd64" \
	--initrd "$tmp/initrd" --append "console=hvc0 hostel.script=test"
ok "power-off is status 0" is "$status" 0
ok "and no word" test ! -s "$err"
ok "the kernel's messages are on it" said '\] T kernel'
ok "it has a size" said '^T size 24 80'
ok "what is typed arrives" said '^T typed hello, guest'
ok "all that is sent arrives" \
	is "$(tr -d '\r' <"$out" | grep -c '^[0-9][0-9]*$')" 20000
ok "to the end" said '^T end'
ok "the serial port goes nowhere" is "$(grep -c 'T serial' "$out")" 0

# Saved between two lines, restored, and its console is still there.
cat >"$tmp/guest" <<'END'
exec </dev/hvc0 >/dev/hvc0 2>&1
echo "T ready"
read -r line && echo "T typed $line"
read -r line && echo "T typed $line"
END
guest_initrd "$tmp/guest"
start --console virtio --kernel "$KERNELS/vmlinuz-amd64" --memory 256M \
	--initrd "$tmp/initrd" --append "console=hvc0 hostel.script=test"
ok "it starts" until_ said '^T ready'
echo first >&9
ok "it reads" until_ said '^T typed first'
verb save one "$tmp/state"
ok "it is saved" is "$status" 0
end
echo second >"$tmp/typed"
hostel --restore "$tmp/state"
ok "it goes on" said '^T typed second'
ok "and ends" is "$status" 0
hostel --restore "$tmp/state" --console none
ok "without its console it is refused" refused '--console virtio'
finish
