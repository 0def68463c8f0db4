#!/bin/sh
# rootfs.sh BUILD - the files of the benchmark's guest, and its initramfs.
#
# .cache/bench/root gets busybox, our programs and, from Debian's packages,
# tcc, Lua, Python and SQLite with the libraries they need; the packages are
# downloaded, not installed.  Guest and host run these same files.
# .cache/bench/initramfs.img is the guests' ordinary initramfs followed by them
# (not compressed: unpacking would be a benchmark of its own).
set -eu

top=$(cd "$(dirname "$0")/.." && pwd)
build=$1
cache=${HOSTEL_BENCH_DIR:-$top/.cache/bench}
guest=${HOSTEL_GUEST_DIR:-$top/.cache/guest}
root=$cache/root

packages="libc6 libtinfo6 libreadline8 zlib1g tcc lua5.4 sqlite3 libsqlite3-0
	python3.11-minimal libpython3.11-minimal libexpat1 libssl3"

rootfs_download()
{
	(cd "$cache/new/debs" &&
		apt-get -q -o APT::Sandbox::User=root download $packages) >&2
}

# Debian's part, made once.
rootfs_packages()
{
	[ ! -e "$root/usr/bin/sqlite3" ] || return 0
	rm -rf "$cache/new"
	mkdir -p "$cache/new/debs" "$cache/new/root"
	echo "rootfs.sh: fetching" $packages >&2
	rootfs_download || {
		apt-get update >&2 2>/dev/null || sudo -n apt-get update >&2
		rootfs_download
	}
	for deb in "$cache"/new/debs/*.deb; do
		dpkg-deb -x "$deb" "$cache/new/root"
	done
	(cd "$cache/new/root" && rm -rf usr/share etc var sbin usr/sbin \
		usr/lib/x86_64-linux-gnu/gconv usr/lib/locale)
	rm -rf "$root"
	mv "$cache/new/root" "$root"
	rm -rf "$cache/new"
}

# A long source for the compiler, always the same.
rootfs_source()
{
	awk 'BEGIN {
	print "struct item { int key, value; struct item *next; };"
	for (i = 0; i < 2500; i++) {
		printf "static int table%d[8] = { %d, %d, %d };\n", i, i,
			i * 7 % 31, i * i % 97
		printf "int work%d(struct item *p, int n)\n{\n", i
		printf "\tint i, sum = %d;\n\n", i % 13
		print "\tfor (i = 0; i < n; i++) {"
		printf "\t\tif (p[i].key > %d && p[i].next)\n", i % 50
		printf "\t\t\tsum += p[i].value * table%d[i & 7];\n", i
		printf "\t\telse if (p[i].key == %d)\n", i * 3
		printf "\t\t\tsum ^= n << %d | sum >> %d;\n", i % 5, i % 7
		print "\t\tswitch (sum & 3) {"
		print "\t\tcase 0: sum++; break;"
		printf "\t\tcase 1: sum -= p[i].next->value / (n + %d);", i
		print " break;\n\t\tdefault: p[i].key = sum;\n\t\t}\n\t}"
		print "\treturn sum;\n}\n"
	} }'
}

rootfs_programs()
{
	mkdir -p "$root/bench/data" "$root/bin"
	cp "$build/bench/programs" "$root/bench/programs"
	cp "$(command -v busybox)" "$root/bin/busybox"
	cp "$top/bench/rows.sh" "$root/bench"
	cp "$top"/bench/data/* "$root/bench/data"
	rootfs_source >"$root/bench/data/generated.c"
}

# Python compiles its library once, here, not in the guest at every boot.
rootfs_python()
{
	lib=$root/lib/x86_64-linux-gnu
	PYTHONHOME=$root/usr PYTHONHASHSEED=0 "$lib/ld-linux-x86-64.so.2" \
		--library-path "$lib:$root/usr/lib/x86_64-linux-gnu" \
		"$root/usr/bin/python3.11" -S "$root/bench/data/work.py" \
		>/dev/null
}

# An archive may follow another at a multiple of four bytes.
rootfs_initramfs()
{
	mkdir -p "$root/hostel"
	cp "$top/bench/guest.sh" "$root/hostel/bench"
	cp "$guest/initramfs.cpio.gz" "$cache/initramfs.tmp"
	truncate -s %512 "$cache/initramfs.tmp"
	(cd "$root" && find . | LC_ALL=C sort |
		busybox cpio -o -H newc -R 0:0 2>/dev/null) \
		>>"$cache/initramfs.tmp"
	mv "$cache/initramfs.tmp" "$cache/initramfs.img"
}

mkdir -p "$cache"
rootfs_packages
rootfs_programs
rootfs_python
rootfs_initramfs
