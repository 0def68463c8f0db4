#!/bin/bash
# jit.sh - guests that compile as they run: Node.js and Java.
#
#	CPUS="1 2" ENGINE=translator bash tests/soak/jit.sh [node] [java]
#
# Puts this machine's node or java into an initramfs with the libraries they
# want, runs jit.js or Jit.java here and in the guest, and compares what they
# print.  Status 0: all the same.
set -u

here=$(cd "$(dirname "$0")" && pwd)
top=$(cd "$here/../.." && pwd)
CPUS=${CPUS:-1 2} ENGINE=${ENGINE:-auto} LIMIT=${LIMIT:-200}
HOSTEL=${HOSTEL:-$top/build/hostel}
KERNELS=${HOSTEL_GUEST_DIR:-$top/.cache/guest}
tmp=$(mktemp -d) || exit 99
trap 'rm -rf "$tmp"' EXIT
export NO_COLOR=1

# The libraries that the files want, into $tmp/root.
jit_libraries()
{
	for file; do
		ldd "$file" | grep -o '/[^ ]*'
	done | sort -u | while read -r lib; do
		mkdir -p "$tmp/root/${lib%/*}"
		cp -Ln "$lib" "$tmp/root/$lib"
	done
}

jit_node()
{
	mkdir -p "$tmp/root/bin"
	cp -L "$(command -v node)" "$tmp/root/bin/node"
	jit_libraries "$(command -v node)"
	cp "$here/jit.js" "$tmp/root/jit.js"
	command="node /jit.js"
	node "$here/jit.js" >"$tmp/here"
}

jit_java()
{
	home=$(dirname "$(dirname "$(readlink -f "$(command -v java)")")")
	mkdir -p "$tmp/root$home/bin" "$tmp/root/etc"
	cp -L "$home/bin/java" "$tmp/root$home/bin"
	cp -rL "$home/lib" "$home/conf" "$tmp/root$home"
	rm -f "$tmp/root$home"/lib/{src.zip,ct.sym}
	jit_libraries "$home/bin/java" "$home/lib/server/libjvm.so" \
		"$home/lib/libzip.so" "$home/lib/libnet.so"
	javac -d "$tmp/root" "$here/Jit.java"
	command="$home/bin/java -XX:+UseSerialGC -cp / Jit"
	java -XX:+UseSerialGC -cp "$tmp/root" Jit >"$tmp/here"
}

# jit_run NAME CPUS
jit_run()
{
	"$HOSTEL" run --engine "$ENGINE" --cpus "$2" --memory 2G \
		--timeout "$LIMIT" --kernel "$KERNELS/vmlinuz-cloud-amd64" \
		--initrd "$tmp/initramfs" \
		--append "console=ttyS0 quiet hostel.script=jit" \
		</dev/null >"$tmp/log" 2>&1
	tr -d '\r' <"$tmp/log" | grep '^R ' >"$tmp/there"
	if cmp -s "$tmp/here" "$tmp/there"; then
		echo "$1, $2 processors: the same"
	else
		echo "$1, $2 processors: differs"
		diff "$tmp/here" "$tmp/there"
		tail -n 5 "$tmp/log"
		bad=1
	fi
}

bad=0
for name in "${@:-node java}"; do
	for what in $name; do
		rm -rf "$tmp/root"
		mkdir -p "$tmp/root/hostel"
		"jit_$what" || exit 99
		echo "NO_COLOR=1 $command | cat" >"$tmp/root/hostel/jit"
		zcat "$KERNELS/initramfs.cpio.gz" >"$tmp/initramfs"
		(cd "$tmp/root" && find . | busybox cpio -o -H newc -R 0:0 \
			2>/dev/null) >>"$tmp/initramfs"
		for cpus in $CPUS; do
			jit_run "$what" "$cpus"
		done
	done
done
exit "$bad"
