# running.sh - a guest in the background, by the name `one`; sourced behind
# lib.sh.

# hostel run ARGUMENT...: $pid; what is written to descriptor 9 is typed.
start()
{
	last_run="hostel run $*"
	rm -f "$tmp/in"
	mkfifo "$tmp/in"
	: >"$out"
	timeout -k 5 "$LIMIT" "$HOSTEL" run --engine "$ENGINE" --name one \
		"$@" <"$tmp/in" >"$out" 2>"$err" &
	pid=$!
	exec 9>"$tmp/in"
}

# No more is typed; its status.
end()
{
	exec 9>&-
	wait "$pid"
}

# Until COMMAND, within a minute and while the guest runs.
until_()
{
	for try in $(seq 600); do
		"$@" && return 0
		kill -0 "$pid" 2>/dev/null || break
		sleep 0.1
	done
	"$@"
}

# hostel VERB ARGUMENT...; leaves $answer and $status.
verb()
{
	last_run="hostel $*"
	answer=$(timeout 60 "$HOSTEL" "$@" 2>&1 9>&-)
	status=$?
}

# --- A shell that is typed to ---------------------------------------------------

# $tmp/initrd: with a script `test` that does what guest() says.
shell_initrd()
{
	cat >"$tmp/guest" <<'END'
echo "T ready"
while read -r line; do
	eval "$line"
	echo "T done"
done
END
	guest_initrd "$tmp/guest"
}

guest_is_done()
{
	[ "$(grep -c '^T done' "$out")" -gt "$before" ]
}

# One line for the guest's shell; waits for its end.
guest()
{
	before=$(grep -c '^T done' "$out")
	echo "$1" >&9
	until_ guest_is_done || ok "the guest answers '$1'" false
}

# The last that it told of this.
value()
{
	sed -n "s/^T $1 \(.*[^\r]\)\r*\$/\1/p" "$out" | tail -n 1
}

# --- Work that goes on when it is saved -----------------------------------------

# The guest says "turn N done" as it works, and WRONG.
turned()
{
	[ "$(grep -c "turn [0-9]* done" "$out")" -ge "${1:-1}" ]
}

# Takes the next engine of the list ENGINES, which goes around.
next_engine()
{
	set -- $ENGINES
	ENGINE=$1
	shift
	ENGINES="$* $ENGINE"
}

# go_on TURNS: is saved, and goes on, on the next engine.
go_on()
{
	verb save one "$tmp/state"
	ok "saving is status 0: $answer" is "$status" 0
	end
	ok "the saved guest ends with status 0" is $? 0
	ok "and without a word" test ! -s "$err"
	next_engine
	start --restore "$tmp/state"
	ok "it goes on, on $ENGINE" until_ turned "$1"
	ok "and nothing is wrong" test -z "$(grep WRONG "$out")"
}
