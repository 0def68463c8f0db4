#!/bin/sh
# guest.sh - what runs in the machine that nest.sh starts.  The file `parts`
# names functions below (nest_NAME), each with an argument after ':'.
cd /hostel || exit 1
export LD_LIBRARY_PATH=/hostel/lib
mkdir -p /run
. ./settings
out=/tmp/out

# nest_say STATUS WHAT: one TAP line, and what was printed if it failed.
nest_say()
{
	if [ "$1" = 0 ]; then
		echo "ok $2"
		return
	fi
	echo "not ok $2"
	tail -n 25 "$out" | sed 's/^/# /'
}

nest_hostel()
{
	timeout -k 5 "${LIMIT:-120}" ./hostel "$@" </dev/null >"$out" 2>&1
}

nest_has()
{
	grep -q -e "$1" "$out"
}

# And hold.c keeps it as it is.
nest_load_kvm()
{
	[ ! -e /dev/kvm ] || return 0
	for m in irqbypass ccp kvm; do
		insmod "modules/$m.ko" 2>/dev/null
	done
	insmod modules/kvm-amd.ko npt="$NPT" 2>/dev/null
	chmod 666 /dev/kvm
	./hold &
}

# nest_try COMMAND...: as often as nest.sh says.
nest_try()
{
	for try in $(seq "$TRIES"); do
		"$@" && return 0
		echo "# try $try failed: $*"
		tail -n 3 "$out" | sed 's/^/# /'
	done
	return 1
}

# --- doctor and auto ----------------------------------------------------------

nest_auto_is()
{
	[ "$(./hostel doctor --auto)" = "$1" ]
	nest_say $? "auto is $1: $2"
}

nest_doctor()
{
	nest_hostel doctor
	nest_has 'kvm  *no: there is no /dev/kvm.*modprobe kvm-amd'
	nest_say $? "doctor without /dev/kvm"
	nest_auto_is translator "no /dev/kvm"
	nest_hostel run --kernel monitor --engine kvm
	[ $? = 125 ] && nest_has 'there is no /dev/kvm'
	nest_say $? "run --engine kvm without /dev/kvm"

	nest_load_kvm
	nest_hostel doctor
	nest_has 'kvm  *yes' && nest_has 'guests get less'
	nest_say $? "doctor with a KVM that works, but for XSETBV"
	nest_auto_is kvm "a KVM that works"

	echo 'nobody:x:1000:1000::/:/bin/sh' >>/etc/passwd
	chmod 600 /dev/kvm
	su nobody -c 'cd /hostel && ./hostel doctor; ./hostel doctor --auto' \
		>"$out" 2>&1
	nest_has 'kvm  *no: no permission.*usermod -aG kvm' &&
		[ "$(tail -n 1 "$out")" = translator ]
	nest_say $? "doctor and auto without permission"
	chmod 666 /dev/kvm
	su nobody -c 'cd /hostel && ./hostel doctor --auto' >"$out" 2>&1
	[ "$(tail -n 1 "$out")" = kvm ]
	nest_say $? "auto is kvm for who may open it"
}

# --- A host without BMI2 and AVX ------------------------------------------------

# No KVM here: what the guests meet is the translator's idea of a processor.
nest_old_guests()
{
	while read -r name npt rest; do
		options=
		case $name in
		'' | '#'*) continue ;;
		bios32 | smp64) options="--cpus 2" ;;
		esac
		LIMIT=60 nest_hostel run --kernel "guests/$name" \
			--memory 64M --timeout 50 --no-reboot $options
		got=$?
		case $npt in
		*:*) [ "$got" = 33 ] || [ "$got" = 35 ] ;;
		*) [ "$got" = "$npt" ] ;;
		esac
		nest_say $? "guest $name: status $got"
	done <guests.list
}

nest_old()
{
	nest_hostel doctor
	nest_has 'translator  *yes' && ! nest_has 'BMI2\|AVX'
	nest_say $? "doctor on an old processor"
	nest_auto_is translator "an old processor"
	nest_old_guests
	for cpus in 1 2; do
		nest_hostel run --kernel vmlinuz-amd64 --memory 192M \
			--initrd initramfs.cpio.gz --cpus "$cpus" --no-reboot \
			--stats --append "console=ttyS0 panic=-1 \
hostel.cmd=cat,/proc/cpuinfo" &&
			nest_has '"engine":"translator"' &&
			nest_has '^flags.* sse2 ' &&
			! nest_has '^flags.* \(avx\|bmi\|aes\)' &&
			! nest_has 'WARNING:\|BUG:\|Oops\|soft lockup'
		nest_say $? "Debian to /init with $cpus vCPUs"
	done
}

# --- Bare-metal guests --------------------------------------------------------

# Here they run on QEMU's idea of a processor, which departs from the manual in
# places: guests.list says where.  $2: what this one is to end with.
nest_guest_once()
{
	options=
	case $1 in
	bios32 | smp64) options="--cpus 2" ;;
	esac
	LIMIT=80 nest_hostel run --engine kvm --kernel "guests/$1" \
		--memory 64M --timeout 60 --no-reboot $options
	got=$?
	failed=$(grep -c '^FAIL' "$out")
	[ "$got" != 123 ] || [ "$2" = 123 ]
}

# Only a crash is tried again: nest.sh says whose it is.
nest_guests()
{
	nest_load_kvm
	while read -r name npt shadow; do
		case $name in
		'' | '#'*) continue ;;
		esac
		want=$npt
		[ "$NPT" = 1 ] || want=$shadow
		nest_try nest_guest_once "$name" "$want" </dev/null
		most=0
		[ "$want" = "${want%:*}" ] || most=${want#*:}
		[ "$got" = "${want%:*}" ] && [ "$failed" -le "$most" ]
		nest_say $? "guest $name: status $got, $failed checks failed"
	done <guests.list
	: >"$out"
	for name in $(ls guests); do
		grep -q "^$name " guests.list || echo "$name" >>"$out"
	done
	[ ! -s "$out" ]
	nest_say $? "every guest is on the list"
}

# --- Stock kernels ------------------------------------------------------------

nest_boot_once()
{
	nest_hostel run --engine kvm \
		--kernel vmlinuz-amd64 --memory 192M \
		--initrd initramfs.cpio.gz --cpus "$1" --no-reboot --stats \
		--append "console=ttyS0 panic=-1 hostel.script=about" &&
		nest_has '^guest: '"$1"' x Hostel' &&
		! nest_has 'WARNING:\|BUG:\|Oops\|soft lockup'
}

# N boots with one vCPU and N with two.
nest_boot()
{
	nest_load_kvm
	for cpus in 1 2; do
		good=0
		for i in $(seq "$1"); do
			nest_try nest_boot_once "$cpus" && good=$((good + 1))
		done
		[ "$good" = "$1" ]
		nest_say $? "Debian to /init with $cpus vCPUs: $good of $1"
	done
}

# --- What the other engines' tests do -------------------------------------------

# The files of the host that made this machine, under /host; what is written
# goes to memory.
nest_host()
{
	[ ! -d /host/proc/1 ] || return 0
	modprobe -a 9pnet_virtio 9p overlay virtio_blk ext4
	mkdir -p /lower /upper /host
	mount -t 9p -o trans=virtio,version=9p2000.L,msize=262144,cache=loose,ro \
		host /lower &&
		mount -t tmpfs tmpfs /upper && mkdir /upper/up /upper/work &&
		mount -t overlay overlay /host -o \
		lowerdir=/lower,upperdir=/upper/up,workdir=/upper/work ||
		return 1
	for d in dev dev/pts proc sys; do
		mount --bind "/$d" "/host/$d"
	done
	case "$TOP/:$BUILD/:$KERNELS/" in
	/tmp/* | *:/tmp/*) ;;
	*) mount -t ext4 /dev/vda /host/tmp ;;
	esac
	mount -t tmpfs tmpfs /host/run
	mkdir -p /host/dev/shm
	ip link set lo up
}

# FIRMWARES, LEAVE: docs/kvm.md says what of QEMU's is in their way.
nest_chroot()
{
	timeout -k 5 "${LIMIT:-400}" chroot /host /usr/bin/env -i \
		PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root ENGINE=kvm \
		HOSTEL_SANDBOX=strict HOSTEL="$BUILD/hostel" FIRMWARES=bios \
		GUESTS="$BUILD/tests/e2e" LIMIT=200 \
		KERNELS="$KERNELS" ENGINES="kvm translator kvm interpreter" \
		MOVES="$MOVES" LEAVE=cross \
		"$@" </dev/null >"$out" 2>&1
}

# tests/e2e/NAME.{sh,py}[,ARGUMENT...] as it is, on this engine and processor.
nest_e2e()
{
	nest_load_kvm
	nest_host || {
		nest_say 0 "e2e $1 # SKIP no files of the host"
		return
	}
	name=${1%%,*}
	args=$(echo "${1#"$name"}" | tr , ' ')
	if [ -e "/host$TOP/tests/e2e/$name.py" ]; then
		nest_chroot python3 "$TOP/tests/e2e/$name.py" $args
	else
		nest_chroot sh "$TOP/tests/e2e/$name.sh" $args
	fi
	case $? in
	0) nest_say 0 "e2e $1: $(tail -n 1 "$out")" ;;
	77) nest_say 0 "e2e $1 # SKIP $(tail -n 1 "$out")" ;;
	*) nest_say 1 "e2e $1: $(tail -n 1 "$out")" ;;
	esac
}

# One bare-metal guest, and what it says.
nest_guest()
{
	nest_load_kvm
	LIMIT=100 nest_hostel run --engine kvm --kernel "guests/$1" \
		--memory 64M --timeout 90 --no-reboot
	echo "# status $?"
	sed 's/^/# /' "$out"
}

# --- Disk and network -----------------------------------------------------------

nest_sum()
{
	sha256sum <"$1" | cut -c 1-64
}

# $1: words for the guest's kernel.
nest_io_run()
{
	rm -f /tmp/b
	truncate -s 1M /tmp/b
	nest_hostel run --engine kvm --no-reboot \
		--kernel vmlinuz-amd64 --initrd io.gz --memory 192M \
		--append "console=ttyS0 quiet hostel.script=io $1" \
		--disk /tmp/a,format=raw,readonly --disk /tmp/b,format=raw \
		--net nat,loopback && nest_has '^T msi'
}

# $2: words for the guest's kernel.
nest_io_once()
{
	nest_try nest_io_run "$2"
	nest_has "^T disk $(nest_sum /tmp/a)"
	nest_say $? "$1: a disk is read"
	nest_has "^T net $(nest_sum /tmp/www/file)"
	nest_say $? "$1: a file comes over the network"
	cmp /tmp/b /tmp/www/file >>"$out" 2>&1
	nest_say $? "$1: a disk is written"
}

nest_io()
{
	nest_load_kvm
	ip link set lo up
	mkdir -p /tmp/www
	head -c 1048576 /dev/urandom >/tmp/www/file
	head -c 4194304 /dev/urandom >/tmp/a
	httpd -p 127.0.0.1:8080 -h /tmp/www
	nest_io_once "virtio by MSI-X"
	# The pins of the I/O APIC: level-triggered, whose EOIs come back.
	nest_io_once "virtio by INTx" pci=nomsi
}

# --- Saved state --------------------------------------------------------------

# Within about 60 s; also if the guest has ended.
nest_until()
{
	for i in $(seq 300); do
		nest_has "$1" && return 0
		kill -0 "$pid" 2>/dev/null || break
		sleep 0.2
	done
	nest_has "$1"
}

# A guest with a disk, in the background; what is typed comes from /tmp/in.
nest_wake_start()
{
	: >"$out"
	timeout -k 5 120 ./hostel run --engine kvm --name wake --no-reboot \
		"$@" </tmp/in >"$out" 2>&1 &
	pid=$!
	exec 9>/tmp/in
}

nest_wake_once()
{
	rm -f /tmp/in /tmp/state
	mkfifo /tmp/in
	nest_wake_start --cpus "$1" --memory 192M \
		--kernel vmlinuz-amd64 --initrd io.gz --console virtio \
		--disk /tmp/d,format=raw,readonly \
		--append "console=hvc0 quiet hostel.script=wake"
	nest_until '^T asleep'
	sleep 1
	./hostel save wake /tmp/state 9>&-
	exec 9>&-
	wait "$pid"
	nest_wake_start --restore /tmp/state
	echo awake >&9 # before it runs
	exec 9>&-
	wait "$pid"
	nest_has "^T awake $(nest_sum /tmp/d)"
}

# Nothing but an interrupt brings a sleeping guest on, and the first one comes
# before its processors run again.
nest_wake()
{
	nest_load_kvm
	head -c 4194304 /dev/urandom >/tmp/d
	for cpus in 1 2; do
		nest_try nest_wake_once "$cpus"
		nest_say $? "asleep with $cpus vCPUs when saved: it wakes"
	done
}

nest_move_run()
{
	PATIENCE=400 timeout -k 5 2400 ./test_move kvm,translator,kvm,interpreter "$@" \
		>"$out" 2>&1
}

nest_move()
{
	nest_load_kvm
	nest_try nest_move_run "$1" vmlinuz-amd64 sums.gz
	nest_say $? "a kernel's sums moved around the engines $1 times"
	nest_try nest_move_run 20 monitor
	nest_say $? "a small guest moved around the engines 20 times"
}

# --- Memory -------------------------------------------------------------------

# What hostel-vm has beyond the guest's memory: its heap, and code and data of
# its own and of libraries.
nest_memory()
{
	nest_load_kvm
	truncate -s 1M /tmp/c
	./hostel run --engine kvm \
		--kernel vmlinuz-amd64 --memory 128M \
		--initrd initramfs.cpio.gz --name footprint \
		--append "console=ttyS0 hostel.cmd=sleep,60" \
		--disk /tmp/c,format=raw --net nat \
		</dev/null >"$out" 2>&1 &
	pid=$!
	nest_until '/init reached'
	sleep 1
	vm=$(pidof hostel-vm)
	kib=$(awk '/^[0-9a-f]+-/ { ram = /memfd:hostel-ram/ }
		/^Rss:/ && !ram { n += $2 }
		END { print n }' "/proc/$vm/smaps")
	awk '/^[0-9a-f]+-/ { name = $6 }
		/^Rss:/ { kib[name] += $2 }
		END { for (n in kib) print kib[n], n }' "/proc/$vm/smaps" |
		sort -rn | head -n 12 | sed 's/^/# KiB: /'
	awk '/^[0-9a-f]+-/ { at = $0 }
		/^AnonHugePages:/ && $2 { print $2, at }' "/proc/$vm/smaps" |
		sed 's/^/# huge: /'
	[ -n "$kib" ] && [ "$kib" -le 5120 ]
	nest_say $? "memory beyond the guest's: $kib KiB"
	kill "$pid"
	wait "$pid"
}

for part in $(cat parts); do
	case $part in
	*:*) "nest_${part%%:*}" "${part#*:}" ;;
	*) "nest_$part" ;;
	esac
done
dmesg | grep -iE 'BUG:|Oops|WARNING:' | sed 's/^/# host: /'
echo "nest: done"
