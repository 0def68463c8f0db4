#!/bin/sh
# net.sh [--quick] - networks: Hostel beside QEMU's TCG, iperf3 over TCP.
#
#	BENCH=to_host       only these rows: to_host (guest to host, by NAT),
#	                    from_host (the other way), guests (guest to guest,
#	                    by the switch)
#	ROUNDS=3            rounds; in each Hostel and QEMU in turn
#	SECONDS_EACH=5      for each row
#	ENGINE=translator   Hostel's engine
#	BUILD=build         where `make` built
#
# Both have one virtio card and one processor a guest.  QEMU's networks are
# -netdev user and -netdev socket.  What counts is the best of all rounds.
# Needs iperf3 and qemu-system-x86 on the host; guests get the host's iperf3.
set -eu

top=$(cd "$(dirname "$0")/.." && pwd)
build=$top/${BUILD:-build}
cache=${HOSTEL_BENCH_DIR:-$top/.cache/bench}
guest=${HOSTEL_GUEST_DIR:-$top/.cache/guest}
rounds=${ROUNDS:-3}
seconds=${SECONDS_EACH:-5}
engine=${ENGINE:-translator}
rows=$(echo "${BENCH:-to_host,from_host,guests}" | tr , ' ')
port=$((20000 + $$ % 20000))
if [ "${1:-}" = --quick ]; then
	rounds=1
	seconds=2
fi
kernel=$guest/vmlinuz-cloud-amd64

net_need()
{
	for program in iperf3 qemu-system-x86_64; do
		command -v $program >/dev/null || {
			echo "net.sh: needs $program: apt-get install iperf3" \
				"qemu-system-x86" >&2
			exit 1
		}
	done
}

net_root()
{
	rm -rf "$cache/net.root"
	mkdir -p "$cache/net.root/bin" "$cache/net.root/hostel"
	cp "$(command -v iperf3)" "$cache/net.root/bin/iperf3"
	ldd "$(command -v iperf3)" | grep -o '/[^ ]*' | while read -r lib; do
		mkdir -p "$cache/net.root${lib%/*}"
		cp -L "$lib" "$cache/net.root$lib"
	done
	cat >"$cache/net.root/hostel/net" <<'END'
for word in $(cat /proc/cmdline); do
	case $word in
	net.row=*) row=${word#*=} ;;
	net.seconds=*) seconds=${word#*=} ;;
	net.port=*) port=${word#*=} ;;
	esac
done
ip link set lo up
ip link set eth0 up
case $row in
server | client) net=10.9.0 ;;
*) net=10.0.2 ;;
esac
me=15
[ $row != server ] || me=2
ip addr add $net.$me/24 dev eth0
ip route add default via $net.2 2>/dev/null
case $row in
server)
	iperf3 -s -1 -p $port >/dev/null 2>&1
	exit
	;;
client | to_host) set -- ;;
from_host) set -- -R ;;
esac
for try in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
	ping -c 1 -w 1 -W 1 $net.2 >/dev/null 2>&1 && break
done
sleep 1
iperf3 -c $net.2 -p $port -t $seconds -O 1 -f m "$@" >/tmp/out 2>&1
awk '/receiver/ { print "N " $(NF - 2); ok = 1 } END { if (!ok) print "N 0" }
' /tmp/out
grep -q receiver /tmp/out || cat /tmp/out
END
}

net_initramfs()
{
	net_root
	cat "$guest/initramfs.cpio.gz" "$guest/modules-cloud-amd64.cpio.gz" \
		>"$cache/net.tmp"
	truncate -s %512 "$cache/net.tmp"
	(cd "$cache/net.root" && find . | LC_ALL=C sort |
		busybox cpio -o -H newc -R 0:0 2>/dev/null) >>"$cache/net.tmp"
	mv "$cache/net.tmp" "$cache/net.img"
}

# net_guest SIDE ROLE NETWORK: one guest; its console on stdout.
net_guest()
{
	words="console=ttyS0 quiet panic=-1 hostel.script=net net.row=$2"
	words="$words net.seconds=$seconds net.port=$port"
	case $1 in
	hostel)
		timeout 120 "$build/hostel" run --engine "$engine" \
			--memory 512M --no-reboot --kernel "$kernel" \
			--initrd "$cache/net.img" --append "$words" \
			--net "$3" --stats </dev/null \
			2>>"$cache/net.$1.$2.err"
		;;
	qemu)
		timeout 120 qemu-system-x86_64 -accel tcg -cpu max -m 512M \
			-nographic -no-reboot -kernel "$kernel" \
			-initrd "$cache/net.img" -append "$words" \
			-netdev "$3,id=n" \
			-device "virtio-net-pci,netdev=n,mac=$4" </dev/null
		;;
	esac
}

# net_row SIDE ROW: the Mbit/s of it.
net_row()
{
	mac=52:54:00:00:00
	case $1.$2 in
	hostel.guests)
		net_guest hostel server switch:bench >"$cache/net.server" &
		net_guest hostel client switch:bench
		wait $!
		;;
	qemu.guests)
		net_guest qemu server socket,listen=127.0.0.1:$((port + 1)) \
			$mac:01 >"$cache/net.server" &
		sleep 1
		net_guest qemu client socket,connect=127.0.0.1:$((port + 1)) \
			$mac:02
		wait $!
		;;
	*)
		iperf3 -s -1 -B 127.0.0.1 -p "$port" >/dev/null &
		if [ "$1" = hostel ]; then
			net_guest hostel "$2" nat,loopback
		else
			net_guest qemu "$2" user $mac:01
		fi
		kill $! 2>/dev/null || true
		;;
	esac >"$cache/net.$1.console"
	sed -n "s/^N \([0-9.]*\).*/$1 $2 \1/p" "$cache/net.$1.console"
}

net_need
mkdir -p "$cache"
ninja -C "$build" hostel hostel-vm hostel-switch >"$cache/build.log" 2>&1 || {
	cat "$cache/build.log" >&2
	exit 1
}
sh "$top/tools/guest.sh" all
net_initramfs
results=$cache/net.results
: >"$results"
round=1
while [ "$round" -le "$rounds" ]; do
	for row in $rows; do
		for side in hostel qemu; do
			echo "round $round of $rounds: $row, $side" >&2
			net_row $side $row >>"$results"
			port=$((port + 2))
		done
	done
	round=$((round + 1))
done
awk '
{ if ($3 > best[$1, $2]) best[$1, $2] = $3
  if (!($2 in seen)) { seen[$2] = 1; order[++n] = $2 } }
END {
	printf "%-10s %14s %14s %8s\n", "row", "Hostel Mbit/s",
		"QEMU Mbit/s", "ratio"
	for (i = 1; i <= n; i++) {
		h = best["hostel", order[i]]; q = best["qemu", order[i]]
		printf "%-10s %14.0f %14.0f %8.2f\n", order[i], h, q,
			q ? h / q : 0
		bad += h < 1.5 * q
	}
	exit bad > 0
}' "$results"
