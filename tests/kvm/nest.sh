#!/bin/sh
# nest.sh BUILD PART... - runs parts of guest.sh in a machine with a working
# KVM: QEMU's emulated processor has AMD-V, and a stock Debian kernel with its
# kvm-amd module makes a /dev/kvm of it.  Prints TAP.
#
# LIMIT: seconds for all of it (default 1100).  KEEP: a directory for the log.
# MEMORY, CPUS, CPU: of the machine; CPU=Nehalem has no BMI2, AVX or AES.
# MOVES: of a saved guest by the end-to-end scripts.
# NPT=0: no nested paging in it.  TRIES: how often a guest is started before it
# counts as failed.
#
# QEMU 7.2's nested paging is not safe: about 1 boot of 15 ends when the guest's
# processor finds code not mapped that it is executing (a trace of KVM shows a
# triple fault behind a plain IN, with nothing in between).  Without nested
# paging, which takes twice as long, that is not seen.  So the short run tries
# again, and says so; the long one does without.
set -u

build=$(realpath "$1")
shift
case " $*" in
*" e2e:"*) with_host=yes ;;
*) with_host= ;;
esac
here=$(cd "$(dirname "$0")" && pwd)
top=$(cd "$here/../.." && pwd)
dir=${HOSTEL_GUEST_DIR:-$top/.cache/guest}
flavour=amd64
limit=${LIMIT:-1100}

nest_skip()
{
	echo "1..0 # SKIP $*"
	exit 0
}

nest_die()
{
	echo "Bail out! $*"
	exit 1
}

command -v qemu-system-x86_64 >/dev/null ||
	nest_skip "no qemu-system-x86_64 (apt-get install qemu-system-x86)"
[ -s "$dir/vmlinuz-$flavour" ] && [ -s "$dir/linux-$flavour.deb" ] ||
	nest_skip "no kernel in $dir; run tools/guest.sh"

tmp=$(mktemp -d)
pid=
nest_clean()
{
	[ -z "$pid" ] || kill "$pid" 2>/dev/null
	rm -rf "$tmp"
}
trap nest_clean EXIT
trap 'exit 1' INT TERM HUP

root=$tmp/root
mkdir -p "$root/hostel/lib" "$root/hostel/guests" "$root/hostel/modules" \
	"$root/lib64"

# A program and what it is linked with.
nest_program()
{
	cp "$1" "$root/hostel/"
	ldd "$1" | awk '/=> \//{ print $3 }' | sort -u |
		xargs -I '{}' cp -uL '{}' "$root/hostel/lib/"
	cp -uL /lib64/ld-linux-x86-64.so.2 "$root/lib64/"
}

# Kernels that guests start from.
nest_kernels()
{
	for f in "vmlinuz-$flavour" initramfs.cpio.gz; do
		cp "$dir/$f" "$root/hostel/$f"
	done
}

nest_fill()
{
	for p in hostel hostel-vm tests/e2e/test_move tests/kvm/hold; do
		nest_program "$build/$p"
	done
	strip "$root/hostel/hostel" "$root/hostel/hostel-vm" \
		"$root/hostel/test_move"
	for m in irqbypass ccp kvm kvm-amd; do
		sh "$top/tools/guest.sh" module "$flavour" "$m" \
			"$root/hostel/modules" || return 1
	done
	find "$build/tests/guests" -maxdepth 1 -type f ! -name '*.*' |
		xargs -I '{}' cp '{}' "$root/hostel/guests/"
	cp "$build/tests/e2e/monitor" "$root/hostel/"
	nest_kernels
	cp "$here/guest.sh" "$root/hostel/nest"
	cp "$here"/in/* "$root/hostel/"
	cp "$top/tests/e2e/sums.sh" "$root/hostel/sums"
	sh "$top/tools/initramfs.sh" add "$root/hostel/sums.gz" \
		"$dir/initramfs.cpio.gz" hostel/sums="$root/hostel/sums"
	sh "$top/tools/initramfs.sh" add "$tmp/io" "$dir/initramfs.cpio.gz" \
		hostel/io="$here/in/io.sh" hostel/wake="$here/in/wake.sh"
	cat "$tmp/io" "$dir/modules-$flavour.cpio.gz" >"$root/hostel/io.gz"
	echo "$*" >"$root/hostel/parts"
	printf '%s\n' "NPT=${NPT:-1}" "TRIES=${TRIES:-1}" \
		"MOVES=${MOVES:-4}" \
		"TOP='$top'" "BUILD='$build'" "KERNELS='$dir'" \
		>"$root/hostel/settings"
}

nest_fill "$@" || nest_die "the machine's files could not be made"
(cd "$root" && find . | busybox cpio -o -H newc -R 0:0 2>/dev/null) \
	>"$tmp/more.cpio"
# The plain archive first: it may only start at a multiple of four bytes, what
# is compressed anywhere (initramfs buffer format).
cat "$tmp/more.cpio" "$dir/initramfs.cpio.gz" >"$tmp/initrd"
rm -rf "$root"

# The end-to-end tests want more than busybox: this host's files, read-only, and
# a file system with direct I/O for theirs.
set --
if [ -n "$with_host" ]; then
	cat "$dir/modules-$flavour.cpio.gz" >>"$tmp/initrd"
	truncate -s 8G "$tmp/disk"
	mkfs.ext4 -qF "$tmp/disk" || nest_die "no file system could be made"
	set -- -virtfs "local,path=/,mount_tag=host,security_model=none,\
readonly=on,multidevs=remap" \
		-drive "file=$tmp/disk,format=raw,if=virtio,cache=unsafe,\
discard=unmap"
fi

: >"$tmp/log"
# tsc=reliable: this processor shows no invariant TSC, and a kernel with
# several of such does not believe in it; all its TSCs are one all the same.
# no_timer_check: a busy host starves the kernel's trial of the timer.
timeout "$limit" qemu-system-x86_64 -accel tcg -cpu "${CPU:-max}" -no-reboot \
	-m "${MEMORY:-1536}" -smp "${CPUS:-2}" -display none -serial stdio \
	-kernel "$dir/vmlinuz-$flavour" -initrd "$tmp/initrd" "$@" \
	-append "console=ttyS0 loglevel=4 panic=-1 tsc=reliable no_timer_check \
mitigations=off hostel.script=nest" </dev/null >"$tmp/log" 2>&1 &
pid=$!
tail -n +1 -f --pid="$pid" "$tmp/log" | sed -u 's,\r*$,,' | tee "$tmp/clean" |
	grep --line-buffered -E '^(ok|not ok|#)' &
# Signals are heard while it waits, not while a pipeline runs.
wait "$pid"
status=$?
pid=
wait
[ -z "${KEEP:-}" ] || cp "$tmp/log" "$KEEP/nest.log"

count=$(grep -cE '^(ok|not ok) ' "$tmp/clean")
if ! grep -q '^nest: done' "$tmp/clean"; then
	tail -n 15 "$tmp/clean" | sed 's/^/# /'
	echo "not ok the machine came to its end (status $status)"
	count=$((count + 1))
fi
echo "1..$count"
! grep -q '^not ok' "$tmp/clean" && grep -q '^nest: done' "$tmp/clean"
