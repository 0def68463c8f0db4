#!/bin/sh
# run.sh [--quick] - Hostel, QEMU's TCG and the bare processor, compared.
#
#	BENCH=syscall,lua   only these rows (bench/rows.txt; and poweron)
#	ROUNDS=3            rounds; in each Hostel, QEMU and the processor in turn
#	ENGINE=translator   Hostel's engine
#	SCALE=100           percent of the ordinary time for each row
#	CLOCK=wall          cpu: of whole programs (gzip, tcc, Python, ...) the
#	                    processor time counts that Hostel or QEMU took for
#	                    them: for hosts that are busy with other things
#	BUILD=build         where `make` built
#
# Each row's time is measured inside the guest by CLOCK_MONOTONIC; that this
# clock agrees with the host's is checked.  What counts is the shortest time of
# all rounds.  The raw results stay in .cache/bench/results, consoles beside it.
set -eu

top=$(cd "$(dirname "$0")/.." && pwd)
build=$top/${BUILD:-build}
cache=${HOSTEL_BENCH_DIR:-$top/.cache/bench}
guest=${HOSTEL_GUEST_DIR:-$top/.cache/guest}
export HOSTEL_BENCH_DIR="$cache" HOSTEL_GUEST_DIR="$guest"
rounds=${ROUNDS:-3}
scale=${SCALE:-100}
engine=${ENGINE:-translator}
if [ "${1:-}" = --quick ]; then
	rounds=1
	scale=25
fi

rows_of()
{
	awk -v cpus="$1" -v only="${BENCH:-}" '
	BEGIN { n = split(only, o, ","); for (i = 1; i <= n; i++) want[o[i]] }
	/^#/ || $2 != cpus || (n && !($1 in want)) { next }
	{ printf "%s%s", comma, $1; comma = "," }' "$top/bench/rows.txt"
}

wanted()
{
	case ",${BENCH:-poweron}," in *,"$1",*) ;; *) return 1 ;; esac
}

# boot SIDE CPUS INITRD WORDS: one guest; its results, prefixed, to $results.
boot()
{
	echo "$1 boot $2" >>"$results"
	words="console=ttyS0 quiet panic=-1 $4"
	case $1 in
	hostel)
		set -- "$1" "$3" "$words" "$build/hostel" run \
			--engine "$engine" --cpus "$2" --memory 512M \
			--no-reboot --stats --timeout 600 \
			--kernel "$kernel" --initrd "$3" --append "$words"
		;;
	qemu)
		set -- "$1" "$3" "$words" qemu-system-x86_64 \
			-accel tcg,thread=multi -cpu max -smp "$2" -m 512M \
			-nographic -no-reboot \
			-kernel "$kernel" -initrd "$3" -append "$words"
		;;
	esac
	side=$1
	shift 3
	log=$cache/$side.console
	"$build/bench/drive" 900 "$log" "$@" </dev/null 2>"$cache/$side.err" |
		sed "s/^/$side /" >>"$results"
	sed -n "s/.*\"memory_touched\":\([0-9]*\).*/$side touched \1/p" \
		"$cache/$side.err" >>"$results"
}

guest_round()
{
	wanted poweron &&
		boot "$1" 1 "$guest/initramfs.cpio.gz" hostel.cmd=true
	for cpus in 1 2; do
		rows=$(rows_of $cpus)
		[ -z "$rows" ] || boot "$1" $cpus "$cache/initramfs.img" \
			"hostel.script=bench bench.scale=$scale bench.rows=$rows"
	done
}

native_round()
{
	rows=$(rows_of 1),$(rows_of 2)
	BENCH_NATIVE=1 sh "$cache/root/bench/rows.sh" "$cache/root" "$rows" "$scale" |
		sed 's/^/native /' >>"$results"
}

mkdir -p "$cache"
ninja -C "$build" bench/programs bench/drive >"$cache/build.log" 2>&1 || {
	cat "$cache/build.log" >&2
	exit 1
}
sh "$top/bench/rootfs.sh" "$build"
kernel=$guest/vmlinuz-cloud-amd64
results=$cache/results
: >"$results"
round=1
while [ "$round" -le "$rounds" ]; do
	for side in hostel qemu native; do
		echo "round $round of $rounds: $side" >&2
		case $side in
		native) native_round ;;
		*) guest_round "$side" ;;
		esac
	done
	round=$((round + 1))
done
awk -v clock="${CLOCK:-wall}" -v only="${BENCH:-}" \
	-f "$top/bench/table.awk" "$top/bench/rows.txt" \
	"$results"
