#!/bin/sh
# bad_input.sh - what Hostel cannot do it says in one sentence, which names the
# option or file, and exits with status 125.
. "$(dirname "$0")/lib.sh"
need_kernel cloud-amd64
LIMIT=20

kernel=$KERNELS/vmlinuz-cloud-amd64
initrd=$KERNELS/initramfs.cpio.gz

# bad NEEDLE ARGUMENT...: refused with a sentence that holds NEEDLE.
bad()
{
	needle=$1
	shift
	hostel "$@"
	ok "refused" refused "$needle"
}

bad --kernel
bad --kernel --kernel
bad "$tmp/none" --kernel "$tmp/none"
bad "$tmp" --kernel "$tmp"
: >"$tmp/empty"
bad "$tmp/empty" --kernel "$tmp/empty"
bad "$initrd" --kernel "$initrd"
bad "$HOSTEL" --kernel "$HOSTEL"
head -c 100 "$kernel" >"$tmp/stub"
bad "$tmp/stub" --kernel "$tmp/stub"
for size in 512 4096 20000 1000000; do
	head -c "$size" "$kernel" >"$tmp/cut"
	bad "$tmp/cut" --kernel "$tmp/cut"
done
head -c 3000 "$GUESTS/monitor" >"$tmp/cut"
bad "$tmp/cut" --kernel "$tmp/cut"
head -c 100000 /dev/zero >"$tmp/zero"
bad "$tmp/zero" --kernel "$tmp/zero"
if [ "$(id -u)" != 0 ]; then
	: >"$tmp/secret"
	chmod 0 "$tmp/secret"
	bad "$tmp/secret" --kernel "$tmp/secret"
fi

bad "$tmp/none" --kernel "$kernel" --initrd "$tmp/none"
bad "$tmp/empty" --kernel "$kernel" --initrd "$tmp/empty"
bad "$tmp" --kernel "$kernel" --initrd "$tmp"
head -c 80000000 /dev/zero >"$tmp/large"
bad "$tmp/large" --kernel "$kernel" --initrd "$tmp/large" --memory 64M
bad memory --kernel "$kernel" --initrd "$initrd" --memory 4M

for memory in 0 1 -1 x 12Q 5000 1e3 0x1000000 '' 99999G \
		18446744073709551616 16777216T; do
	bad --memory --kernel "$kernel" --memory "$memory"
done
for cpus in 0 -1 x 1.5 100000 99999999999999999999; do
	bad --cpus --kernel "$kernel" --cpus "$cpus"
done
for timeout in x -1 nan inf 1e99; do
	bad --timeout --kernel "$kernel" --timeout "$timeout"
done

bad warp --kernel "$kernel" --engine warp
bad "choose host" --kernel "$kernel" --cpu vax
bad "no AVX-512" --kernel "$kernel" --cpu v4
bad /none/trace --kernel "$kernel" --trace /none/trace
bad trace.filter --kernel "$kernel" --trace "$tmp/trace" --trace-filter sheep
bad /none/log --kernel "$kernel" --console /none/log
for gdb in x 65536 1.2.3.4.5:99 :: 203.0.113.7:1234 ''; do
	bad gdb --kernel "$kernel" --gdb "$gdb"
done

bad "no option '--colour'" --kernel "$kernel" --colour blue
bad "'file'" --kernel "$kernel" file
bad --stats --kernel "$kernel" --stats=yes
bad "-v x" --kernel "$kernel" -v x
# Firmware.
head -c 1000 /dev/zero >"$tmp/small"
head -c 65536 /dev/zero >"$tmp/other"
bad "does not exist" --firmware "$tmp/none"
bad "no ROM image" --firmware "$tmp/small"
bad "is a directory" --firmware "$tmp"
bad "give --kernel or --firmware" --kernel "$kernel" --firmware "$tmp/small"
if [ -e /usr/share/seabios/bios-256k.bin ]; then
	bad "keeps no variables" --firmware bios --nvram "$tmp/nvram"
	bad "not \"floppy\"" --firmware bios --boot floppy
	bad "unknown display" --firmware bios --vga cga
	bad "firmware log" --firmware bios --firmware-log "$tmp/none/log"
fi
if [ -e /usr/share/OVMF/OVMF_CODE_4M.fd ]; then
	bad "cannot make NVRAM" --firmware uefi --nvram "$tmp/none/nvram"
	bad "does not belong" --firmware uefi --nvram "$tmp/small"
	bad "does not belong" --firmware uefi --nvram "$tmp/other"
	bad "open NVRAM" --firmware uefi --nvram "$tmp"
fi
bad "needs --gdb" --kernel "$kernel" --gdb-wait
bad "needs --trace" --kernel "$kernel" --trace-filter insn
long=$(head -c 5000 /dev/zero | tr '\0' x)
bad append --kernel "$kernel" --append "$long"
finish
