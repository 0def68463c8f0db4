#!/bin/sh
# boot.sh FLAVOUR CPUS - the stock kernel boots to /init, runs a script of shell
# commands, knows its memory and the time, and powers off.
. "$(dirname "$0")/lib.sh"

flavour=$1 cpus=$2
need_kernel "$flavour"
initramfs=$tmp/initramfs.cpio.gz
sh "$top/tools/initramfs.sh" add "$initramfs" "$KERNELS/initramfs.cpio.gz" \
	"hostel/test=$here/boot_guest.sh" || exit 99

began=$(date +%s)
hostel --kernel "$KERNELS/vmlinuz-$flavour" --initrd "$initramfs" \
	--append "console=ttyS0 hostel.script=test" --memory 512M --cpus "$cpus"
now=$(date +%s)
ok "power-off is status 0" is "$status" 0
ok "and no word" test ! -s "$err"

# "T key value" lines are the script's.
between()
{
	[ -n "$1" ] && [ "$1" -ge "$2" ] && [ "$1" -le "$3" ]
}

ok "the kernel is the one" is "$(value release)" \
	"$(cat "$KERNELS/release-$flavour")"
ok "its memory in MiB" between "$(value memory)" 440 512
ok "its clock: $(value date) here $began to $now" \
	between "$(value date)" $((began - 1)) $((now + 1))
ok "a second lasts a second, or what a slow engine adds to it" \
	between "$(value second)" 95 300
ok "its processors" is "$(value cpus)" "$cpus"
ok "arithmetic" is "$(value sum)" 5000050000
ok "floating point" is "$(value root)" 1.41421356237309
ok "SHA-256" is "$(value sha256)" \
	e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855
ok "compression there and back" is "$(value gzip)" same
ok "processes" is "$(value pipes)" 100
ok "a job in the background" is "$(value job)" done
ok "signals" is "$(value signal)" caught
ok "page faults of a program are its own" is "$(value segv)" 139
ok "the script ran to its end" is "$(value end)" 0

bad='WARNING|BUG:|Oops|Call Trace|Kernel panic|clocksource.*unstable'
bad="$bad|Spurious|unexpected IRQ|unchecked MSR|soft lockup|rcu.*stall"
ok "nothing odd in the kernel's log" is "$(grep -cE "$bad" "$out")" 0
finish
