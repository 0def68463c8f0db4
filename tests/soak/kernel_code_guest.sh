# Runs in the guest: makes its kernel write and rewrite its own code.
#
# Modules come and go, every function's prologue is patched by ftrace and back,
# kprobes and uprobes are set, hit and removed, static keys are flipped, all
# while system calls run.  "T key value" lines are checked outside.
cd /
T=/sys/kernel/tracing
n=${LOOPS:-20}
mount -t tracefs tracefs $T
mount -t debugfs debugfs /sys/kernel/debug 2>/dev/null

work() # some system calls, processes, pipes
{
	for i in 1 2 3; do
		echo "$i" | cat >/dev/null
		ls / >/dev/null
	done
}

background()
{
	while [ ! -e /tmp/stop ]; do
		work
	done
	echo "T background ended"
}
# Once every function; then many times some: patching all takes a second.
seen=0
for i in $(seq "$n"); do
	if [ "$i" = 1 ]; then
		echo >$T/set_ftrace_filter
	else
		echo 'vfs_* ksys_* do_sys*' >$T/set_ftrace_filter
	fi
	echo function >$T/current_tracer || echo "T error function"
	work
	grep -q vfs_read $T/trace && seen=$((seen + 1))
	[ "$i" = 1 ] || echo function_graph >$T/current_tracer
	work
	echo nop >$T/current_tracer
	echo >$T/trace
done
echo >$T/set_ftrace_filter
echo "T ftrace $seen"

background &

modules=0
for i in $(seq "$n"); do
	for m in dummy loop veth crc7 crc-itu-t zsmalloc xor raid6_pq; do
		[ -e "/mod/$m.ko" ] || continue
		insmod "/mod/$m.ko" || echo "T error insmod $m"
	done
	work
	for m in raid6_pq xor zsmalloc crc_itu_t crc7 veth loop dummy; do
		grep -q "^$m " /proc/modules || continue
		rmmod "$m" || echo "T error rmmod $m"
	done
	modules=$((modules + 1))
done
echo "T modules $modules $(wc -l </proc/modules)"

hits=0
for i in $(seq "$n"); do
	echo 'p:a do_sys_openat2' >$T/kprobe_events
	echo 'r:b vfs_read $retval' >>$T/kprobe_events
	echo 1 >$T/events/kprobes/enable
	work
	echo 0 >$T/events/kprobes/enable
	grep -q 'a: ' $T/trace && grep -q 'b: ' $T/trace && hits=$((hits + 1))
	echo >$T/kprobe_events
	echo >$T/trace
done
echo "T kprobes $hits"

keys=0
for i in $(seq "$n"); do
	for e in sched syscalls raw_syscalls irq kmem timer; do
		echo 1 >$T/events/$e/enable
	done
	work
	echo 0 >$T/events/enable # or the reader makes events as it reads
	[ "$(head -n 100 $T/trace | wc -l)" = 100 ] && keys=$((keys + 1))
	echo >$T/trace
	echo 1 >/proc/sys/kernel/sched_schedstats
	echo 0 >/proc/sys/kernel/sched_schedstats
done
echo "T keys $keys"
touch /tmp/stop
wait
[ ! -x /code ] || /code
echo "T end $n"
