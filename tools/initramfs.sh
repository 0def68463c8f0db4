#!/bin/sh
# initramfs.sh - makes initial RAM file systems for guests.
#
#   initramfs.sh base OUT           busybox, /init and the scripts beside it
#   initramfs.sh add OUT BASE NAME=FILE...
#                                   BASE plus files, e.g. hostel/mine=my.sh
#   initramfs.sh pack OUT DIR       a directory as it is
#
# The kernel unpacks archives that follow each other, so adding a file is
# appending a small archive; a later file of the same name wins.  Needs
# busybox (cpio, gzip come from it or the system) and no root: device nodes
# come from devtmpfs, and /dev/console from the kernel's built-in archive.
set -eu

here=$(cd "$(dirname "$0")" && pwd)

initramfs_die()
{
	echo "initramfs.sh: $*" >&2
	exit 1
}

initramfs_pack()
{
	(cd "$1" && find . | LC_ALL=C sort |
		busybox cpio -o -H newc -R 0:0 2>/dev/null) | gzip -9n
}

initramfs_base()
{
	busybox=$(command -v busybox) || initramfs_die "no busybox here"
	mkdir -p "$tmp/bin" "$tmp/dev" "$tmp/proc" "$tmp/sys" "$tmp/tmp" \
		"$tmp/root" "$tmp/etc" "$tmp/hostel"
	cp "$busybox" "$tmp/bin/busybox"
	"$busybox" --list | while read -r applet; do
		[ "$applet" = busybox ] || ln -s busybox "$tmp/bin/$applet"
	done
	cp "$here/guest/init" "$tmp/init"
	for s in "$here"/guest/scripts/*; do
		cp "$s" "$tmp/hostel/${s##*/}"
	done
	chmod 755 "$tmp/init" "$tmp"/hostel/*
}

initramfs_add()
{
	for pair; do
		name=${pair%%=*}
		mkdir -p "$(dirname "$tmp/$name")"
		cp "${pair#*=}" "$tmp/$name"
		chmod 755 "$tmp/$name"
	done
}

verb=${1:-}
out=${2:-}
tmp=$(mktemp -d)
chmod 755 "$tmp"
trap 'rm -rf "$tmp"' EXIT
case $verb in
base)
	initramfs_base
	initramfs_pack "$tmp" >"$out.tmp.$$"
	;;
add)
	base=$3
	shift 3
	initramfs_add "$@"
	{ cat "$base"; initramfs_pack "$tmp"; } >"$out.tmp.$$"
	;;
pack)
	initramfs_pack "$3" >"$out.tmp.$$"
	;;
*) initramfs_die "unknown verb '$verb': base, add, pack" ;;
esac
mv "$out.tmp.$$" "$out"
