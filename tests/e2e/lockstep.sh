#!/bin/sh
# lockstep.sh - the first seconds of a stock kernel's boot with the translator
# held against the interpreter, block by block.
#
# A whole boot takes two minutes of processor time: SECONDS_OF_BOOT=900 does it.
. "$(dirname "$0")/lib.sh"

ENGINE=lockstep
need_kernel cloud-amd64
LIMIT=$((${SECONDS_OF_BOOT:-15} + 20))
hostel --kernel "$KERNELS/vmlinuz-cloud-amd64" \
	--initrd "$KERNELS/initramfs.cpio.gz" \
	--append "console=ttyS0 hostel.script=about" \
	--timeout "${SECONDS_OF_BOOT:-15}"
ok "no difference: still booting, or booted and off" \
	test "$status" = 124 -o "$status" = 0
ok "and no word of one" is "$(grep -c lockstep: "$err")" 0
finish
