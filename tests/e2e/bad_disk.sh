#!/bin/sh
# bad_disk.sh - disks that cannot be used: one sentence each, and the image is
# as it was.
. "$(dirname "$0")/lib.sh"

try()
{
	monitor 0 --disk "$@"
}
truncate -s 1M "$tmp/good" "$tmp/base"

try "$tmp/none"
ok "a missing file" refused "$tmp/none: No such file"
try "$tmp"
ok "a directory" refused "$tmp"
try "$tmp/good,format=vdi"
ok "an unknown format" refused vdi
try "$tmp/good,size=3"
ok "an unknown key" refused size
try "$tmp/good,cache=fast"
ok "an unknown mode" refused cache
try "$tmp/good,fault=write:often"
ok "faults that make no sense" refused often
mkfifo "$tmp/pipe"
try "$tmp/pipe,readonly"
ok "a pipe" refused "$tmp/pipe"

monitor 0 --disk "$tmp/good" --disk "$tmp/good"
ok "the same disk twice" refused "$tmp/good is in use"
monitor 0 --disk "$tmp/good,readonly" --disk "$tmp/good,readonly"
ok "twice to read" is "$status" 1

if [ "$(id -u)" = 0 ]; then
	as="setpriv --reuid=65534 --regid=65534 --clear-groups --"
else
	as=
fi
if $as "$HOSTEL" version >/dev/null 2>&1; then
	chmod 755 "$tmp"
	touch "$tmp/mine"
	truncate -s 1M "$tmp/mine"
	chmod 400 "$tmp/mine"
	chmod 000 "$tmp/good"
	$as "$HOSTEL" run --kernel "$GUESTS/monitor" --append ":0" \
		--disk "$tmp/good" </dev/null >"$out" 2>"$err"
	status=$?
	ok "no permission" refused "$tmp/good for writing: Permission denied"
	chmod 644 "$tmp/good"
fi

if command -v qemu-img >/dev/null; then
	q() { qemu-img "$@" >/dev/null 2>&1; }
	q create -f qcow2 -b base -F raw "$tmp/top"
	try "$tmp/top"
	ok "a chain" is "$status" 1
	mv "$tmp/base" "$tmp/away"
	try "$tmp/top"
	ok "a missing backing file" refused "backing file of $tmp/top"
	q create -f qcow2 "$tmp/base" 1M
	q rebase -u -f qcow2 -b top -F qcow2 "$tmp/base"
	q rebase -u -f qcow2 -b base -F qcow2 "$tmp/top"
	try "$tmp/top"
	ok "a chain that loops" refused "loop"

	q create -f qcow2 "$tmp/cut" 8M
	head -c 100 "$tmp/cut" >"$tmp/short"
	try "$tmp/short,format=qcow2"
	ok "half a header" refused "$tmp/short"
	printf 'QFI\373\0\0\0\011' | dd of="$tmp/cut" conv=notrunc 2>/dev/null
	try "$tmp/cut"
	ok "a version from the future" refused "$tmp/cut"

	# The other side has it first.
	mkfifo "$tmp/go"
	truncate -s 1M "$tmp/taken"
	qemu-io -f raw "$tmp/taken" <"$tmp/go" >/dev/null 2>&1 &
	exec 3>"$tmp/go"
	sleep 0.5
	try "$tmp/taken"
	ok "an image that QEMU has" refused "$tmp/taken is in use"
	exec 3>&-
	wait
	try "$tmp/taken"
	ok "and has no more" is "$status" 1
fi
finish
