#!/bin/sh
# gdb.sh - gdb(1) itself, against a guest that waits for it.
. "$(dirname "$0")/lib.sh"
command -v gdb >/dev/null || skip "no gdb here; apt-get install gdb"

# A loopback address of this process's own, so that the port is free.
at=127.$((1 + $$ % 250)).$(($$ / 250 % 250)).1:1234

# debugged LETTERS GDB-COMMAND...: $out holds what gdb said.
debugged()
{
	letters=$1
	shift
	timeout -k 5 "$LIMIT" "$HOSTEL" run --engine "$ENGINE" --no-reboot \
		--kernel "$GUESTS/monitor" --append ":$letters" \
		--gdb "$at" --gdb-wait </dev/null >"$tmp/guest" 2>"$err" &
	pid=$!
	# The ELF file says 32-bit; what gdb talks to is a 64-bit processor.
	printf '%s\n' "set pagination off" "set architecture i386:x86-64" \
		"set tcp auto-retry on" "set tcp connect-timeout 20" \
		"target remote $at" "$@" >"$tmp/commands"
	timeout -k 5 "$LIMIT" gdb -q -nx -batch -x "$tmp/commands" \
		"$GUESTS/monitor" >"$out" 2>&1
	wait $pid
	status=$?
	last_run="gdb with guest :$letters"
}

debugged 5 'info registers rip' \
	'stepi' 'printf "stepped to %#lx\n", $rip' \
	'hbreak *&reset' 'hbreak *&puts' 'continue' \
	'printf "at puts: %d\n", $rip == (long)&puts' \
	'printf "it says %s", (char *)$rsi' \
	'set $p = (long)&number' 'watch *(char *)$p' 'delete' \
	'set {char}$p = 55' 'printf "number is %c\n", {char}$p' \
	'info threads' 'monitor info registers' 'detach'
ok "the guest ends as it would without gdb" is "$status" 11
ok "gdb saw where it starts" said 'rip .*_start'
ok "one step" said 'stepped to 0x'
ok "stopped at a breakpoint" said 'at puts: 1'
ok "read the guest's memory" said 'it says monitor ready'
ok "and wrote it" said 'number is 7'
ok "vCPUs are threads" said 'vCPU 0 \[running\]'
ok "monitor has an answer" said 'cr0 *00000000'
ok "the guest's console is its own" grep -q 'monitor ready' "$tmp/guest"

debugged NN 'set $p = (long)&number' 'watch *(char *)$p' 'continue' 'continue' \
	'printf "now %c\n", *(char *)$p' 'kill'
ok "a watchpoint sees both writes" is "$(grep -c '^New value' "$out")" 2
ok "the second wrote a 2" said 'now 2'
ok "kill ends the guest" is "$status" 143

hostel --kernel "$GUESTS/monitor" --gdb nonsense
ok "a bad port is refused" refused '--gdb nonsense'
finish
