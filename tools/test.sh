#!/bin/sh
# test.sh BUILD [OPTION...] - builds, then runs every test; options go to
# meson test.  The last line is "N passed, N failed, N skipped".
set -u

build=$1
shift

# Says the last line, and keeps it for .ci/run.
test_summary()
{
	mkdir -p "$build"
	echo "$*" | tee "$build/test-summary"
}

test_fail()
{
	echo "test.sh: $*" >&2
	test_summary "0 passed, 1 failed"
	exit 1
}

[ -e "$build/build.ninja" ] || meson setup "$build" >/dev/null ||
	test_fail "meson setup failed"
ninja -C "$build" || test_fail "the build failed"
sh tools/guest.sh all || test_fail "the guests could not be made"

log=$(mktemp)
trap 'rm -f "$log"' EXIT
# Time limits are there to end what hangs, not what runs on a busy host.
meson test -C "$build" --no-rebuild --print-errorlogs \
	--timeout-multiplier 4 "$@" </dev/null >"$log" 2>&1 &
pid=$!
tail -n +1 -f --pid="$pid" "$log"
wait "$pid"
status=$?

# "Ok: 12", "Expected Fail: 0", "Fail: 1", "Skipped: 2", "Timeout: 0"
test_count()
{
	awk -F: -v names="$1" '
		BEGIN { n = split(names, name, ",") }
		{ for (i = 1; i <= n; i++)
			if ($1 == name[i]) sum += $2 }
		END { print sum + 0 }' "$log"
}

passed=$(test_count "Ok,Expected Fail")
failed=$(test_count "Fail,Unexpected Pass,Timeout")
[ "$status" = 0 ] || [ "$failed" -gt 0 ] || failed=1
test_summary "$passed passed, $failed failed, $(test_count Skipped) skipped"
[ "$failed" = 0 ]
