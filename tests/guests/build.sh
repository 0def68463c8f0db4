#!/bin/sh
# build.sh BITS OUT SOURCE... - one bare-metal guest as a 32-bit Multiboot ELF.
# A 64-bit guest is linked as such and then dressed as 32-bit, because that
# is what Multiboot loaders take.
set -e
bits=$1 out=$2
shift 2
here=$(dirname "$0")
flags="-m$bits -O1 -g0 -std=gnu17 -Wall -Wextra -Werror -Wno-unused-parameter
	-ffreestanding -nostdlib -static -fno-pic -no-pie -fno-stack-protector
	-fcf-protection=none -fno-asynchronous-unwind-tables -fno-builtin
	-mgeneral-regs-only -mno-red-zone -Wl,--build-id=none
	-Wl,-z,noexecstack -Wl,--no-warn-rwx-segments"
# shellcheck disable=SC2086
${CC:-gcc} $flags -T "$here/guest.ld" -o "$out.elf" \
	"$here/start$bits.S" "$here/guest.c" "$@"
if [ "$bits" = 64 ]; then
	objcopy -O elf32-i386 "$out.elf" "$out"
	rm -f "$out.elf"
else
	mv "$out.elf" "$out"
fi
