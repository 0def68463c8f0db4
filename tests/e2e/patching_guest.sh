# patching_guest.sh - runs in the guest of patching.sh.
t()
{
	echo "T $*"
}

tracing=/sys/kernel/tracing
mount -t tracefs tracefs $tracing

in=0 out=0
for i in 1 2 3; do
	for m in dummy loop; do
		insmod /hostel/$m.ko && in=$((in + 1))
	done
	ip link set dummy0 up
	for m in dummy loop; do
		rmmod $m && out=$((out + 1))
	done
done
t modules "$in in, $out out, $(wc -l </proc/modules) left"

# Opens a file ten times; prints how often the probe $1 saw that.
probe_hits()
{
	echo >$tracing/trace
	for i in 1 2 3 4 5 6 7 8 9 10; do
		cat /proc/version >/dev/null
	done
	grep -c "$1" $tracing/trace
}

# probe DEFINITION: sets it, counts, takes it away.
probe()
{
	echo "$1" >$tracing/kprobe_events
	echo 1 >$tracing/events/kprobes/enable
	probe_hits "do_sys_openat2"
	echo 0 >$tracing/events/kprobes/enable
	echo >$tracing/kprobe_events
}

t probe "$(probe 'p:opened do_sys_openat2')"
t retprobe "$(probe 'r:returned do_sys_openat2 $retval')"
t removed "$(probe_hits opened)"

# Keeps the tracer's own reading out of the figures.
echo 0 >$tracing/tracing_on
echo function >$tracing/current_tracer
echo 1 >$tracing/tracing_on
ls / >/dev/null
echo 0 >$tracing/tracing_on
t functions "$(grep -vc '^#' $tracing/trace)"
echo nop >$tracing/current_tracer
echo 1 >$tracing/tracing_on
t traced "$(grep -vc '^#' $tracing/trace)"
t end 0
