#!/bin/sh
# nat.sh NIC[,packed] - a stock kernel behind NAT: an address by DHCP, a name server,
# a file fetched from the host, a server in the guest on a port of the host;
# and what is refused before a guest starts.
. "$(dirname "$0")/lib.sh"

nic=$1
need_kernel amd64
need_modules amd64
command -v python3 >/dev/null || skip "no python3"
port=$((20000 + $$ % 20000))

# A host's own server, on any port, that says which.
python3 - "$tmp" >"$tmp/server" <<'END' &
import http.server, os, sys
os.chdir(sys.argv[1])
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0),
	http.server.SimpleHTTPRequestHandler)
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
udhcpc -i eth0 -q -n -s /hostel/dhcp >/dev/null 2>&1
echo "T driver \$(basename \$(readlink /sys/class/net/eth0/device/driver))"
echo "T address \$(ip -4 addr show eth0 | grep -c 10.0.2.15/24)"
echo "T packed \$(cut -c 35 /sys/class/net/eth0/device/features)"
echo "T dns \$(cat /etc/resolv.conf)"
ping -c 1 -w 5 10.0.2.2 >/dev/null && echo "T ping ok"
wget -q -O /tmp/file http://10.0.2.2:$(cat "$tmp/server")/file &&
	echo "T fetched \$(sha256sum </tmp/file | cut -c 1-64)"
httpd -p 80 -h /tmp
echo "T ready yes"
for try in 1 2 3 4 5 6 7 8 9 10; do
	[ -e /tmp/done ] && break
	sleep 1
	nc -l -p 81 -w 2 >/tmp/done 2>/dev/null </dev/null || true
	[ -s /tmp/done ] || rm -f /tmp/done
done
echo "T told \$(cat /tmp/done)"
END
cat >"$tmp/dhcp" <<'END'
#!/bin/sh
[ -n "$ip" ] || exit 0
ip link set $interface up
ip addr add $ip/$mask dev $interface
ip route add default via $router
echo "nameserver $dns" >/etc/resolv.conf
END
sed -i 's|^udhcpc|ip link set eth0 up; udhcpc|' "$tmp/guest"
guest_initrd "$tmp/guest" "hostel/dhcp=$tmp/dhcp"

# What a client on the host does once the guest is ready.
client()
{
	for try in $(seq 100); do
		grep -q "T ready" "$out" 2>/dev/null && break
		sleep 0.3
	done
	python3 - $port "$tmp" <<'END'
import socket, sys, time, urllib.request
port, tmp = int(sys.argv[1]), sys.argv[2]
got = urllib.request.urlopen("http://127.0.0.1:%d/file" % port,
	timeout=20).read()
open(tmp + "/back", "wb").write(got)
for i in range(30):
	try:
		s = socket.create_connection(("127.0.0.1", port + 1), 5)
		s.sendall(b"told")
		s.close()
	except OSError:
		break
	time.sleep(0.5)
END
}
: >"$out"
client 2>/dev/null &
hostel --kernel "$KERNELS/vmlinuz-amd64" --initrd "$tmp/initrd" \
	--append "console=ttyS0 quiet hostel.script=test" \
	--net "nat,loopback,nic=$nic,pcap=$tmp/capture" \
	-p "$port:80" -p "127.0.0.1:$((port + 1)):81"
ok "power-off is status 0" is "$status" 0
ok "and no word" test ! -s "$err"
ok "an address" is "$(value address)" 1
[ "${nic%,*}" != virtio ] ||
	ok "packed queues if asked for" is "$(value packed)" \
		"$([ "$nic" = virtio ] && echo 0 || echo 1)"
ok "a name server" is "$(value dns)" "nameserver 10.0.2.3"
ok "the gateway answers" is "$(value ping)" ok
ok "a file of the host's" is "$(value fetched)" \
	"$(sha256sum <"$tmp/file" | cut -c 1-64)"
ok "the same through a forwarded port" cmp "$tmp/file" "$tmp/back"
ok "a second port" is "$(value told)" told
ok "a capture" test "$(stat -c %s "$tmp/capture")" -gt 6000000

# One sentence each, before anything starts.
try()
{
	hostel --kernel "$GUESTS/monitor" "$@"
}
busy=$(cat "$tmp/server")
try -p "$busy:80"
ok "a port that is taken" refused "$busy: the port is already taken"
try -p 80
ok "half a forward" refused "HOSTPORT:GUESTPORT"
try --net none -p "$port:80"
ok "a forward without NAT" refused "add --net nat"
try --net wire
ok "no such network" refused "there is no network 'wire'"
try --net nat,mac=01:02:03:04:05:06
ok "a group's address" refused "not the address of one network card"
try --net nat,fault=often
ok "no such fault" refused "often"
try --net "nat,pcap=$tmp/none/file"
ok "a capture that cannot be" refused "No such file"
finish
