#!/bin/sh
# sendkey.sh - a person at the keyboard: what is typed arrives at a stock
# kernel's terminal, and Ctrl-Alt-Delete restarts it.
. "$(dirname "$0")/lib.sh"

need_kernel amd64
cat >"$tmp/guest" <<'END'
echo "T ready"
IFS= read -r line </dev/tty1
echo "T line $line."
exec </dev/tty1
stty raw -echo
echo "T raw"
echo "T bytes $(dd bs=1 count=7 2>/dev/null | hexdump -ve '1/1 "%02x "')"
echo "T last"
sleep 60
END
sh "$top/tools/initramfs.sh" add "$tmp/initrd" "$KERNELS/initramfs.cpio.gz" \
	"hostel/test=$tmp/guest" || exit 99

timeout -k 5 "$LIMIT" "$HOSTEL" run --engine "$ENGINE" --name keys --vga std \
	--no-reboot --kernel "$KERNELS/vmlinuz-amd64" --initrd "$tmp/initrd" \
	--append "console=ttyS0 quiet hostel.script=test" \
	</dev/null >"$out" 2>"$err" &
pid=$!
wait_for()
{
	for try in $(seq 300); do
		said "$1" && return 0
		sleep 0.1
	done
	return 1
}
verb()
{
	last_run="hostel $*"
	answer=$(timeout 30 "$HOSTEL" "$@" 2>&1)
	status=$?
}

ok "the kernel is there" wait_for '^T ready'
verb sendkey keys --text 'Hello, ~World_{42}\\ "x"|<>?\n'
ok "a line is typed" is "$status" 0
wait_for '^T line'
ok "and comes as it was" said '^T line Hello, ~World_{42}\\ "x"|<>?\.'
wait_for '^T raw'
verb sendkey keys up ctrl-a enter --text 'é' --delay 5
ok "what no key types is refused" is "$status" 125
verb sendkey keys kp_enter esc
ok "named keys" is "$status" 0
ok "all came" wait_for '^T last'
ok "as a terminal has them" said '^T bytes 1b 5b 41 01 0d 0d 1b'
verb sendkey keys ctrl-hyper
ok "a key that there is not" is "$status" 125
ok "is named" test -n "$(echo "$answer" | grep '"hyper"')"
verb sendkey keys
ok "no key at all is refused" is "$status" 125
verb pause keys
verb sendkey keys a
ok "a paused guest reads none" test -n "$(echo "$answer" | grep paused)"
verb resume keys
verb sendkey keys ctrl-alt-delete
wait "$pid"
status=$?
ok "Ctrl-Alt-Delete restarts it" is "$status" 0
finish
