#!/bin/sh
# offload.sh - each of a card's offloads off and on while it works: files
# arrive as they were, through NAT and between guests on a switch, whatever
# the other side can do.
. "$(dirname "$0")/lib.sh"

need_kernel amd64
need_modules amd64
command -v python3 >/dev/null || skip "no python3"
XDG_RUNTIME_DIR=$tmp
export XDG_RUNTIME_DIR

# The host's: a file, and the sum of what it is sent.
python3 - "$tmp" >"$tmp/server" <<'END' &
import hashlib, http.server, os, sys
os.chdir(sys.argv[1])
class Server(http.server.SimpleHTTPRequestHandler):
	def do_POST(self):
		body = self.rfile.read(int(self.headers["Content-Length"]))
		answer = hashlib.sha256(body).hexdigest().encode()
		self.send_response(200)
		self.send_header("Content-Length", str(len(answer)))
		self.end_headers()
		self.wfile.write(answer)
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Server)
print(server.server_port, flush=True)
server.serve_forever()
END
server=$!
trap 'kill $server; rm -rf "$tmp"' EXIT
for try in 1 2 3 4 5 6 7 8 9 10; do
	[ -s "$tmp/server" ] || sleep 0.5
done
head -c 3000000 /dev/urandom >"$tmp/file"

cat >"$tmp/guest" <<END
port=$(cat "$tmp/server")
END
cat >>"$tmp/guest" <<'END'
sum()
{
	sha256sum | cut -c 1-64
}
for word in $(cat /proc/cmdline); do
	case $word in
	me=*) me=${word#*=} ;;
	esac
done
ip link set eth0 up
if [ $me = nat ]; then
	ip addr add 10.0.2.15/24 dev eth0
	want=$(wget -q -O - http://10.0.2.2:$port/file | sum)
	echo "T want $want"
	base64 /bin/busybox >/tmp/text # wget sends text only
	fetch()
	{
		[ "$(wget -q -O - http://10.0.2.2:$port/file | sum)" = $want ]
	}
	send()
	{
		[ "$(wget -q -O - --post-file /tmp/text \
			http://10.0.2.2:$port/)" = "$(sum </tmp/text)" ]
	}
else
	ip addr add 10.9.0.$me/24 dev eth0
	ip -6 addr add fd00::$me/64 dev eth0
	sleep 3 # the address is tried first
	httpd -p 80 -h /bin
	httpd -p [::]:81 -h /bin
	peer=$((3 - me))
	fetch()
	{
		[ "$(wget -q -O - http://10.9.0.$peer/busybox | sum)" = \
			"$(sum </bin/busybox)" ]
	}
	# The same by IPv6.
	send()
	{
		[ "$(wget -q -O - "http://[fd00::$peer]:81/busybox" | sum)" = \
			"$(sum </bin/busybox)" ]
	}
fi
for try in $(seq 40); do
	fetch 2>/dev/null && send 2>/dev/null && break
	sleep 1
done
work()
{
	if fetch && send; then
		echo "T $1 yes"
	else
		echo "T $1 no"
	fi
}
work start
for name in tx-tcp-segmentation tx-tcp6-segmentation tx-generic-segmentation \
	tx-checksum-ip-generic tx-scatter-gather rx-gro rx-gro-hw; do
	offload eth0 $name off
	echo "T status-$name $?"
	work $name-off
done
for name in rx-gro-hw rx-gro tx-scatter-gather tx-checksum-ip-generic \
	tx-tcp-segmentation tx-generic-segmentation; do
	offload eth0 $name on
	work $name-on
done
ip link set eth0 mtu 1300
work mtu-1300
echo "T done yes"
[ $me = nat ] || sleep 20
END
guest_initrd "$tmp/guest" "bin/offload=$GUESTS/offload"

# guest ME NET
guest()
{
	"$HOSTEL" run --timeout "$LIMIT" --engine "$ENGINE" --memory 256M \
		--kernel "$KERNELS/vmlinuz-amd64" --initrd "$tmp/initrd" \
		--append "console=ttyS0 quiet hostel.script=test me=$1" \
		--name "offload$$-$1" --net "$2" </dev/null >"$tmp/$1" \
		2>"$tmp/$1.err" &
	pids="$pids $!"
}
pids=
guest nat nat,loopback
guest 1 "switch:o$$"
guest 2 "switch:o$$,queues=2"
for pid in $pids; do
	wait "$pid"
	ok "a guest ends well" is "$?" 0
done
for who in nat 1 2; do
	out=$tmp/$who err=$tmp/$who.err
	ok "$who: no word" test ! -s "$err"
	ok "$who: to the end" grep -q "^T done yes" "$out"
	ok "$who: all is right" test -z "$(grep '^T .* no' "$out")"
	ok "$who: all is done" is "$(grep -c '^T .* yes' "$out")" 16
	ok "$who: they could be turned off" \
		is "$(grep -c '^T status-.* 0' "$out")" 7
done
ok "the host's file" is "$(sed -n 's/^T want \([0-9a-f]*\).*/\1/p' "$tmp/nat")" \
	"$(sha256sum <"$tmp/file" | cut -c 1-64)"
finish
