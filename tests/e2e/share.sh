#!/bin/sh
# share.sh - a guest works in a directory of the host (-v), and only there.
. "$(dirname "$0")/lib.sh"

need_kernel amd64
need_modules amd64
cat >"$tmp/guest" <<'END'
modprobe 9pnet_virtio
modprobe 9p
mkdir -p /mnt /ro
o=trans=virtio,version=9p2000.L
mount -t 9p -o $o,msize=262144 work /mnt && echo "T mounted yes"
mount -t 9p -o $o,ro old /ro
echo "T hello $(cat /mnt/hello)"
echo "T count $(ls /mnt/many | wc -l)"
cat /mnt/outside >/dev/null 2>&1 || echo "T link not ours"
cp /bin/busybox /mnt/busybox && cmp /bin/busybox /mnt/busybox && echo "T copy same"
chmod 755 /mnt/busybox && /mnt/busybox true && echo "T runs yes"
mkdir /mnt/d && mv /mnt/busybox /mnt/d/x && ln /mnt/d/x /mnt/d/y &&
	ln -s x /mnt/d/z && echo "T names $(echo /mnt/d/*)"
rm -r /mnt/d && [ ! -e /mnt/d ] && echo "T removed yes"
echo one >/mnt/new && echo two >>/mnt/new && truncate -s 7 /mnt/new
mknod /mnt/dev b 8 0 2>/dev/null || echo "T device refused"
(echo x >/ro/new) 2>/dev/null || echo "T readonly refused"
rm -f /ro/hello 2>/dev/null || echo "T unlink refused"
(sleep 1; echo through >/mnt/pipe) &
mkfifo /mnt/pipe && echo "T pipe $(cat /mnt/pipe)"
END
guest_initrd "$tmp/guest"
mkdir -p "$tmp/share/many"
echo there >"$tmp/share/hello"
(cd "$tmp/share/many" && seq 300 | xargs touch)
echo secret >"$tmp/secret"
ln -s "$tmp/secret" "$tmp/share/outside"

hostel --kernel "$KERNELS/vmlinuz-amd64" --initrd "$tmp/initrd" \
	--append "console=ttyS0 quiet hostel.script=test" --cpus 2 \
	-v "$tmp/share:work" -v "$tmp/share:old:ro"
ok "power-off is status 0" is "$status" 0
ok "mounted by its tag" is "$(value mounted)" yes
ok "a file" is "$(value hello)" there
ok "a long directory" is "$(value count)" 300
ok "a link that leads out is the guest's own path" is "$(value link)" \
	"not ours"
ok "a large file" is "$(value copy)" same
ok "a program" is "$(value runs)" yes
ok "rename and links" is "$(value names)" "/mnt/d/x /mnt/d/y /mnt/d/z"
ok "removed" is "$(value removed)" yes
ok "on the host" is "$(tr '\n' , <"$tmp/share/new")" "one,two"
ok "no device nodes" is "$(value device)" refused
ok "read-only is" is "$(value readonly)" refused
ok "for names, too" is "$(value unlink)" refused
ok "a pipe is the guest's" is "$(value pipe)" through

hostel --kernel "$KERNELS/vmlinuz-amd64" -v "$tmp/nothing:x"
ok "a directory that is not there: status 125" is "$status" 125
ok "one sentence" grep -q "nothing" "$err"
finish
