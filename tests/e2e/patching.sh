#!/bin/sh
# patching.sh - a kernel that changes its own code: modules come and go, kprobes
# are set, the function tracer rewrites every function's first bytes.
. "$(dirname "$0")/lib.sh"
need_kernel amd64

initramfs=$tmp/initramfs.cpio.gz
for module in dummy loop; do
	sh "$top/tools/guest.sh" module amd64 "$module" "$tmp" || exit 99
done
sh "$top/tools/initramfs.sh" add "$initramfs" "$KERNELS/initramfs.cpio.gz" \
	"hostel/patching=$here/patching_guest.sh" \
	"hostel/dummy.ko=$tmp/dummy.ko" "hostel/loop.ko=$tmp/loop.ko" || exit 99

hostel --kernel "$KERNELS/vmlinuz-amd64" --initrd "$initramfs" --cpus 2 \
	--append "console=ttyS0 hostel.script=patching"
ok "power-off is status 0" is "$status" 0

# "T WHAT VALUE" lines are the script's.
value()
{
	sed -n "s/^T $1 \([^\r]*\)\r*\$/\1/p" "$out"
}

ok "modules loaded and left" is "$(value modules)" "6 in, 6 out, 0 left"
ok "a probe is hit each time" test "$(value probe)" -ge 10
ok "a return probe too" test "$(value retprobe)" -ge 10
ok "a removed probe is not" is "$(value removed)" 0
ok "the function tracer sees functions" test "$(value functions)" -gt 1000
ok "and is gone when it is off" is "$(value traced)" 0
ok "the script ran to its end" is "$(value end)" 0
ok "nothing odd in the kernel's log" \
	is "$(grep -cE 'WARNING|BUG:|Oops|Call Trace|Kernel panic' "$out")" 0
finish
