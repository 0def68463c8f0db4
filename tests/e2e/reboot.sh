#!/bin/sh
# reboot.sh - a kernel that reboots boots again, and hears its console after
# that as before; with --no-reboot it ends there.
. "$(dirname "$0")/lib.sh"
need_kernel cloud-amd64

boot()
{
	hostel --kernel "$KERNELS/vmlinuz-cloud-amd64" \
		--initrd "$KERNELS/initramfs.cpio.gz" "$@"
}

# Types the n-th line when the guest has said for the n-th time that it is
# ready.
typist()
{
	exec 9>"$tmp/in"
	n=0
	for line; do
		n=$((n + 1))
		until [ "$(grep -c 'hostel: ready' "$out")" -ge $n ]; do
			[ ! -e "$tmp/over" ] || return
			sleep 0.2
		done
		echo "$line" >&9
	done
}

: >"$out"
mkfifo "$tmp/in"
typist "reboot -f" "echo second life; poweroff -f" &
input=$tmp/in
boot --append "console=ttyS0 quiet hostel.script=ask"
touch "$tmp/over"
wait
ok "power-off in the second life" is "$status" 0
ok "it started twice" is "$(grep -c 'hostel: ready' "$out")" 2
ok "and was heard in its second life" said '^second life'

input=/dev/null
boot --append "console=ttyS0 quiet hostel.cmd=reboot,-f" --no-reboot
ok "--no-reboot ends like a power-off" is "$status" 0
ok "having started once" is "$(grep -c '/init reached' "$out")" 1
finish
