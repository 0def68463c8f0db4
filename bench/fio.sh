#!/bin/sh
# fio.sh [--quick] - disks: Hostel beside QEMU's TCG, fio in the guest.
#
#	BENCH=randread      only these rows (seqread, seqwrite, randread,
#	                    randwrite)
#	FORMATS="raw qcow2" of the image
#	ROUNDS=3            rounds; in each Hostel and QEMU in turn
#	SECONDS_EACH=5      for each row
#	ENGINE=translator   Hostel's engine
#	BUILD=build         where `make` built
#
# Both have virtio-blk with cache=writeback on the same image, one processor, and
# direct I/O in the guest, libaio, 8 requests at a time: 128 KiB in sequence,
# 4 KiB at random.  What counts is the best of all rounds.  Needs fio,
# qemu-system-x86 and qemu-utils on the host; the guest gets the host's fio.
set -eu

top=$(cd "$(dirname "$0")/.." && pwd)
build=$top/${BUILD:-build}
cache=${HOSTEL_BENCH_DIR:-$top/.cache/bench}
guest=${HOSTEL_GUEST_DIR:-$top/.cache/guest}
rounds=${ROUNDS:-3}
seconds=${SECONDS_EACH:-5}
engine=${ENGINE:-translator}
rows=${BENCH:-seqread,seqwrite,randread,randwrite}
size=512
if [ "${1:-}" = --quick ]; then
	rounds=1
	seconds=2
fi
kernel=$guest/vmlinuz-cloud-amd64

fio_need()
{
	for program in fio qemu-img qemu-system-x86_64; do
		command -v $program >/dev/null || {
			echo "fio.sh: needs $program: apt-get install fio" \
				"qemu-utils qemu-system-x86" >&2
			exit 1
		}
	done
}

# fio and its libraries, where the loader looks for them.
fio_root()
{
	rm -rf "$cache/fio.root"
	mkdir -p "$cache/fio.root/bin" "$cache/fio.root/hostel"
	cp "$(command -v fio)" "$cache/fio.root/bin/fio"
	ldd "$(command -v fio)" | grep -o '/[^ ]*' | while read -r lib; do
		mkdir -p "$cache/fio.root${lib%/*}"
		cp -L "$lib" "$cache/fio.root$lib"
	done
	cat >"$cache/fio.root/hostel/fio" <<'END'
rows= seconds=5
for word in $(cat /proc/cmdline); do
	case $word in
	fio.rows=*) rows=$(echo "${word#*=}" | tr , ' ') ;;
	fio.seconds=*) seconds=${word#*=} ;;
	esac
done
echo 0 >/proc/sys/kernel/randomize_va_space
for row in $rows; do
	case $row in
	seqread) set -- read 128k ;;
	seqwrite) set -- write 128k ;;
	randread) set -- randread 4k ;;
	randwrite) set -- randwrite 4k ;;
	esac
	fio --name=$row --filename=/dev/vda --direct=1 --ioengine=libaio \
		--iodepth=8 --rw=$1 --bs=$2 --time_based --runtime=$seconds \
		--ramp_time=1 --randseed=1 --output-format=terse \
		--gtod_reduce=1 --terse-version=3 >/tmp/out 2>&1
	awk -F ';' -v row=$row '$1 == 3 { print "F " row, $7 + $48 }' /tmp/out
done
END
}

fio_initramfs()
{
	fio_root
	cat "$guest/initramfs.cpio.gz" "$guest/modules-cloud-amd64.cpio.gz" \
		>"$cache/fio.tmp"
	truncate -s %512 "$cache/fio.tmp"
	(cd "$cache/fio.root" && find . | LC_ALL=C sort |
		busybox cpio -o -H newc -R 0:0 2>/dev/null) >>"$cache/fio.tmp"
	mv "$cache/fio.tmp" "$cache/fio.img"
}

fio_images()
{
	[ -s "$cache/fio.raw" ] ||
		head -c ${size}M /dev/urandom >"$cache/fio.raw"
	[ -s "$cache/fio.qcow2" ] ||
		qemu-img convert -O qcow2 "$cache/fio.raw" "$cache/fio.qcow2"
}

# fio_boot SIDE FORMAT: one guest; "SIDE FORMAT row KiB/s" to $results.
fio_boot()
{
	words="console=ttyS0 quiet panic=-1 hostel.script=fio"
	words="$words fio.rows=$rows fio.seconds=$seconds"
	image=$cache/fio.$2
	cat "$image" >/dev/null # both find it in the host's page cache
	case $1 in
	hostel)
		timeout 600 "$build/hostel" run --engine "$engine" --stats \
			--memory 1G --no-reboot --kernel "$kernel" \
			--initrd "$cache/fio.img" --append "$words" \
			--disk "$image,format=$2" </dev/null 2>"$cache/fio.err"
		;;
	qemu)
		timeout 600 qemu-system-x86_64 -accel tcg -cpu max -m 1G \
			-nographic -no-reboot -kernel "$kernel" \
			-initrd "$cache/fio.img" -append "$words" \
			-drive "file=$image,format=$2,if=virtio,cache=writeback" \
			</dev/null
		;;
	esac >"$cache/fio.$1.console"
	sed -n "s/^F \([a-z]*\) \([0-9]*\).*/$1 $2 \1 \2/p" \
		"$cache/fio.$1.console" >>"$results"
}

fio_need
mkdir -p "$cache"
ninja -C "$build" hostel hostel-vm >"$cache/build.log" 2>&1 || {
	cat "$cache/build.log" >&2
	exit 1
}
sh "$top/tools/guest.sh" all
fio_initramfs
fio_images
results=$cache/fio.results
: >"$results"
round=1
while [ "$round" -le "$rounds" ]; do
	for format in ${FORMATS:-raw qcow2}; do
		for side in hostel qemu; do
			echo "round $round of $rounds: $format, $side" >&2
			fio_boot $side $format
		done
	done
	round=$((round + 1))
done
awk '
{ key = $2 " " $3; if ($4 > best[$1, key]) best[$1, key] = $4
  if (!(key in seen)) { seen[key] = 1; order[++n] = key } }
END {
	printf "%-8s %-10s %12s %12s %8s\n", "image", "row", "Hostel MiB/s",
		"QEMU MiB/s", "ratio"
	for (i = 1; i <= n; i++) {
		h = best["hostel", order[i]]; q = best["qemu", order[i]]
		split(order[i], k, " ")
		ratio = q ? h / q : 0
		low += ratio < 1.5
		printf "%-8s %-10s %12.1f %12.1f %8.2f%s\n", k[1], k[2],
			h / 1024, q / 1024, ratio, ratio < 1.5 ? "  low" : ""
	}
	exit low > 0
}' "$results"
