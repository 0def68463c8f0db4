#!/bin/sh
# jail.sh - what a guest's process has given up, seen from outside; and the
# sentence when its jail ends it.
. "$(dirname "$0")/lib.sh"

# Starts a guest that waits; $vm is its process.
start()
{
	timeout -k 5 "$LIMIT" "$HOSTEL" run --engine "$ENGINE" --name jailed \
		--kernel "$GUESTS/monitor" --console none --timeout 60 \
		>"$out" 2>"$err" &
	pid=$!
	for try in $(seq 100); do
		vm=$(cat "$HOSTEL_RUNTIME_DIR/jailed/pid" 2>/dev/null)
		[ -n "$vm" ] && [ "$(state Seccomp)" = 2 ] && return
		sleep 0.1
	done
}
state()
{
	sed -n "s/^$1:[[:space:]]*//p" "/proc/$vm/status"
}

start
ok "it has a filter of system calls" is "$(state Seccomp)" 2
for task in /proc/"$vm"/task/*; do
	ok "so has its thread ${task##*/}" is \
		"$(sed -n 's/^Seccomp:[[:space:]]*//p' "$task/status")" 2
done
ok "it gains no privileges" is "$(state NoNewPrivs)" 1
# CAP_SYS_PTRACE (19), CAP_SYS_ADMIN (21), CAP_SYS_MODULE (16), CAP_MKNOD (27)
ok "it cannot do what root can" is $((0x$(state CapEff) & 0x8290000)) 0
kill -s SYS "$vm"
wait "$pid"
status=$?
ok "a forbidden call is the end" is "$status" 125
ok "and told" grep -q "hostel: the guest's process made a system call that its jail forbids" "$err"

unset HOSTEL_SANDBOX
start
ok "a jail is the rule" is "$(state Seccomp)" 2
kill "$pid"
wait "$pid"
HOSTEL_SANDBOX=odd hostel --kernel "$GUESTS/monitor" --console none
ok "an odd wish is refused" is "$status" 125
ok "with its sentence" grep -q "HOSTEL_SANDBOX is on, off or strict" "$err"
finish
