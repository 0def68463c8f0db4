#!/bin/sh
# try.sh NAME - builds NAME.c and runs it in QEMU: tests of the tests.
here=$(cd "$(dirname "$0")" && pwd)
name=$1
case $name in *64) bits=64 ;; *) bits=32 ;; esac
"$here/build.sh" $bits "/tmp/guest-$name" "${SRC:-$here/$name.c}" || exit 1
timeout 60 qemu-system-x86_64 -display none -debugcon stdio \
	-device isa-debug-exit,iobase=0xf4,iosize=4 -accel tcg -cpu max \
	-no-reboot -kernel "/tmp/guest-$name"
echo "$name: status $?"
