#!/bin/sh
# fuzz.sh [NAME...] - runs fuzz harnesses at length, coverage guided and with
# sanitizers, one after the other: SECONDS each (default 600), from corpora
# kept in the build directory.  Builds with clang into FUZZ_BUILD.  Prints a
# line for each: name, seconds, inputs, edges covered, findings.
cd "$(dirname "$0")/.." || exit 1
build=${FUZZ_BUILD:-build-fuzz}
seconds=${SECONDS_EACH:-600}

[ -e "$build/build.ninja" ] || CC=clang meson setup "$build" -Dfuzzer=true \
	-Db_sanitize=address,undefined -Db_lundef=false \
	-Dc_args=-fno-sanitize-recover=undefined >/dev/null || exit 1
if [ $# = 0 ]; then
	set -- $(meson test -C "$build" --list --suite fuzz 2>/dev/null |
		sed -n 's/.*fuzz_//p' | sort)
fi

# What the test's own line says of the longest input.
fuzz_max_len()
{
	n=$(sed -n "s/.*'$1':.*-max_len=\([0-9]*\).*/\1/p" tests/meson.build)
	echo "${n:-4096}"
}

fuzz_run()
{
	corpus=$build/corpus/$1
	log=$build/corpus/$1.log
	mkdir -p "$corpus"
	"$build/tests/fuzz_$1" -max_total_time="$seconds" -timeout=20 \
		-rss_limit_mb=4096 -max_len="$(fuzz_max_len "$1")" \
		-print_final_stats=1 -artifact_prefix="$build/corpus/$1-" \
		-close_fd_mask=1 "$corpus" >"$log" 2>&1
	status=$?
	runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
	edges=$(sed -n 's/.* cov: \([0-9]*\) .*/\1/p' "$log" | tail -1)
	finding=none
	[ "$status" = 0 ] || finding="see $log"
	echo "$1 | $seconds | ${runs:-?} | ${edges:-?} | $finding"
	return "$status"
}

failed=0
for name; do
	ninja -C "$build" "tests/fuzz_$name" >"$build/fuzz-ninja.log" ||
		{ cat "$build/fuzz-ninja.log"; exit 1; }
	fuzz_run "$name" || failed=1
done
exit "$failed"
