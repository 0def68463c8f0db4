#!/bin/sh
# switch.sh - guests on one switch reach each other; those on another VLAN do
# not; a trunk reaches both; NAT joined to the switch serves its guests; and
# nothing is left when they have gone, even killed.
. "$(dirname "$0")/lib.sh"

need_kernel amd64
need_modules amd64
XDG_RUNTIME_DIR=$tmp
export XDG_RUNTIME_DIR
name=t$$

# Waits until everybody is there, then tells whom it reaches.
cat >"$tmp/guest" <<'END'
for word in $(cat /proc/cmdline); do
	case $word in
	me=*) me=${word#*=} ;;
	esac
done
ip link set eth0 up
ip addr add 10.9.0.$me/24 dev eth0
case $me in
1) peer=10.9.0.2 ;;
2) peer=10.9.0.1 ;;
3)
	peer=10.7.0.4
	ip addr add 10.7.0.3/24 dev eth0
	;;
4)
	peer=10.7.0.3
	modprobe -q 8021q
	ip link add link eth0 name eth0.7 type vlan id 7
	ip link set eth0.7 up
	ip addr add 10.7.0.4/24 dev eth0.7
	;;
esac
head -c 5000000 /dev/urandom >/tmp/file
echo "T made $(sha256sum </tmp/file | cut -c 1-64)"
httpd -p 80 -h /tmp
udhcpc -i eth0 -n -q -t 3 -T 2 -s /bin/true >/dev/null 2>&1 &&
	echo "T lease yes"
for try in 1 2 3 4 5 6 7 8 9 10 11 12; do
	ping -c 1 -w 1 -W 1 $peer >/dev/null 2>&1 && break
done
for a in 10.9.0.1 10.9.0.2 10.9.0.3 10.7.0.3 10.7.0.4; do
	if ping -c 2 -w 3 -W 1 $a >/dev/null 2>&1; then
		echo "T reach-$a yes"
	else
		echo "T reach-$a no"
	fi
done
if [ $me = 1 ]; then
	wget -q -O /tmp/got http://$peer/file
	echo "T got $(sha256sum </tmp/got | cut -c 1-64)"
fi
sleep 12
END
guest_initrd "$tmp/guest"

# guest N KEYS: in the background; what it says goes to $tmp/N.
guest()
{
	"$HOSTEL" run --timeout "$LIMIT" --engine "$ENGINE" --memory 256M \
		--kernel "$KERNELS/vmlinuz-amd64" --initrd "$tmp/initrd" \
		--append "console=ttyS0 quiet hostel.script=test me=$1" \
		--name "$name-$1" --net "switch:$name$2" </dev/null \
		>"$tmp/$1" 2>"$tmp/$1.err" &
	pid=$!
}
value()
{
	sed -n "s/^T $2 \(.*[^\r]\)\r*\$/\1/p" "$tmp/$1"
}
reaches()
{
	value "$1" "reach-$2"
}

guest 1 ",uplink=nat"
pids=$pid
guest 2 ",pcap=$tmp/capture"
pids="$pids $pid"
guest 3 ",vlan=7"
pids="$pids $pid"
guest 4 ",trunk=7"
pids="$pids $pid"
for pid in $pids; do
	wait "$pid"
	ok "a guest ends well" is "$?" 0
done
ok "1 and 2 are on one network" is "$(reaches 1 10.9.0.2)" yes
ok "and back" is "$(reaches 2 10.9.0.1)" yes
ok "3 is not: VLAN 7" is "$(reaches 1 10.9.0.3)" no
ok "nor from there" is "$(reaches 3 10.9.0.1)" no
ok "the trunk is on it, untagged" is "$(reaches 4 10.9.0.1)" yes
ok "and tagged on VLAN 7" is "$(reaches 4 10.7.0.3)" yes
ok "and back" is "$(reaches 3 10.7.0.4)" yes
ok "a lease from NAT" is "$(value 1 lease)" yes
ok "for all of the network" is "$(value 2 lease)" yes
ok "but not on VLAN 7" is "$(value 3 lease)" ""
ok "5 MB arrive as they were" is "$(value 1 got)" "$(value 2 made)"
ok "and something was sent" test -n "$(value 1 got)"

for n in 1 2 3 4; do
	ok "no word of $n" test ! -s "$tmp/$n.err"
done

files()
{
	find "$tmp/hostel/.switches" -mindepth 1 | wc -l
}
empty()
{
	for try in 1 2 3 4 5 6 7 8 9 10; do
		[ "$(files)" != 0 ] || return 0
		sleep 0.2
	done
	return 1
}
ok "nothing is left" empty
guest 5 ""
for try in 1 2 3 4 5 6 7 8 9 10; do
	[ "$(files)" = 0 ] || break
	sleep 0.3
done
ok "a switch is there" test "$(files)" != 0
kill -9 "$pid"
wait "$pid" 2>/dev/null
ok "nothing is left of a killed guest's" empty

hostel --kernel "$GUESTS/monitor" --net switch:a/b
ok "a name that is none" refused "a switch's name is"
hostel --kernel "$GUESTS/monitor" --net switch:a,trunk=10+x
ok "a list that is none" refused "not a list of VLANs"
hostel --kernel "$GUESTS/monitor" --net nat,vlan=3
ok "a VLAN without a switch" refused "of a switch"
hostel --kernel "$GUESTS/monitor" --net tap:hostel-no-tap,mac=1
ok "a MAC that is none" refused "mac=1"
finish
