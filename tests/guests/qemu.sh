#!/bin/sh
# qemu.sh NAME [QEMU-OPTION...] - builds one guest and runs it in QEMU's TCG,
# to check the tests themselves.  What TCG is known to do otherwise than the
# manual: segment limits, non-canonical addresses, P beside RSVD in a page
# fault's error code, EXT, IDT error codes in long mode, INT1, DR7.GD.
here=$(cd "$(dirname "$0")" && pwd)
name=$1
shift
case $name in *64) bits=64 ;; *) bits=32 ;; esac
out=$(mktemp) || exit 1
trap 'rm -f "$out"' EXIT
"$here/build.sh" $bits "$out" "$here/$name.c" || exit 1
timeout 60 qemu-system-x86_64 -display none -serial stdio \
	-device isa-debug-exit,iobase=0xf4,iosize=4 -accel tcg -cpu max \
	-no-reboot "$@" -kernel "$out"
echo "$name: status $?"
