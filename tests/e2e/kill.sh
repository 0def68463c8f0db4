#!/bin/sh
# kill.sh - however hostel ends, hostel-vm ends, and nothing stays behind.
. "$(dirname "$0")/lib.sh"

name=hostel-test-$$
TMPDIR=$tmp/tmpdir
export TMPDIR
mkdir "$TMPDIR"

# Starts a guest in the background; $pid is hostel's.
start()
{
	rm -f "$tmp/in"
	mkfifo "$tmp/in"
	"$HOSTEL" run --engine "$ENGINE" --name "$name" \
		--kernel "$GUESTS/monitor" --append "$@" \
		<"$tmp/in" >"$out" 2>"$err" &
	pid=$!
	exec 9>"$tmp/in"
	for try in $(seq 100); do
		said 'monitor ready' && return 0
		sleep 0.1
	done
	ok "the guest came up" false
}

mkdir "$tmp/cwd"
cd "$tmp/cwd" || exit 99
for case in "TERM 143" "INT 130" "HUP 129" "KILL 137"; do
	for guest in :L :H :; do
		start "$guest"
		kill -"${case% *}" "$pid"
		wait "$pid"
		status=$?
		last_run="$guest, kill -${case% *}"
		exec 9>&-
		ok "status" is "$status" "${case#* }"
		ok "hostel-vm is gone" gone "$name"
		ok "without a word" test ! -s "$err"
	done
done

# Somebody kills hostel-vm itself.
start :L
kill -KILL $(pids_of "$name" | grep -vx "$pid")
wait "$pid"
status=$?
exec 9>&-
ok "a killed hostel-vm is Hostel's failure" is "$status" 125
ok "and told in one sentence" is "$(wc -l <"$err")" 1

# What is shared with others may change meanwhile (tests run side by side):
# ours would lie in our own TMPDIR, or bear the guest's name.
ok "no file is left" is "$(find . "$TMPDIR" ! -name . ! -path "$TMPDIR")$(
	find /tmp /dev/shm -maxdepth 1 -name "*$name*" 2>/dev/null)" ""
finish
