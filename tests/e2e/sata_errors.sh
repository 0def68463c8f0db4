#!/bin/sh
# sata_errors.sh - SATA disks that fail now and then: a stock kernel is told
# which command it was, tries again, and all its data is there; one that fails
# for good gives the program an error, and the guest goes on.
. "$(dirname "$0")/lib.sh"

need_kernel amd64
need_modules amd64
cat >"$tmp/guest" <<'END'
disk()
{
	grep -lx "$1" /sys/block/sd?/size | sed 's,/sys/block/\(sd.\)/size,\1,'
}
sum()
{
	sha256sum | cut -c 1-64
}
a=$(disk 32768)
b=$(disk 16384)
head -c 8388608 /dev/urandom >/tmp/data
echo "T data $(sum </tmp/data)"
dd if=/tmp/data of=/dev/$a bs=64k conv=fsync 2>/dev/null && echo "T write ok"
echo 3 >/proc/sys/vm/drop_caches
dd if=/dev/$a of=/tmp/back bs=64k count=128 2>/dev/null && echo "T read ok"
echo "T back $(sum </tmp/back)"
dd if=/dev/$b of=/dev/null bs=4k count=99 iflag=direct 2>/dev/null ||
	echo "T lost yes"
dd if=/dev/zero of=/dev/$b bs=4k count=1 oflag=direct 2>/dev/null &&
	echo "T alive yes"
dmesg >/tmp/log
echo "T ncq $(grep -cE 'failed command: (READ|WRITE) FPDMA' /tmp/log)"
echo "T unc $(grep -c 'error: { UNC' /tmp/log)"
echo "T status $(grep -c 'status: { DRDY.*ERR }' /tmp/log)"
echo "T odd $(grep -cE 'ata[0-9].*(timeout|frozen|resetting|disabled)' /tmp/log)"
END
guest_initrd "$tmp/guest"
truncate -s 16M "$tmp/a"
truncate -s 8M "$tmp/b"
hostel --kernel "$KERNELS/vmlinuz-amd64" --initrd "$tmp/initrd" \
	--append "console=ttyS0 quiet hostel.modules=sd_mod hostel.script=test" \
	--disk "$tmp/a,format=raw,bus=ahci,fault=read:after=60:count=1;\
write:after=3:count=3" \
	--disk "$tmp/b,format=raw,bus=ahci,fault=read:after=40"
ok "power-off is status 0" is "$status" 0
ok "writes succeed in the end" is "$(value write)" ok
ok "reads, too" is "$(value read)" ok
ok "nothing is lost" is "$(value back)" "$(value data)"
ok "a disk that stays bad gives an error" is "$(value lost)" yes
ok "and still takes commands" is "$(value alive)" yes
ok "queued commands are named by the log page" test "$(value ncq)" -ge 3
ok "as uncorrectable" test "$(value unc)" -ge 1
ok "with the status that they had" is "$(value status)" "$(value ncq)"
ok "without resets and timeouts" is "$(value odd)" 0
finish
