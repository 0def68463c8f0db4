#!/bin/sh
# console.sh - the first serial port on stdin and stdout.
. "$(dirname "$0")/lib.sh"

printf 'hello, guest: 3' | tr ' ' '_' >"$tmp/typed"
input=$tmp/typed
monitor ''
ok "typed bytes reach the guest" said 'hello,_guest:_'
ok "and their effect is seen" is "$status" 7

# End of file is not the end of the guest: it has yet to print, and to exit.
input=/dev/null
monitor 'FFFF3'
ok "end of file on stdin leaves the guest running" is "$status" 7
ok "every byte of a fast guest arrives" \
	is "$(wc -c <"$out")" $((15 + 4 * (65536 + 6)))
ok "the last bytes too" is "$(tail -c 6 "$out" | tr -d '\r\n')" last

# A slow reader makes the guest wait; it loses nothing.
monitor_pipe()
{
	timeout "$LIMIT" "$HOSTEL" run --engine "$ENGINE" \
		--kernel "$GUESTS/monitor" --append ":$1" </dev/null 2>"$err"
	echo $? >"$tmp/status"
}
n=$(monitor_pipe FFFFFFFF3 | (sleep 1; wc -c))
ok "a slow reader gets all" is "$n" $((15 + 8 * (65536 + 6)))

# A reader that leaves ends the guest, without a word.
monitor_pipe FFFFL | head -n 1 >"$out"
ok "head(1) sees its line" said 'monitor ready'
ok "the guest ended as by SIGPIPE" is "$(cat "$tmp/status")" 141
ok "without a word" test ! -s "$err"

monitor NN3 --console "$tmp/log"
ok "--console FILE leaves stdout alone" test ! -s "$out"
ok "--console FILE holds the output" grep -q 'monitor 2' "$tmp/log"
ok "--console FILE passes the status on" is "$status" 7

monitor NN3 --console none
ok "--console none is silent" test ! -s "$out"
ok "--console none passes the status on" is "$status" 7

# Without standard descriptors at all.
timeout "$LIMIT" "$HOSTEL" run --engine "$ENGINE" --kernel "$GUESTS/monitor" \
	--append ":FN4" <&- >&- 2>&-
ok "closed stdin, stdout and stderr" is $? 9
finish
