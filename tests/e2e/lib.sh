# lib.sh - what the end-to-end scripts share; sourced, not run.
#
# Environment, set by tests/e2e/meson.build: HOSTEL (the program), GUESTS (the
# bare-metal guests), KERNELS (kernels and initramfs), ENGINE (default auto),
# LIMIT (seconds after which a run counts as hung).  A script alone:
#	meson test -C build e2e-NAME
set -u

ENGINE=${ENGINE:-auto}
LIMIT=${LIMIT:-120}
here=$(cd "$(dirname "$0")" && pwd)
top=$(cd "$here/../.." && pwd)
HOSTEL=${HOSTEL:-$top/build/hostel}
GUESTS=${GUESTS:-$top/build/tests/e2e}
KERNELS=${KERNELS:-$top/.cache/guest}
failures=0
checks=0

tmp=$(mktemp -d) || exit 99
trap 'rm -rf "$tmp"' EXIT
trap 'exit 99' INT TERM HUP
# Named guests of tests are nobody else's.
export HOSTEL_RUNTIME_DIR="$tmp/run"
out=$tmp/out
err=$tmp/err
input=/dev/null

# hostel run ARGUMENT...; leaves $status, and the files $out and $err.
hostel()
{
	timeout -k 5 "$LIMIT" "$HOSTEL" run --engine "$ENGINE" "$@" \
		<"$input" >"$out" 2>"$err"
	status=$?
	last_run="hostel run $*"
}

monitor()
{
	letters=$1
	shift
	hostel --kernel "$GUESTS/monitor" --append ":$letters" "$@"
}

# ok WHAT COMMAND...: one check.
ok()
{
	what=$1
	shift
	checks=$((checks + 1))
	"$@" && return 0
	failures=$((failures + 1))
	echo "FAILED: $what ($*)"
	echo "  after: ${last_run:-} -> status ${status:-}"
	[ ! -s "$err" ] || sed 's/^/  stderr: /' "$err" | tail -n 5
	[ ! -s "$out" ] || sed 's/^/  stdout: /' "$out" | tail -n 15
	return 1
}

said()
{
	grep -q -- "$1" "$out"
}

is()
{
	[ "$1" = "$2" ]
}

# One sentence on stderr, naming $1, nothing on stdout, status 125.
refused()
{
	[ "$status" = 125 ] && [ ! -s "$out" ] &&
		[ "$(wc -l <"$err")" = 1 ] && grep -q '^hostel: ' "$err" &&
		grep -q -e "$1" "$err"
}

# The processes that have this word on their command line; the bracket keeps
# grep from finding itself.
pids_of()
{
	grep -lsz -x -e "[${1%"${1#?}"}]${1#?}" /proc/[0-9]*/cmdline |
		cut -d/ -f3
}

# Nobody has it any more (within 2 s).
gone()
{
	for try in 1 2 3 4 5 6 7 8 9 10; do
		[ -n "$(pids_of "$1")" ] || return 0
		sleep 0.2
	done
	return 1
}

# What the guest's script told by `echo "T WHAT VALUE"`.
value()
{
	sed -n "s/^T $1 \(.*[^\r]\)\r*\$/\1/p" "$out"
}

# Of standard input.
sum()
{
	sha256sum | cut -c 1-64
}

# $tmp/initrd: the initial RAM file system, with the kernel's modules and the
# file $1 as the script `test`, and more files as NAME=FILE.
guest_initrd()
{
	script=$1
	shift
	sh "$top/tools/initramfs.sh" add "$tmp/initrd" \
		"$KERNELS/initramfs.cpio.gz" "hostel/test=$script" "$@" ||
		exit 99
	cat "$KERNELS/modules-amd64.cpio.gz" >>"$tmp/initrd"
}

skip()
{
	echo "SKIPPED: $*"
	exit 77
}

need_kernel()
{
	[ -s "$KERNELS/vmlinuz-$1" ] && [ -s "$KERNELS/initramfs.cpio.gz" ] ||
		skip "no kernel in $KERNELS; run tools/guest.sh"
}

need_modules()
{
	[ -s "$KERNELS/modules-$1.cpio.gz" ] ||
		skip "no modules in $KERNELS; run tools/guest.sh"
}

finish()
{
	echo "$checks checks, $failures failed"
	[ "$failures" = 0 ]
	exit
}
