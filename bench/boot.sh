#!/bin/bash
# boot.sh [ROUNDS] - power-on to multi-user: the same Debian image, 1 GiB, two
# processors, virtio disk and network by NAT, on Hostel's translator and on
# QEMU's TCG, in turn.  The image is built at first (some minutes); its first
# boot, which makes keys and grows the disk, is not measured.
#
#	FIRMWARE=1	by SeaBIOS and GRUB, else both get kernel and initrd
#	HOSTEL=FILE	default: build/hostel
#	BOOT_HOME=DIR	default: .cache/boot, kept for the next time
#
# Prints seconds of wall clock and of processor time until the login prompt is
# on the serial console, the best of the rounds, and QEMU/Hostel.
set -eu

top=$(cd "$(dirname "$0")/.." && pwd)
rounds=${1:-3}
hostel=${HOSTEL:-$top/build/hostel}
export HOSTEL_HOME=${BOOT_HOME:-$top/.cache/boot}
guest=$HOSTEL_HOME/guests/boot
limit=300
tmp=$(mktemp -d)
pid=
trap '[ -z "$pid" ] || kill "$pid" 2>/dev/null; rm -rf "$tmp"' EXIT
trap 'exit 1' INT TERM

# A guest that has done its first boot and is off.
boot_prepare()
{
	[ ! -e "$guest/ready" ] || return 0
	"$hostel" rm boot 2>/dev/null || :
	printf '#!/bin/sh\nsystemctl poweroff\n' >"$tmp/user-data"
	timeout 900 "$hostel" run debian:12 --name boot --engine translator \
		--user-data "$tmp/user-data" </dev/null >"$tmp/first.log" ||
		{ tail -n 5 "$tmp/first.log" >&2; exit 1; }
	: >"$guest/ready"
}

# Jiffies of a process and its children that run.
boot_cpu()
{
	for p in "$1" $(pgrep -P "$1"); do
		awk '{ print $14 + $15 }' "/proc/$p/stat" 2>/dev/null || :
	done | awk -v hz="$(getconf CLK_TCK)" '{ s += $1 } END { print s / hz }'
}

boot_start_hostel()
{
	set -- --disk "$tmp/disk.qcow2" --net nat --memory 1G --cpus 2 \
		--engine translator --console "$tmp/serial"
	if [ -n "${FIRMWARE:-}" ]; then
		set -- "$@" --firmware bios
	else
		set -- "$@" --kernel "$guest/kernel" --initrd "$guest/initrd" \
			--append "$(cat "$guest/cmdline")"
	fi
	"$hostel" run "$@" </dev/null >/dev/null 2>"$tmp/err" &
	pid=$!
}

boot_start_qemu()
{
	set -- -accel tcg,thread=multi -cpu max -m 1G -smp 2 -display none \
		-monitor none -serial "file:$tmp/serial" -nic \
		user,model=virtio-net-pci -device virtio-rng-pci \
		-drive "if=virtio,format=qcow2,file=$tmp/disk.qcow2"
	[ -n "${FIRMWARE:-}" ] ||
		set -- "$@" -kernel "$guest/kernel" -initrd "$guest/initrd" \
			-append "$(cat "$guest/cmdline")"
	qemu-system-x86_64 "$@" </dev/null >/dev/null 2>"$tmp/err" &
	pid=$!
}

# boot_one WHO: one line "WHO wall cpu".
boot_one()
{
	cp "$guest/disk.qcow2" "$tmp/disk.qcow2"
	: >"$tmp/serial"
	began=$(date +%s%N)
	"boot_start_$1"
	until grep -q 'login: ' "$tmp/serial"; do
		if ! kill -0 "$pid" 2>/dev/null ||
				[ $(($(date +%s%N) - began)) -gt \
				${limit}000000000 ]; then
			echo "boot.sh: $1 did not come up" >&2
			cat "$tmp/err" >&2
			tail -n 3 "$tmp/serial" >&2
			exit 1
		fi
		sleep 0.05
	done
	ended=$(date +%s%N)
	cpu=$(boot_cpu "$pid")
	kill "$pid"
	wait "$pid" || :
	pid=
	echo "$1 $(((ended - began) / 1000000)) $cpu"
}

boot_prepare
for round in $(seq "$rounds"); do
	boot_one hostel
	boot_one qemu
done | tee /dev/stderr | awk '
	!($1 in wall) || $2 < wall[$1] { wall[$1] = $2 }
	!($1 in cpu) || $3 < cpu[$1] { cpu[$1] = $3 }
	END {
		print "power-on to multi-user   Hostel    QEMU   QEMU/Hostel"
		printf "  wall, s              %8.2f %7.2f %8.2f\n",
			wall["hostel"] / 1000, wall["qemu"] / 1000,
			wall["qemu"] / wall["hostel"]
		printf "  processor, s         %8.2f %7.2f %8.2f\n",
			cpu["hostel"], cpu["qemu"], cpu["qemu"] / cpu["hostel"]
	}'
