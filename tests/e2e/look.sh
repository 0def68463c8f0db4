#!/bin/sh
# look.sh - seeing a machine run: --trace and --gdb.
. "$(dirname "$0")/lib.sh"

trace()
{
	grep -qE "$1" "$tmp/trace"
}

monitor NT --no-reboot --trace "$tmp/trace"
ok "tracing leaves the status alone" is "$status" 123
ok "instructions are disassembled" trace 'insn .*mov esi'
ok "exceptions are told" trace 'event .*'
ok "port accesses are told" trace 'port +write 0x3f8'

monitor N3 --trace "$tmp/trace" --trace-filter port
ok "a filter leaves only what was asked for" \
	is "$(grep -vc ' port ' "$tmp/trace")" 0
ok "the letter written to the port" trace 'write 0xf4.* = 0x3'

command -v gdb >/dev/null || skip "no gdb(1) here for the rest"

# Ports are tried until one is free.
attach()
{
	for port in $(seq 23450 23470); do
		"$HOSTEL" run --engine "$ENGINE" --kernel "$GUESTS/monitor" \
			--append :3 --gdb "$port" --gdb-wait --timeout "$LIMIT" \
			<"$input" >"$out" 2>"$err" &
		pid=$!
		timeout "$LIMIT" gdb -nx -batch \
			-ex "set tcp connect-timeout 10" \
			-ex "target remote :$port" "$@" \
			>"$tmp/gdb" 2>&1
		wait $pid
		status=$?
		grep -q -- '--gdb' "$err" || return
	done
}

attach -ex 'break *0x10000d' -ex continue -ex 'x/i $pc' -ex stepi \
	-ex 'print $esp' -ex 'delete' -ex continue
ok "the guest ran to its end" is "$status" 7
ok "a breakpoint stops" grep -q '0x10000d:.*mov' "$tmp/gdb"
ok "a step changes a register" grep -q '^\$1 = ' "$tmp/gdb"
ok "the debugger hears of the end" grep -q 'exited with code 07' "$tmp/gdb"
finish
