#!/bin/sh
# bench_table.sh TOP - bench/table.awk says what results mean, wrong ones above
# all.
set -u

table=$1/bench/table.awk
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
failures=0

cat >"$tmp/rows" <<'END_ROWS'
# name  cpus  what
first   1     the first
second  1     the second
END_ROWS

# says STATUS PATTERN WHAT: the table of the results on stdin.
says()
{
	cat >"$tmp/results"
	awk -f "$table" "$tmp/rows" "$tmp/results" >"$tmp/out"
	status=$?
	if [ "$status" != "$1" ] || ! grep -qE -- "$2" "$tmp/out"; then
		echo "FAILED: $3 (status $status)"
		cat "$tmp/out"
		failures=$((failures + 1))
	fi
}

good='hostel boot 1
hostel row first 100 aa
hostel row second 10 bb
hostel memory 150000 160000 100000
hostel exit 0 2.0 2.0
hostel touched 102400000
qemu boot 1
qemu row first 1600 aa
qemu row second 40 bb
qemu exit 0 2.0 2.0
native row first 50 aa
native row second 10 bb'

echo "$good" | says 0 'mean of 2 rows: 8.00 times.* 0.71 of native' mean
echo "$good" | says 0 'at least 4: 8.00: met' "the mean's floor"
echo "$good" | says 0 'every row, at least 1.5: 4.00 .second.: met' "a floor"
echo "$good" | says 0 'beyond the guest.*: 49: MISSED' memory
{ echo "$good"; echo "hostel row first 70 aa"; } |
	says 0 '70.0 ns \| \*\*22.9\*\*' "the shortest of all rounds counts"
{ echo "$good"; echo "native row first 50 ab"; } |
	says 1 'WRONG: first: result ab by native' "a checksum that differs"
echo "$good" | grep -v 'qemu row second' |
	says 1 'WRONG: second: no result' "a row without a result"
{ echo "$good"; echo "hostel failed second"; } |
	says 1 'WRONG: hostel: row second failed' "a row that failed"
{ echo "$good"; echo "hostel clock 10.0 12.0"; } |
	says 1 'WRONG: hostel: its clock' "a clock that lies"
{ echo "$good"; echo "qemu exit 1 3.0 3.0"; } |
	says 1 'WRONG: qemu: ended with status 1' "a guest that died"
exit "$failures"
