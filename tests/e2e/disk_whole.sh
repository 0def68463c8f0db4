#!/bin/sh
# disk_whole.sh - `hostel disk convert` and `create` leave a whole image or
# nothing at all: on a full disk, after Ctrl-C, on top of something else.
. "$(dirname "$0")/lib.sh"

if [ -z "${DISK_WHOLE_INSIDE:-}" ]; then
	unshare -Urm true 2>/dev/null ||
		skip "no user namespaces here, which a small tmpfs needs"
	DISK_WHOLE_INSIDE=1 unshare -Urm sh "$0"
	exit
fi
mkdir "$tmp/small"
mount -t tmpfs -o size=2m tmpfs "$tmp/small" || skip "no tmpfs here"
cd "$tmp" || exit 99

disk()
{
	timeout -k 5 "$LIMIT" "$HOSTEL" disk "$@" >"$out" 2>"$err" </dev/null
	status=$?
	last_run="hostel disk $*"
}

# left: what lies in the small directory.
left()
{
	[ "$(ls -A small | tr '\n' ' ')" = "$1" ]
}

head -c 4M /dev/urandom >source

# No room: the target's own name in one sentence, and nothing is left.
for kind in raw qcow2 vmdk 'vmdk --variant stream' 'vmdk --variant flat' \
		'qcow2 --compress' 'qcow2 --provision thick-eager'; do
	# shellcheck disable=SC2086
	disk convert source small/target --format $kind
	ok "no room for $kind" refused 'small/target.*No space left'
	ok "nothing is left of $kind" left ""
	# shellcheck disable=SC2086
	[ "$kind" = 'qcow2 --compress' ] || {
		disk create small/target 4M --provision thick-eager \
			--format ${kind%% *}
		ok "nor for a thick one" refused 'small/target.*No space left'
		ok "nothing is left of it" left ""
	}
done

# Several files that name each other do so by their own names.
disk convert source two.vmdk --format vmdk --variant flat
ok "works" is "$status" 0
ok "its bytes are beside it" cmp -s source two-flat.vmdk
ok "it names them" grep -q '"two-flat.vmdk"' two.vmdk
ok "nothing else is there" is "$(ls -Ad two* .two* 2>/dev/null | wc -l)" 2
rm two.vmdk
disk convert source two.vmdk --format vmdk --variant flat
ok "bytes of another image are kept" refused 'two-flat.vmdk: File exists'
disk convert source two.vmdk --format vmdk --variant flat --force
ok "unless told otherwise" is "$status" 0

# Ctrl-C: the signal's own status, as a shell expects, after cleaning up.
head -c 300M /dev/zero | tr '\0' x >large
for words in "convert large half --compress" \
		"create half 8G --format raw --provision thick-eager"; do
	# In a shell of its own, which has not got signals ignored.
	for signal in INT TERM; do
		# shellcheck disable=SC2086
		python3 - $signal "$HOSTEL" disk $words 2>"$err" <<'END'
import signal, subprocess, sys, time
signal.signal(signal.SIGINT, signal.SIG_DFL)
p = subprocess.Popen(sys.argv[2:])
time.sleep(0.3)
p.send_signal(getattr(signal, "SIG" + sys.argv[1]))
sys.exit(0 if p.wait() == -getattr(signal, "SIG" + sys.argv[1]) else 1)
END
		status=$?
		last_run="hostel disk $words"
		ok "$signal ends it" is "$status" 0
		ok "it says so" grep -q 'interrupted.*half' "$err"
		ok "nothing is left" is "$(ls -Ad half .half* 2>/dev/null)" ""
	done
done
rm large

# What --force must not replace.
disk create used.qcow2 4M
python3 - used.qcow2 <<'END' &
import fcntl, struct, sys, time
f = open(sys.argv[1], "r+b")
# As QEMU and Hostel say "I write" (docs/disks.md, Locks).
fcntl.fcntl(f, 37, struct.pack("hhqqi4x", fcntl.F_RDLCK, 0, 101, 1, 0))
fcntl.fcntl(f, 37, struct.pack("hhqqi4x", fcntl.F_RDLCK, 0, 201, 1, 0))
open("locked", "w").close()
time.sleep(20)
END
holder=$!
for try in $(seq 100); do [ -e locked ] && break; sleep 0.1; done
disk convert source used.qcow2 --force
ok "an image in use stays" refused 'used.qcow2 is in use'
kill $holder
mkdir directory
disk convert source directory --force
ok "a directory stays" refused 'directory is not a regular file'
ln -s source link
disk convert source link --force
ok "so does a link, as of /dev" refused 'link is not a regular file'

# Words that the format has no use for.
not_for()
{
	disk create new 4M --format "$@"
	ok "--$2 is refused" refused "$2"
	ok "nothing is made" test ! -e new
}
not_for raw --cluster-size 64K
not_for raw --variant v3
not_for raw --backing source
not_for qcow2 --backing-format raw
not_for vmdk --lazy-refcounts
not_for vmdk --compression zstd
not_for vmdk --refcount-bits 16
cd / && umount "$tmp/small"
finish
