#!/bin/sh
# sums.sh - runs in a guest: computes the same things for ever and says so when
# they come out differently: what was in memory, vector and x87 registers,
# processes, or the clock did not survive something.
cp /bin/busybox /tmp/data
want=$(sha256sum </tmp/data)
harmonic='BEGIN { for (i = 1; i <= 3000; i++) s += 1 / i; printf "%.10f", s }'
sum=$(awk "$harmonic")
turn=0 last=0
while :; do
	[ "$(sha256sum </tmp/data)" = "$want" ] || echo "WRONG sha256"
	[ "$(awk "$harmonic")" = "$sum" ] || echo "WRONG harmonic"
	[ "$(cat /tmp/data | md5sum)" = "$(md5sum </tmp/data)" ] ||
		echo "WRONG pipe"
	read -r up rest </proc/uptime
	now=${up%.*}${up#*.}
	[ "$now" -ge "$last" ] || echo "WRONG clock: $now after $last"
	last=$now
	odd=$(dmesg | grep -E 'WARN|BUG|Oops|stall|unstable|lockup|backwards')
	[ -z "$odd" ] || echo "WRONG kernel: $odd"
	turn=$((turn + 1))
	echo "turn $turn done"
done
