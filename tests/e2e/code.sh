#!/bin/sh
# code.sh - programs that write and rewrite their code, and threads that share
# memory by atomic instructions, in a guest of two processors.  LEAVE: names
# that are not looked at.
. "$(dirname "$0")/lib.sh"

need_kernel cloud-amd64
initramfs=$tmp/initramfs.cpio.gz
echo /code 10 >"$tmp/script"
sh "$top/tools/initramfs.sh" add "$initramfs" "$KERNELS/initramfs.cpio.gz" \
	"hostel/test=$tmp/script" "code=$GUESTS/code" || exit 99
hostel --kernel "$KERNELS/vmlinuz-cloud-amd64" --initrd "$initramfs" \
	--append "console=ttyS0 hostel.script=test" --cpus 2 \
	--timeout "$LIMIT"
ok "power-off is status 0" is "$status" 0
for name in self next protect alias cross mutex add cmpxchg16b split \
	pingpong; do
	case " ${LEAVE:-} " in
	*" $name "*) continue ;;
	esac
	ok "$name" said "^T $name ok"
done
finish
