#!/bin/sh
# sata.sh - a stock kernel uses SATA disks and a CD-ROM drive: what it writes
# is in the file, what is there it reads.
. "$(dirname "$0")/lib.sh"

need_kernel amd64
need_modules amd64
cat >"$tmp/guest" <<'END'
sum()
{
	sha256sum | cut -c 1-64
}
# Drives are found side by side: which is which, their sizes tell.
disk()
{
	grep -lx "$1" /sys/block/sd?/size | sed 's,/sys/block/\(sd.\)/size,\1,'
}
a=$(disk 32768)
b=$(disk 16384)
echo "T size $(cat /sys/block/$a/size)"
echo "T depth $(cat /sys/block/$a/device/queue_depth)"
echo "T sum $(sum </dev/$b)"
echo "T cd $(sum </dev/sr0)"
dd if=/dev/$b of=/dev/$a bs=64k 2>/dev/null
sync
echo "T direct $(dd if=/dev/$a bs=64k count=128 iflag=direct 2>/dev/null |
	sum)"
blkdiscard -o 1048576 -l 1048576 /dev/$a && echo "T trim done"
rmmod ahci && modprobe ahci
for i in 1 2 3 4 5 6 7 8 9 10; do
	b=$(disk 16384)
	[ -n "$b" ] || sleep 1
done
echo "T again $(sum </dev/$b)"
grep -q "MSI.*ahci" /proc/interrupts && echo "T msi yes"
END
guest_initrd "$tmp/guest"

head -c 8388608 /dev/urandom >"$tmp/b"
head -c 4194304 /dev/urandom >"$tmp/cd"
want=$(sum <"$tmp/b")
truncate -s 16M "$tmp/a"
hostel --kernel "$KERNELS/vmlinuz-amd64" --initrd "$tmp/initrd" \
	--append "console=ttyS0 quiet hostel.modules=sd_mod,sr_mod \
hostel.script=test" --cpus 2 \
	--disk "$tmp/a,format=raw,bus=ahci,discard" \
	--disk "$tmp/b,format=raw,bus=ahci,readonly" --cdrom "$tmp/cd"
ok "power-off is status 0" is "$status" 0
ok "and no word" test ! -s "$err"
ok "size" is "$(value size)" 32768
ok "queued commands" is "$(value depth)" 32
ok "what is read" is "$(value sum)" "$want"
ok "the CD" is "$(value cd)" "$(sum <"$tmp/cd")"
ok "what comes back" is "$(value direct)" "$want"
ok "TRIM" is "$(value trim)" done
ok "after the driver reset the adapter" is "$(value again)" "$want"
ok "by messages" is "$(value msi)" yes
ok "the file holds it" is "$(tail -c +2097153 "$tmp/a" |
	head -c 6291456 | sum)" \
	"$(tail -c +2097153 "$tmp/b" | sum)"
ok "the discarded space is back" is "$(tail -c +1048577 "$tmp/a" |
	head -c 1048576 | tr -d '\0' | wc -c)" 0
finish
