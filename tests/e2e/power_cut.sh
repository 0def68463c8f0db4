#!/bin/sh
# power_cut.sh - the power goes while a guest writes: what it was told to be on
# stable storage is there.  The fault filter loses a random part of what was
# not flushed, and kills the guest's process.
. "$(dirname "$0")/lib.sh"

need_kernel amd64
need_modules amd64
command -v qemu-img >/dev/null || skip "no qemu-img here"
cat >"$tmp/guest" <<'END'
i=0
while [ $i -lt 400 ]; do
	i=$((i + 1))
	printf "%08d" $i | dd of=/dev/vda bs=8 seek=$((i * 1031)) \
		conv=notrunc,fsync 2>/dev/null && echo "T $i"
done
END
guest_initrd "$tmp/guest"

run()
{
	qemu-img create -q -f "$1" "$tmp/disk.$1" 16M
	hostel --kernel "$KERNELS/vmlinuz-amd64" --initrd "$tmp/initrd" \
		--append "console=ttyS0 quiet hostel.script=test" \
		--disk "$tmp/disk.$1,format=$1,fault=file.cut:after=$2:kill:seed=$2"
	ok "the guest's process is gone" is "$status" 125
	last=$(sed -n 's/^T \([0-9]*\)\r*$/\1/p' "$out" | tail -n 1)
	ok "not at once, nor at its end: ${last:-0}" \
		test "${last:-0}" -gt 5 -a "${last:-0}" -lt 400
	ok "the image is sound" sh -c \
		"qemu-img check -q -f $1 $tmp/disk.$1 >/dev/null 2>&1
		[ \$? = 0 -o \$? = 3 -o \$? = 63 ]"
	qemu-img convert -f "$1" -O raw "$tmp/disk.$1" "$tmp/after"
	lost=
	for i in $(seq "${last:-0}"); do
		found=$(dd if="$tmp/after" bs=8 skip=$((i * 1031)) count=1 \
			2>/dev/null | tr -d '\0')
		[ "$found" = "$(printf %08d "$i")" ] || lost="$lost $i"
	done
	ok "nothing is lost" is "$lost" ""
}
run raw 150
run qcow2 200
finish
