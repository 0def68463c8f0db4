#!/bin/sh
# control.sh - named guests: list, pause, resume, stats, reset, screenshot,
# save, stop; names that are taken or cannot be; what a crash leaves behind.
. "$(dirname "$0")/lib.sh"

# Starts a guest in the background; $pid is hostel's, and its input stays open.
start()
{
	rm -f "$tmp/in"
	mkfifo "$tmp/in"
	"$HOSTEL" run --engine "$ENGINE" --name "$@" \
		<"$tmp/in" >"$out" 2>"$err" &
	pid=$!
	exec 9>"$tmp/in"
	for try in $(seq 100); do
		said 'monitor ready' && return 0
		sleep 0.1
	done
	ok "the guest came up" false
}
ended()
{
	wait "$pid"
	status=$?
	exec 9>&-
	ok "$1: status" is "$status" "$2"
	ok "$1: its directory is gone" test ! -e "$HOSTEL_RUNTIME_DIR/one"
}
# One verb; leaves its output in $answer.
verb()
{
	last_run="hostel $*"
	answer=$(timeout 30 "$HOSTEL" "$@" 2>&1 9>&-)
	status=$?
}
one="one --kernel $GUESTS/monitor --append :"

start $one
verb list
ok "it is listed" test -n "$(echo "$answer" | grep '^one  *running')"
ok "its description is kept" grep -q '"cpus": 1' \
	"$HOSTEL_RUNTIME_DIR/one/config.json"
ok "its process, too" test -d "/proc/$(cat "$HOSTEL_RUNTIME_DIR/one/pid")"
ok "nobody else may look" is "$(stat -c %a "$HOSTEL_RUNTIME_DIR/one")" 700
verb run --name one --kernel "$GUESTS/monitor" --append :5
ok "a second one is refused" is "$status" 125
ok "with the reason" test -n "$(echo "$answer" | grep 'one is running')"
verb stats one
ok "statistics" test -n "$(echo "$answer" | grep '"engine"')"
verb pause one
verb pause one
ok "pausing twice is pausing" is "$status" 0
verb list
ok "it is paused" test -n "$(echo "$answer" | grep '^one  *paused')"
echo xyz >&9
sleep 0.5
ok "it stands still" test -z "$(grep xyz "$out")"
verb resume one
for try in $(seq 50); do
	said xyz && break
	sleep 0.1
done
ok "it goes on" said xyz
verb reset one
for try in $(seq 50); do
	[ "$(grep -c 'monitor ready' "$out")" = 2 ] && break
	sleep 0.1
done
ok "it was reset" is "$(grep -c 'monitor ready' "$out")" 2
verb power one
ok "the power button" is "$status" 0
verb stop one --timeout 1
ok "it does not listen to it, and is ended" is "$status" 0
ended stop 0

start $one
verb stop one --now
ok "no word" is "$answer" ""
ended "stop --now" 0

start $one
verb pause one
verb stop one --now
ended "stop of a paused one" 0

start $one
verb save one "$tmp/saved"
ok "saved" is "$status" 0
ended save 0
ok "the file is whole" test -s "$tmp/saved" -a ! -e "$tmp/saved.part"

start $one
kill -9 "$pid"
wait "$pid" 2>/dev/null
exec 9>&-
# Its process ends a moment later, and until then can be asked.
for try in 1 2 3 4 5 6 7 8 9 10; do
	verb stop one
	[ "$status" = 0 ] || break
	sleep 0.1
done
ok "a guest that was killed is not there" is "$status" 125
start $one
verb list
ok "its name can be had again" test -n "$(echo "$answer" | grep '^one  *run')"
kill -9 "$pid"
wait "$pid" 2>/dev/null
exec 9>&-
for try in 1 2 3 4 5; do
	verb list
	[ -n "$(ls "$HOSTEL_RUNTIME_DIR")" ] || break
	sleep 0.2
done
ok "list removes what it left" is "$(ls "$HOSTEL_RUNTIME_DIR")" ""

for name in ../up .hidden a/b -x "$(printf '%065d' 1)" 'a b' ''; do
	verb run "--name=$name" --kernel "$GUESTS/monitor" --append :5
	ok "the name '$name' is refused" is "$status" 125
done
verb stop
ok "no name" is "$status" 125
verb stop nobody
ok "nobody" is "$answer" "hostel: no guest named nobody is running;\
 \`hostel list\` shows those that are"
finish
