#!/bin/sh
# convert.sh - `hostel disk convert` beside qemu-img convert.
#
# A raw disk of 2 GiB with 300 MiB in it, half of which shrinks, into qcow2,
# packed with zlib and zstd, and back; seconds of CPU and of the clock, in turn.
#
#	ROUNDS=3	BUILD=build	HOSTEL_BENCH_DIR=.cache/bench
set -eu

top=$(cd "$(dirname "$0")/.." && pwd)
hostel=$top/${BUILD:-build}/hostel
dir=${HOSTEL_BENCH_DIR:-$top/.cache/bench}/convert

mkdir -p "$dir"
cd "$dir"
python3 - <<'END'
import random
random.seed(1)
with open("disk.raw", "wb") as f:
    f.truncate(2 << 30)
    for i in range(300):
        f.seek(random.randrange(0, 2047 << 20) & ~4095)
        f.write((random.randbytes(4096) + b"hostel." * 586)[:8192] * 128)
END

# once PROGRAM WHAT COMMAND...
once()
{
	program=$1
	what=$2
	shift 2
	rm -f "out.$program"
	{ bash -c 'TIMEFORMAT="%U %S %R"; time "$@"' \
		- "$@" >/dev/null; } 2>time
	awk -v p="$program" -v w="$what" \
		'{ printf "%-9s %-8s %6.2f s CPU %6.2f s\n", w, p, $1 + $2, $3 }' \
		time
}

for round in $(seq "${ROUNDS:-3}"); do
	once hostel copy "$hostel" disk convert disk.raw out.hostel
	once qemu copy qemu-img convert -O qcow2 disk.raw out.qemu
	for c in zlib zstd; do
		once hostel $c "$hostel" disk convert --compress \
			--compression $c disk.raw out.hostel
		once qemu $c qemu-img convert -c -o compression_type=$c \
			-O qcow2 disk.raw out.qemu
	done
	mv out.qemu packed
	once hostel unpack "$hostel" disk convert --format raw packed out.hostel
	once qemu unpack qemu-img convert -O raw packed out.qemu
	cmp out.hostel out.qemu
done
rm -rf "$dir"
