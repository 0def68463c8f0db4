#!/bin/sh
# save.sh - hostel save ends a guest into a file, hostel run --restore goes on
# with it, on another engine (ENGINES, in turn, MOVES times), and its programs
# notice nothing (sums.sh).  Files that are not whole are refused.
. "$(dirname "$0")/lib.sh"

ENGINES=${ENGINES:-translator interpreter}
MOVES=${MOVES:-4}
name=save$$
need_kernel amd64
sh "$top/tools/initramfs.sh" add "$tmp/sums.gz" "$KERNELS/initramfs.cpio.gz" \
	hostel/sums="$here/sums.sh" || exit 1

# Runs in the background; what it says goes to $out.
start()
{
	last_run="hostel run $*"
	rm -f "$out"
	timeout -k 5 "$LIMIT" "$HOSTEL" run --name "$name" "$@" </dev/null \
		>"$out" 2>"$err" &
	pid=$!
}

turned()
{
	for try in $(seq 600); do
		grep -q "turn [0-9]* done" "$out" 2>/dev/null && return 0
		kill -0 "$pid" 2>/dev/null || return 1
		sleep 0.1
	done
	return 1
}

# The next engine of the list, which goes around.
next_engine()
{
	set -- $ENGINES
	engine=$1
	shift
	ENGINES="$* $engine"
}

next_engine
start --engine "$engine" --kernel "$KERNELS/vmlinuz-amd64" --memory 192M \
	--initrd "$tmp/sums.gz" --append "console=ttyS0 hostel.script=sums"
ok "it computes" turned
for i in $(seq "$MOVES"); do
	"$HOSTEL" save "$name" "$tmp/state" >"$tmp/words" 2>&1
	ok "saving is status 0: $(cat "$tmp/words")" is $? 0
	wait "$pid"
	ok "the saved guest ends with status 0" is $? 0
	ok "and without a word" test ! -s "$err"
	next_engine
	start --restore "$tmp/state" --engine "$engine"
	ok "it goes on, on $engine" turned
	ok "and nothing is wrong" test -z "$(grep WRONG "$out")"
done
kill "$pid"
wait "$pid"

status=
refuses()
{
	"$HOSTEL" run "$@" </dev/null >"$out" 2>"$err"
	status=$?
	refused "$tmp/\(state\|part\)"
}
ok "another size is refused" refuses --restore "$tmp/state" --memory 256M
head -c 100000 "$tmp/state" >"$tmp/part"
ok "half a file is refused" refuses --restore "$tmp/part"
head -c 5 "$tmp/state" >"$tmp/part"
ok "less is refused" refuses --restore "$tmp/part"
finish
