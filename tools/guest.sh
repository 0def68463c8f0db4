#!/bin/sh
# guest.sh - the guests that `make run` and the tests boot.
#
#   guest.sh all              fetch both stock kernels, make the initramfs and
#                             the archives of modules
#   guest.sh kernel FLAVOUR   FLAVOUR is amd64 or cloud-amd64
#   guest.sh initramfs
#   guest.sh modules FLAVOUR  the archive of that kernel's drivers: what
#                             virtio and other devices of ours need, and file
#                             systems; to be put behind the initramfs
#   guest.sh module FLAVOUR NAME DIR
#                             put NAME.ko of that kernel's package into DIR
#
# Everything lands in $HOSTEL_GUEST_DIR (default: .cache/guest in the
# checkout) and is made once: vmlinuz-FLAVOUR, release-FLAVOUR (its `uname -r`),
# initramfs.cpio.gz and modules-FLAVOUR.cpio.gz.  Needs no root, only apt's
# package lists.
#
# The archives are apart because the kernel takes several, one after the other
# (cat initramfs.cpio.gz modules-amd64.cpio.gz), and most guests need no
# modules.  /init loads what the guest's devices ask for.
set -eu

top=$(cd "$(dirname "$0")/.." && pwd)
dir=${HOSTEL_GUEST_DIR:-$top/.cache/guest}

guest_die()
{
	echo "guest.sh: $*" >&2
	exit 1
}

# The concrete package behind the metapackage linux-image-FLAVOUR.
guest_package()
{
	apt-cache depends "linux-image-$1" |
		sed -n 's/.*Depends: \(linux-image-[0-9].*\)/\1/p' | head -n 1
}

guest_download()
{
	(cd "$2" && apt-get -q -o APT::Sandbox::User=root download "$1") >&2
}

# Downloads the package into a directory of its own, so that an interrupted
# download is never taken for a whole one.
guest_fetch()
{
	flavour=$1
	package=$(guest_package "$flavour")
	[ -n "$package" ] ||
		guest_die "apt knows no linux-image-$flavour; run apt-get update"
	tmp=$(mktemp -d "$dir/fetch.XXXXXX")
	trap 'rm -rf "$tmp"' EXIT
	echo "guest.sh: fetching $package" >&2
	if ! guest_download "$package" "$tmp"; then
		# Stale lists name a version that is no longer there.
		apt-get update >&2 2>/dev/null || sudo -n apt-get update >&2 ||
			guest_die "cannot fetch $package; run apt-get update"
		guest_download "$(guest_package "$flavour")" "$tmp" ||
			guest_die "cannot fetch linux-image-$flavour"
	fi
	mv "$tmp"/*.deb "$dir/linux-$flavour.deb"
	rm -rf "$tmp"
	trap - EXIT
}

guest_kernel()
{
	flavour=$1
	out=$dir/vmlinuz-$flavour
	[ ! -s "$out" ] || return 0
	[ -s "$dir/linux-$flavour.deb" ] || guest_fetch "$flavour"
	tmp=$(mktemp -d "$dir/unpack.XXXXXX")
	dpkg-deb --fsys-tarfile "$dir/linux-$flavour.deb" |
		tar -x -C "$tmp" --wildcards './boot/vmlinuz-*'
	image=$(echo "$tmp"/boot/vmlinuz-*)
	echo "${image##*/vmlinuz-}" >"$dir/release-$flavour"
	mv "$image" "$out"
	rm -rf "$tmp"
}

guest_initramfs()
{
	out=$dir/initramfs.cpio.gz
	if [ -s "$out" ] && [ -z "$(find "$top/tools/guest" \
			"$top/tools/initramfs.sh" -newer "$out")" ]; then
		return 0
	fi
	sh "$top/tools/initramfs.sh" base "$out"
}

# Those of them that the flavour has, with what they depend on.
guest_modules="virtio_pci virtio_mmio virtio_blk virtio_net virtio-rng
	virtio_console virtio_balloon virtio_scsi virtio_input
	vmw_vsock_virtio_transport 9pnet_virtio 9p virtiofs
	ahci ata_piix 8021q sd_mod sr_mod e1000 e1000e psmouse evdev
	ext4 crc32c_generic crc32c-intel isofs vfat nls_cp437 nls_iso8859-1
	nls_ascii overlay squashfs loop"

# Puts module $2 of the tree $1, and what it needs, into the tree $3.
guest_copy_module()
{
	line=$(grep "/$2\.ko:" "$1/modules.dep") || return 0
	for file in ${line%%:*} ${line#*:}; do
		mkdir -p "$3/${file%/*}"
		cp "$1/$file" "$3/$file"
	done
}

guest_modules()
{
	out=$dir/modules-$1.cpio.gz
	if [ -s "$out" ] && [ -z "$(find "$top/tools/guest.sh" \
			-newer "$out")" ]; then
		return 0
	fi
	[ -s "$dir/linux-$1.deb" ] || guest_fetch "$1"
	tmp=$(mktemp -d "$dir/unpack.XXXXXX")
	trap 'rm -rf "$tmp"' EXIT
	mkdir -p "$tmp/all"
	dpkg-deb --fsys-tarfile "$dir/linux-$1.deb" |
		tar -x -C "$tmp/all" --wildcards './lib/modules/*'
	release=$(ls "$tmp/all/lib/modules")
	busybox depmod -b "$tmp/all" "$release"
	from=$tmp/all/lib/modules/$release
	to=$tmp/out/lib/modules/$release
	mkdir -p "$to"
	for name in $guest_modules; do
		guest_copy_module "$from" "$name" "$to"
	done
	busybox depmod -b "$tmp/out" "$release"
	sh "$top/tools/initramfs.sh" pack "$out" "$tmp/out"
	rm -rf "$tmp"
	trap - EXIT
}

# Unpacking the package takes seconds, so what was wanted once is kept.
guest_module()
{
	kept=$dir/modules-$1
	if [ ! -s "$kept/$2.ko" ]; then
		[ -s "$dir/linux-$1.deb" ] || guest_fetch "$1"
		mkdir -p "$kept"
		dpkg-deb --fsys-tarfile "$dir/linux-$1.deb" |
			tar -x -O --wildcards "*/$2.ko" >"$kept/$2.ko.$$" ||
			guest_die "no module $2 in linux-$1.deb"
		mv "$kept/$2.ko.$$" "$kept/$2.ko"
	fi
	mkdir -p "$3"
	cp "$kept/$2.ko" "$3"
}

mkdir -p "$dir"
case ${1:-all} in
all)
	guest_kernel amd64
	guest_kernel cloud-amd64
	guest_initramfs
	guest_modules amd64
	guest_modules cloud-amd64
	;;
kernel) guest_kernel "$2" ;;
initramfs) guest_initramfs ;;
modules) guest_modules "$2" ;;
module) guest_module "$2" "$3" "$4" ;;
*) guest_die "unknown verb '$1': all, kernel, initramfs, modules, module" ;;
esac
