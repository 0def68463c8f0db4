#!/bin/sh
# share_files.sh - programs of a stock kernel's guest do with the files of a
# shared directory what they do on a disk, with each way of caching, as root
# and as an ordinary user of guest and host.
. "$(dirname "$0")/lib.sh"

need_kernel amd64
need_modules amd64
cat >"$tmp/guest" <<'END'
modprobe 9pnet_virtio
modprobe 9p
cache=$(sed 's/.*cache=//; s/ .*//' /proc/cmdline)
mkdir -p /mnt
mount -t 9p -o trans=virtio,version=9p2000.L,msize=262144,cache=$cache work /mnt
more=many
[ "$cache" = none ] || more=mmap
mkdir /mnt/root && files /mnt/root $more
cp /bin/busybox /mnt/busybox && /mnt/busybox echo "T runs yes"
rm /mnt/busybox
mkdir /mnt/user && chmod 777 /mnt/user
echo user:x:1000:1000::/:/bin/sh >>/etc/passwd
su user -c "mkdir /mnt/user/d; echo x >/mnt/user/d/mine; ln -s x /mnt/user/l"
echo "T owner $(stat -c %u /mnt/user/d/mine)"
END
guest_initrd "$tmp/guest" "bin/files=$GUESTS/files"

# A line's word; the errno behind it is for people.
value()
{
	sed -n "s/^T $1 \(.*[^\r]\)\r*\$/\1/p" "$out" | sed 's/^yes .*/yes/'
}
# try CACHE [USER]
try()
{
	rm -rf "$tmp/share"
	mkdir -m 777 "$tmp/share"
	if [ -n "${2:-}" ]; then
		chmod 755 "$tmp"
		chown "$2" "$tmp/share"
		mkdir -p -m 777 "$tmp/home"
		HOSTEL_RUNTIME_DIR=$tmp/home timeout -k 5 "$LIMIT" \
			setpriv --reuid "$2" --regid "$2" --clear-groups \
			"$HOSTEL" run --engine "$ENGINE" --memory 512M \
			--kernel "$KERNELS/vmlinuz-amd64" --initrd "$tmp/initrd" \
			--append "console=ttyS0 quiet hostel.script=test \
cache=$1" -v "$tmp/share:work" </dev/null >"$out" 2>"$err"
		status=$?
		last_run="as $2: cache=$1"
	else
		hostel --kernel "$KERNELS/vmlinuz-amd64" --memory 512M \
			--initrd "$tmp/initrd" -v "$tmp/share:work" \
			--append "console=ttyS0 quiet hostel.script=test \
cache=$1"
	fi
	who="cache=$1 ${2:+as $2}"
	ok "$who: power-off" is "$status" 0
	for name in $attributes names unlinked many locks mapped sizes walls \
		runs; do
		ok "$who: $name" is "$(value $name)" yes
	done
	[ "$1" = none ] || ok "$who: shared" is "$(value shared)" yes
	ok "$who: no set-user-ID" \
		is "$(find "$tmp/share" -perm /6000 | wc -l)" 0
}
python3 -c "import os; os.setxattr('$tmp', 'user.a', b'1')" 2>/dev/null &&
	attributes=attributes || attributes=
try none
for name in d d/mine l; do
	[ "$(id -u)" != 0 ] || ok "a guest's ordinary user owns $name" \
		is "$(stat -c %u "$tmp/share/user/$name")" 1000
done
try mmap
if [ "$(id -u)" = 0 ] && command -v setpriv >/dev/null; then
	try loose 65534
else
	try loose
fi
finish
