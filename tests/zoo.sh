#!/bin/bash
# zoo.sh - starts systems that nobody here has written: kernels, hypervisors,
# boot loaders and firmware out of Debian's packages.  Not a part of `make
# test`: it downloads some 500 MB, once, and takes half an hour.
#
#	ONLY=REGEX	names of those to start (default: all)
#	HOSTEL=FILE	default: build/hostel
#	ZOO_DIR=DIR	packages and logs (default: .cache/zoo)
#	LIMIT=SECONDS	for each (default: 240)
#
# Prints a line for each; ends with 1 if one did not get where it should.  What
# a package is not there for is skipped, with a word.
set -u

top=$(cd "$(dirname "$0")/.." && pwd)
hostel=${HOSTEL:-$top/build/hostel}
dir=${ZOO_DIR:-$top/.cache/zoo}
ONLY=${ONLY:-.} LIMIT=${LIMIT:-240}
mirror=${MIRROR:-http://deb.debian.org/debian}
started=0 failures=0
mkdir -p "$dir"/{apt/{etc/{apt.conf.d,preferences.d},cache,state,dpkg},deb,pkg,iso,log}

# --- Packages, by an apt of our own: other suites, other architectures -------

apt_setup()
{
	export APT_CONFIG=$dir/apt/apt.conf
	[ ! -s "$dir/apt/ready" ] || return 0
	: >"$dir/apt/dpkg/status"
	for suite in bullseye bookworm bookworm-backports trixie sid; do
		echo "deb [check-valid-until=no signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror $suite main"
	done >"$dir/apt/etc/sources.list"
	cat >"$APT_CONFIG" <<-CONF
		Dir::State "$dir/apt/state";
		Dir::State::status "$dir/apt/dpkg/status";
		Dir::Cache "$dir/apt/cache";
		Dir::Etc "$dir/apt/etc";
		Dir::Etc::sourceparts "/dev/null";
		APT::Architectures { "amd64"; "i386"; };
		APT::Architecture "amd64";
		APT::Sandbox::User "root";
		Acquire::Languages "none";
	CONF
	apt-get -qq update && date >"$dir/apt/ready"
}

# package NAME[:ARCH] SUITE: unpacked in $dir/pkg/NAME_SUITE, which it prints.
package()
{
	to=$dir/pkg/${1/:/_}_$2
	if [ ! -d "$to" ]; then
		rm -rf "$to.new" && mkdir -p "$to.new"
		(cd "$dir/deb" && rm -f ./*.deb &&
			apt-get -qq download "$1/$2" &&
			dpkg-deb -x ./*.deb "$to.new" &&
			mv "$to.new" "$to" && rm -f ./*.deb) >&2 ||
			return 1
	fi
	echo "$to"
}

# kernel META[:ARCH] SUITE: the file of the kernel that a package stands for.
kernel()
{
	real=$(apt-cache depends "${1%:*}:${1#*:}" -t "$2" 2>/dev/null |
		sed -n 's/.*Depends: \(linux-image-[^ ]*\).*/\1/p' | head -n 1)
	case $real in '') return 1 ;; *:*) ;; *) real=$real:${1#*:} ;; esac
	at=$(package "$real" "$2") || return 1
	find "$at" -name 'vmlinuz*' -type f | head -n 1
}

# A userland that says how it is, and powers off.
initramfs() # ARCH
{
	[ ! -s "$dir/initramfs-$1" ] || return 0
	at=$(package "busybox-static:$1" bookworm) || return 1
	root=$dir/root-$1
	mkdir -p "$root"/{bin,proc,sys,dev}
	cp "$at/bin/busybox" "$root/bin/"
	cat >"$root/init" <<-'INIT'
		#!/bin/busybox sh
		b=/bin/busybox
		$b mount -t proc proc /proc
		$b mount -t sysfs sysfs /sys
		for c in /sys/devices/system/cpu/cpu[1-9]*/online; do
			[ -e "$c" ] || continue
			echo 0 >$c && echo 1 >$c || echo "zoo: cannot unplug"
		done
		$b dd if=/dev/urandom bs=1M count=8 2>/dev/null | $b md5sum
		$b sleep 1
		echo "zoo: $($b uname -r), $($b nproc) processors"
		$b poweroff -f
	INIT
	chmod +x "$root/init"
	(cd "$root" && find . | cpio -o -H newc 2>/dev/null | gzip -1) \
		>"$dir/initramfs-$1"
}

# --- Starting one -------------------------------------------------------------

odd='WARNING|BUG:|Oops|Call Trace|Kernel panic|zoo: cannot'
odd="$odd|clocksource.*unstable"
odd="$odd|unchecked MSR|soft lockup|rcu.*stall|Panic on CPU"

# start NAME EXPECTED OPTION...: its console must say so within LIMIT.
start()
{
	local name=$1 expected=$2 log from pid
	shift 2
	echo "$name" | grep -qE "$ONLY" || return 0
	log=$dir/log/${name//[ \/]/-}
	from=$SECONDS
	started=$((started + 1))
	"$hostel" run "$@" --no-reboot --timeout "$LIMIT" \
		</dev/null >"$log" 2>"$log.err" &
	pid=$!
	while kill -0 $pid 2>/dev/null; do
		! grep -aqE "$expected" "$log" || { sleep 2; break; }
		sleep 1
	done
	kill $pid 2>/dev/null
	wait $pid
	if ! grep -aqE "$expected" "$log"; then
		failures=$((failures + 1))
		echo "FAILED  $name: see $log"
	elif grep -aqE "$odd" "$log"; then
		failures=$((failures + 1))
		echo "ODD     $name: $(grep -aEm1 "$odd" "$log" | tr -d '\r')"
	else
		echo "ok      $name ($((SECONDS - from)) s)"
	fi
}

# iso NAME MENU FILE...: a disc with GRUB, for both firmwares; prints its name.
iso()
{
	out=$dir/iso/$1.iso root=$dir/iso/$1 menu=$2
	shift 2
	mkdir -p "$root/boot/grub"
	cp "$@" "$root/boot/"
	printf 'set timeout=0\nmenuentry zoo {\n%b\n}\n' "$menu" \
		>"$root/boot/grub/grub.cfg"
	grub-mkrescue -o "$out" "$root" >/dev/null 2>&1 && echo "$out"
}

skip()
{
	! echo "$1" | grep -qE "$ONLY" || echo "skipped $1: no package"
}

# --- The systems --------------------------------------------------------------

linux_kernels()
{
	while read -r meta suite; do
		arch=${meta#*:} name="${meta%:*} $suite"
		echo "$name" | grep -qE "$ONLY" || continue
		k=$(kernel "$meta" "$suite") && [ -n "$k" ] ||
			{ skip "$name"; continue; }
		for engine in translator:1 translator:2 interpreter:1; do
			start "$name ${engine/:/ x}" '^zoo: [0-9]' \
				--kernel "$k" \
				--initrd "$dir/initramfs-$arch" \
				--append "console=ttyS0 panic=1" \
				--engine ${engine%:*} --cpus ${engine#*:}
		done
	done <<-LIST
		linux-image-amd64:amd64 bullseye
		linux-image-cloud-amd64:amd64 bullseye
		linux-image-686:i386 bullseye
		linux-image-amd64:amd64 bookworm
		linux-image-rt-amd64:amd64 bookworm
		linux-image-686:i386 bookworm
		linux-image-686-pae:i386 bookworm
		linux-image-amd64:amd64 trixie
		linux-image-cloud-amd64:amd64 trixie
		linux-image-rt-amd64:amd64 trixie
	LIST
}

# Each on two processors; the kernel is the same.
linux_options()
{
	k=$(kernel linux-image-amd64:amd64 bookworm) || return
	while read -r options; do
		start "options $options" '^zoo: [0-9]' --kernel "$k" \
			--initrd "$dir/initramfs-amd64" --cpus 2 --append \
			"console=ttyS0 panic=1 $options"
	done <<-LIST
		noapic
		nolapic
		acpi=off
		acpi=off noapic pci=nomsi
		acpi=off nolapic
		pci=noacpi,nocrs
		pci=conf1 pci=nomsi
		nox2apic lapic=notscdeadline
		clocksource=acpi_pm
		no-kvmclock notsc
		nohz=off highres=off
		idle=poll
		pti=on mitigations=auto
		nosmap nosmep nopcid noxsave
		mem=128M
		maxcpus=1
	LIST
}

firmwares()
{
	k=$(kernel linux-image-amd64:amd64 bookworm) &&
		disc=$(iso linux "linux /boot/$(basename "$k") console=ttyS0\ninitrd /boot/initramfs-amd64" \
			"$k" "$dir/initramfs-amd64") || return
	while read -r package suite file; do
		name="$package $suite $(basename "$file")"
		at=$(package "$package" "$suite") && [ -e "$at/$file" ] ||
			{ skip "$name"; continue; }
		start "$name" '^zoo: [0-9]' --firmware "$at/$file" \
			--cdrom "$disc" --cpus 2 --memory 1G
	done <<-LIST
		seabios bullseye usr/share/seabios/bios.bin
		seabios bullseye usr/share/seabios/bios-256k.bin
		seabios bookworm usr/share/seabios/bios-256k.bin
		seabios sid usr/share/seabios/bios-256k.bin
		ovmf bullseye usr/share/OVMF/OVMF_CODE.fd
		ovmf bookworm usr/share/OVMF/OVMF_CODE_4M.fd
		ovmf-generic sid usr/share/OVMF/OVMF_CODE_4M.fd
		ovmf-legacy sid usr/share/ovmf/OVMF.legacy.fd
	LIST
}

# Hypervisors, other kernels, and programs that are their own system.
others()
{
	k=$(kernel linux-image-amd64:amd64 bullseye)
	for v in 4.17:bookworm 4.20:trixie; do
		at=$(package xen-hypervisor-${v%:*}-amd64 ${v#*:}) &&
			disc=$(iso xen "multiboot2 /boot/xen-${v%:*}-amd64.gz console=com1 com1=115200,8n1 dom0_mem=400M\nmodule2 /boot/$(basename "$k") console=hvc0\nmodule2 /boot/initramfs-amd64" \
				"$at/boot/xen-${v%:*}-amd64.gz" "$k" \
				"$dir/initramfs-amd64") ||
			{ skip "xen ${v%:*}"; continue; }
		for f in bios uefi; do
			start "xen ${v%:*} $f" '^zoo: [0-9]' --firmware $f \
				--cdrom "$disc" --memory 1G --cpus 2
		done
	done
	at=$(package gnumach-image-1.8-486:i386 bookworm) &&
		disc=$(iso mach "multiboot /boot/gnumach-1.8-486.gz console=com0" \
			"$at/boot/gnumach-1.8-486.gz") &&
		start "gnumach 1.8" 'sd0: timeout waiting|no bootstrap|RTC time' \
			--firmware bios --cdrom "$disc"
	at=$(package memtest86+ bookworm) &&
		disc=$(iso memtest "linux /boot/memtest86+x64.bin console=ttyS0,115200" \
			"$at/boot/memtest86+x64.bin") &&
		for f in bios uefi; do
			start "memtest86+ $f" 'Test +#' --firmware $f \
				--cdrom "$disc" --memory 128M --cpus 2
		done
	at=$(package ipxe bookworm) &&
		start "ipxe.iso" 'Nothing to boot|No more network' --net nat \
			--firmware bios --cdrom "$at/usr/lib/ipxe/ipxe.iso"
	at=$(package u-boot-qemu bookworm) &&
		for w in x86 x86_64; do
			start "u-boot $w" '^=> ' --firmware \
				"$at/usr/lib/u-boot/qemu-$w/u-boot.rom"
		done
}

apt_setup && initramfs amd64 && initramfs i386 ||
	{ echo "zoo.sh: no packages from $mirror" >&2; exit 77; }
linux_kernels
linux_options
firmwares
others
echo "$started started, $failures failed"
[ "$failures" = 0 ]
