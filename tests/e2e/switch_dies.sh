#!/bin/sh
# switch_dies.sh - the process of a switch is killed under two guests: they see
# the cable out and in again, and reach each other by the next switch.
. "$(dirname "$0")/lib.sh"

need_kernel amd64
need_modules amd64
XDG_RUNTIME_DIR=$tmp
export XDG_RUNTIME_DIR
name=d$$
cat >"$tmp/guest" <<'END'
for word in $(cat /proc/cmdline); do
	case $word in
	me=*) me=${word#*=} ;;
	esac
done
ip link set eth0 up
ip addr add 10.9.0.$me/24 dev eth0
while :; do
	if ping -q -c 1 -W 1 10.9.0.$((3 - me)) >/dev/null; then
		echo "T reached"
	else
		echo "T missed $(cat /sys/class/net/eth0/carrier)"
	fi
	sleep 0.2
done
END
guest_initrd "$tmp/guest"
guest()
{
	timeout -k 5 "$LIMIT" "$HOSTEL" run --engine "$ENGINE" \
		--kernel "$KERNELS/vmlinuz-amd64" --initrd "$tmp/initrd" \
		--net "switch:$name,nic=$2" --append "console=ttyS0 quiet \
hostel.modules=virtio_net,e1000 hostel.script=test me=$1" \
		</dev/null >"$tmp/out$1" 2>"$tmp/err$1" &
}
# The last word of both guests is that they reach each other.
together()
{
	for try in $(seq 200); do
		sleep 0.3
		tail -n 1 "$tmp/out1" | grep -q reached &&
			tail -n 1 "$tmp/out2" | grep -q reached && return 0
	done
	return 1
}
guest 1 virtio
one=$!
guest 2 e1000
two=$!
ok "they reach each other" together
socket=$tmp/hostel/.switches/$name
# The one that moves frames is its own parent's child.
worker()
{
	for p in $(pids_of "$socket"); do
		parent=$(sed 's/.*) . \([0-9]*\) .*/\1/' "/proc/$p/stat")
		pids_of "$socket" | grep -qx "$parent" && echo "$p"
	done
}
pid=$(worker)
ok "there is a switch" test -n "$pid"
kill -9 "$pid"
sleep 2
ok "they reach each other again" together
ok "by another switch" test "$(worker)" != "$pid"
kill -9 $(pids_of "$socket")
sleep 2
ok "with its parent it is gone" test -z "$(pids_of "$socket")"
guest 3 virtio
three=$!
ok "the next guest starts one for all" together
ok "the cable was out for one" grep -q "missed 0" "$tmp/out1"
ok "and for the other" grep -q "missed 0" "$tmp/out2"
kill "$one" "$two" "$three"
wait "$one" "$two" "$three"
ok "no switch is left" gone "$socket"
finish
