#!/bin/bash
# soak.sh - boots both stock kernels many times and looks for anything odd.
#
#	N=50 JOBS=1 BUSY=0 ENGINE=auto CPUS=1 bash tests/soak.sh
#
# N boots of each kernel, JOBS at a time; BUSY=1 keeps another core busy all
# the while.  A boot is good if it ends with status 0, reached /init, and its
# log has no warning or backtrace.  The logs of bad ones stay in SOAK_DIR.
set -u

top=$(cd "$(dirname "$0")/.." && pwd)
N=${N:-50} JOBS=${JOBS:-1} BUSY=${BUSY:-0} ENGINE=${ENGINE:-auto}
CPUS=${CPUS:-1} LIMIT=${LIMIT:-180}
FLAVOURS=${FLAVOURS:-cloud-amd64 amd64}
HOSTEL=${HOSTEL:-$top/build/hostel}
KERNELS=${HOSTEL_GUEST_DIR:-$top/.cache/guest}
dir=${SOAK_DIR:-$(mktemp -d)}
mkdir -p "$dir"

odd='WARNING|BUG:|Oops|Call Trace|Kernel panic|clocksource.*unstable'
odd="$odd|Spurious|unexpected IRQ|unchecked MSR|soft lockup|rcu.*stall"

# soak_boot FLAVOUR NUMBER: leaves a line "ok SECONDS" or "bad WHY".
soak_boot()
{
	log=$dir/$1-$2.log
	from=$(date +%s%N)
	"$HOSTEL" run --engine "$ENGINE" --cpus "$CPUS" \
		--kernel "$KERNELS/vmlinuz-$1" \
		--initrd "$KERNELS/initramfs.cpio.gz" --timeout "$LIMIT" \
		--append "console=ttyS0 hostel.script=about" \
		</dev/null >"$log" 2>&1
	status=$?
	ms=$((($(date +%s%N) - from) / 1000000))
	if [ "$status" != 0 ]; then
		echo "bad status $status, see $log"
	elif ! grep -q 'ended with status 0' "$log"; then
		echo "bad: never reached the script, see $log"
	elif grep -qE "$odd" "$log"; then
		echo "bad: $(grep -E "$odd" "$log" | head -n 1), see $log"
	else
		echo "ok $ms"
		rm -f "$log"
	fi
}

busy=
if [ "$BUSY" != 0 ]; then
	(while :; do :; done) &
	busy=$!
fi
trap '[ -z "$busy" ] || kill "$busy"' EXIT
trap 'exit 1' INT TERM

: >"$dir/results"
for flavour in $FLAVOURS; do
	for i in $(seq "$N"); do
		while [ "$(jobs -rp | grep -vcx "${busy:-none}")" -ge "$JOBS" ]
		do
			sleep 0.1
		done
		echo "$flavour $i $(soak_boot "$flavour" "$i")" \
			>>"$dir/results" &
	done
done
for job in $(jobs -rp | grep -vx "${busy:-none}"); do
	wait "$job"
done

grep ' bad' "$dir/results"
awk '
$3 == "ok" { good++; sum += $4; if ($4 > max) max = $4
	if (!min || $4 < min) min = $4 }
END {
	printf "%d boots, %d good, %d bad", NR, good, NR - good
	if (good)
		printf "; power-on to power-off %.1f s (%.1f to %.1f)",
			sum / good / 1000, min / 1000, max / 1000
	print ""
	exit NR != good
}' "$dir/results"
