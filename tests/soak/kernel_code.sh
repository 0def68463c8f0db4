#!/bin/bash
# kernel_code.sh - guests whose kernel and programs write code.
#
#	CPUS=2 LOOPS=20 ENGINE=translator bash tests/soak/kernel_code.sh
#
# Module load and unload, ftrace, kprobes and static keys in a stock kernel
# under load; then self-modifying and cross-modifying code and atomics in user
# space.  Needs the kernel's package from tools/guest.sh.  Status 0: all good.
set -u

here=$(cd "$(dirname "$0")" && pwd)
top=$(cd "$here/../.." && pwd)
CPUS=${CPUS:-2} LOOPS=${LOOPS:-20} ENGINE=${ENGINE:-auto}
FLAVOUR=${FLAVOUR:-cloud-amd64} LIMIT=${LIMIT:-300}
HOSTEL=${HOSTEL:-$top/build/hostel}
KERNELS=${HOSTEL_GUEST_DIR:-$top/.cache/guest}
tmp=$(mktemp -d) || exit 99
trap 'rm -rf "$tmp"' EXIT

files=()
for m in dummy loop veth crc7 crc-itu-t zsmalloc xor raid6_pq; do
	sh "$top/tools/guest.sh" module "$FLAVOUR" "$m" "$tmp" 2>/dev/null &&
		files+=("mod/$m.ko=$tmp/$m.ko")
done
sed "s/\${LOOPS:-20}/$LOOPS/" "$here/kernel_code_guest.sh" >"$tmp/code.sh"
"${CC:-cc}" -O2 -D_GNU_SOURCE -static -pthread -o "$tmp/code" "$top/tests/e2e/guests/code.c" || exit 99
sh "$top/tools/initramfs.sh" add "$tmp/initramfs" \
	"$KERNELS/initramfs.cpio.gz" "hostel/code=$tmp/code.sh" \
	"code=$tmp/code" "${files[@]}" || exit 99

"$HOSTEL" run --engine "$ENGINE" --cpus "$CPUS" --timeout "$LIMIT" \
	--kernel "$KERNELS/vmlinuz-$FLAVOUR" --initrd "$tmp/initramfs" \
	--append "console=ttyS0 hostel.script=code" \
	</dev/null 2>&1 | tr -d '\r' >"$tmp/log"

grep '^T ' "$tmp/log"
odd='WARNING|BUG:|Oops|Call Trace|Kernel panic|clocksource.*unstable'
odd="$odd|Spurious|unexpected IRQ|unchecked MSR|soft lockup|rcu.*stall"
if grep -E "$odd" "$tmp/log" || grep -qE '^T (error|.* wrong)' "$tmp/log"; then
	cp "$tmp/log" "${SOAK_DIR:-/tmp}/kernel_code.log"
	exit 1
fi
[ "$(grep -c '^T ' "$tmp/log")" = 16 ] &&
	grep -qx "T ftrace $LOOPS" "$tmp/log" &&
	grep -qx "T kprobes $LOOPS" "$tmp/log" &&
	grep -qx "T keys $LOOPS" "$tmp/log" && grep -q '^T end' "$tmp/log" ||
	{ tail -n 20 "$tmp/log"; exit 1; }
