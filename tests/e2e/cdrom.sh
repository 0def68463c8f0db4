#!/bin/sh
# cdrom.sh - CDs are put in and taken out while a stock kernel runs; it locks
# the tray; it is saved with the CD that it has then.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/running.sh"

need_kernel amd64
need_modules amd64
shell_initrd
head -c 4M /dev/urandom >"$tmp/one.iso"
head -c 2M /dev/urandom >"$tmp/two.iso"

start --kernel "$KERNELS/vmlinuz-amd64" --initrd "$tmp/initrd" --cdrom none \
	--append "console=ttyS0 quiet hostel.modules=sr_mod hostel.script=test"
ok "it is ready" until_ said '^T ready'
# A checksum, or "nothing".
guest 'reads() { if dd if=/dev/sr0 of=/tmp/cd bs=64k 2>/dev/null; then echo "T cd $(sha256sum /tmp/cd | cut -c 1-64)"; else echo "T cd nothing"; fi; }'
guest reads
ok "the drive is empty" is "$(value cd)" nothing
verb cdrom one "$tmp/one.iso"
ok "a CD goes in" is "$status" 0
guest reads
ok "and is read" is "$(value cd)" "$(sum <"$tmp/one.iso")"
verb cdrom one "$tmp/nothing.iso"
ok "a file that is not there is refused" is "$status" 125
guest reads
ok "and the CD stays" is "$(value cd)" "$(sum <"$tmp/one.iso")"
guest 'exec 7</dev/sr0'
verb cdrom one none
ok "a locked tray stays shut" is "$status" 125
ok "which is said" test -n "$(echo "$answer" | grep locked)"
guest 'exec 7<&-'
verb cdrom one "$tmp/two.iso"
ok "CDs are exchanged" is "$status" 0
guest reads
ok "the second is read, with its own size" is "$(value cd)" \
	"$(sum <"$tmp/two.iso")"
verb save one "$tmp/saved"
ok "saved" is "$status" 0
end
start --restore "$tmp/saved"
guest 'echo 3 >/proc/sys/vm/drop_caches; reads'
ok "the second CD is there again" is "$(value cd)" "$(sum <"$tmp/two.iso")"
verb cdrom one none
ok "out it goes" is "$status" 0
guest reads
ok "the drive is empty again" is "$(value cd)" nothing
echo exit >&9
end
status=$?
ok "power-off is status 0" is "$status" 0
bad='WARNING|BUG:|Oops|Call Trace|failed command'
ok "nothing odd in the log" is "$(grep -cE "$bad" "$out")" 0
finish
