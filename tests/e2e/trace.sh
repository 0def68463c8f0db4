#!/bin/sh
# trace.sh - --trace writes what the filter asks for, whole, at any end.
. "$(dirname "$0")/lib.sh"
trace=$tmp/trace

# Every line has the shape that trace.h promises.
shapely()
{
	! grep -q -v -E '^([0-9]+|-) +([0-9]+|-) (insn|event|port|mmio) +' \
		"$trace" && [ "$(tail -c 1 "$trace" | od -An -c | tr -d ' ')" = '\n' ]
}

monitor 5 --trace "$trace"
ok "the guest ends as it would without" is "$status" 11
ok "lines are whole" shapely
ok "instructions with disassembly" grep -q ' insn .* cld$' "$trace"
ok "port accesses with the device" grep -q 'port   write 0x3f8.1 = 0x6d uart' \
	"$trace"
ok "the last access is there" grep -q 'port   write 0xf4.1 = 0x5 ' "$trace"

monitor T --no-reboot --trace "$trace" --trace-filter event
ok "a crash leaves a whole trace" is "$status" 123
ok "lines are whole" shapely
ok "only events" is "$(grep -c -v ' event ' "$trace")" 0
ok "the undefined opcode" grep -q ' event .* #UD' "$trace"

monitor L --timeout 1 --trace "$trace" --trace-filter port
ok "so does a timeout" is "$status" 124
ok "lines are whole" shapely
ok "only ports" is "$(grep -c -v ' port ' "$trace")" 0

monitor 5 --trace "$trace" --trace-filter insn,0-0x100
ok "nothing at these addresses" test ! -s "$trace"

monitor 5 --trace /dev/full
ok "a full disk is told" is "$status" 125
ok "in a sentence" grep -q '/dev/full is not complete' "$err"

monitor 5 --trace "$tmp/no/such"
ok "a file that cannot be opened" refused "$tmp/no/such"
monitor 5 --trace "$trace" --trace-filter bogus
ok "a filter that makes no sense" refused "bogus"
finish
