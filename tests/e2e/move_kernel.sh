#!/bin/sh
# move_kernel.sh TEST_MOVE ENGINES MOVES - a stock kernel whose user space
# computes and checks what it computes (sums.sh) is moved around the engines.
. "$(dirname "$0")/lib.sh"

need_kernel amd64
sh "$top/tools/initramfs.sh" add "$tmp/sums.gz" "$KERNELS/initramfs.cpio.gz" \
	hostel/sums="$here/sums.sh" || exit 1
"$1" "$2" "$3" "$KERNELS/vmlinuz-amd64" "$tmp/sums.gz"
