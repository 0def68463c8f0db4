#!/bin/sh
# exit.sh - how a guest ends is what hostel's exit status says.
. "$(dirname "$0")/lib.sh"

for v in 0 1 5 9; do
	monitor "$v"
	ok "exit port $v" is "$status" $((v << 1 | 1))
	ok "nothing but the guest's bytes" said 'monitor ready'
	ok "a guest that ended is no reason for words" test ! -s "$err"
done

monitor T --no-reboot
ok "triple fault with --no-reboot" is "$status" 123

for how in K R; do
	monitor "$how" --no-reboot
	ok "reset $how with --no-reboot" is "$status" 0
	ok "it started once" is "$(grep -c ready "$out")" 1
done

# A reset starts the same guest anew; --timeout ends the circle.
for how in K R T; do
	monitor "$how" --timeout 2
	ok "reset $how for ever" is "$status" 124
	ok "it started more than once" test "$(grep -c ready "$out")" -gt 1
done

for how in L H; do
	monitor "$how" --timeout 0.5
	ok "--timeout of a guest that does $how" is "$status" 124
done

monitor 3 --stats
ok "--stats leaves the status alone" is "$status" 7
ok "--stats prints one line" is "$(wc -l <"$err")" 1
ok "--stats prints an object" grep -q '^{.*}$' "$err"
finish
