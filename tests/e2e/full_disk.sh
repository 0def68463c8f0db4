#!/bin/sh
# full_disk.sh - when the host's disk is full the guest stops with a sentence,
# and goes on without an error when there is room.
. "$(dirname "$0")/lib.sh"

need_kernel amd64
need_modules amd64
if [ -z "${FULL_DISK_INSIDE:-}" ]; then
	unshare -Urm true 2>/dev/null ||
		skip "no user namespaces here, which a small tmpfs needs"
	FULL_DISK_INSIDE=1 unshare -Urm sh "$0"
	exit
fi
mkdir "$tmp/small"
mount -t tmpfs -o size=4m tmpfs "$tmp/small" || skip "no tmpfs here"

cat >"$tmp/guest" <<'END'
dd if=/dev/zero bs=64k count=48 2>/dev/null | tr '\0' x >/tmp/data
dd if=/tmp/data of=/dev/vda bs=64k oflag=direct 2>/dev/null && echo "T good"
echo "T sum $(dd if=/dev/vda bs=64k count=48 iflag=direct 2>/dev/null |
	sha256sum | cut -c 1-64)"
dmesg | grep -c 'I/O error'
END
guest_initrd "$tmp/guest"

wait_for()
{
	for try in $(seq 300); do
		grep -q "$1" "$err" && return 0
		sleep 0.1
	done
	return 1
}

run()
{
	head -c 2097152 /dev/zero >"$tmp/small/filler"
	"$HOSTEL" disk create --format "$1" "$tmp/small/disk" 8M >/dev/null ||
		exit 99
	: >"$err"
	hostel --name full --kernel "$KERNELS/vmlinuz-amd64" \
		--initrd "$tmp/initrd" --append "console=ttyS0 quiet hostel.script=test" \
		--disk "$tmp/small/disk,format=$1" &
	ok "the guest is paused" wait_for "$tmp/small/disk: no space is left"
	sleep 3
	ok "and has heard of nothing" test "$(grep -c 'T good' "$out")" = 0
	ok "a list shows it" sh -c \
		"'$HOSTEL' list | grep -q '^full  *no space'"
	"$HOSTEL" resume full
	sleep 0.5
	ok "told to go on, it cannot" test "$(grep -c 'T good' "$out")" = 0
	ok "it is said once" is "$(wc -l <"$err")" 1
	rm "$tmp/small/filler"
	ok "told to go on" "$HOSTEL" resume full
	wait
	ok "it goes on" said "T good"
	want=$(head -c 3145728 /dev/zero | tr '\0' x | sha256sum | cut -c 1-64)
	ok "with what it wrote" said "T sum $want"
	"$HOSTEL" disk convert --from "$1" --format raw "$tmp/small/disk" \
		"$tmp/raw" >/dev/null
	ok "in the file as well" is \
		"$(head -c 3145728 "$tmp/raw" | sha256sum | cut -c 1-64)" "$want"
	rm -f "$tmp/small/disk" "$tmp/raw"
	ok "which is said, too" is "$(wc -l <"$err")" 2
}
run raw
run qcow2
run vmdk
umount "$tmp/small"
finish
