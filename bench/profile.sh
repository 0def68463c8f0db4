#!/bin/sh
# profile.sh [ROW[,ROW]...] - where Hostel's time goes in rows of the benchmark.
#
#	ENGINE=translator SCALE=100 TOP=10
#
# One table: each row's time by kind of code, then the TOP functions of all
# rows together.  Needs perf (linux-perf), and what `make bench` has made.  The
# boot before a row is left out: only the time of the vCPU threads from the
# row's start counts.
set -eu

top=$(cd "$(dirname "$0")/.." && pwd)
build=$top/${BUILD:-build}
cache=${HOSTEL_BENCH_DIR:-$top/.cache/bench}
guest=${HOSTEL_GUEST_DIR:-$top/.cache/guest}
rows=${1:-$(awk '!/^#/ && $2 == 1 { printf "%s%s", c, $1; c = "," }' \
	"$top/bench/rows.txt")}
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

# The guest says when it starts: perf's clock is the host's CLOCK_MONOTONIC.
profile_row()
{
	perf record -q -k CLOCK_MONOTONIC -e cpu-clock -F 999 \
		-o "$tmp/data" "$build/hostel" run \
		--engine "${ENGINE:-translator}" --no-reboot --timeout 300 \
		--kernel "$guest/vmlinuz-cloud-amd64" \
		--initrd "$cache/initramfs.img" --append "console=ttyS0 quiet \
hostel.script=bench bench.scale=${SCALE:-100} bench.rows=$1" \
		</dev/null 2>/dev/null | while read -r line; do
		case $line in
		*"bench: clock"*) cut -d' ' -f1 /proc/uptime ;;
		esac
	done >"$tmp/times"
	perf script -i "$tmp/data" -F comm,time,ip,sym,dso 2>/dev/null |
		awk -v from="$(head -n 1 "$tmp/times")" \
			-v to="$(tail -n 1 "$tmp/times")" -v row="$1" '
		/^ *vcpu/ {
			for (i = 2; $i !~ /:$/; i++)
				;
			t = $i + 0
			if (t < from || t > to)
				next
			sub(/^[^:]*: */, "")
			print row, $2, $3
		}' >>"$tmp/samples"
}

: >"$tmp/samples"
for row in $(echo "$rows" | tr , ' '); do
	profile_row "$row"
done
awk -v top="${TOP:-10}" '
function kind(name, where)
{
	if (where ~ /hostel-code/) return "translated"
	if (where !~ /hostel-vm/) return where ~ /kernel/ ? "host" : "library"
	if (name ~ /^(asm|gen|copy|plan|decode|x86_decode|operand|xl_translate)/ ||
	    name ~ /^xl_(add|alloc|arena|link|page)/)
		return "translating"
	if (name ~ /^(mmu|page_walk|paging|x86_tlb|tlb|mem|x86_walk|walk)/)
		return "memory"
	if (name ~ /^xl_/) return "dispatch"
	return "interpreter"
}
{
	k = kind($2, $3)
	n[$1, k]++
	sum[$1]++
	if (!($1 in seen)) { seen[$1]; order[++rows] = $1 }
	name = k == "translated" ? "(translated code)" : $2 " (" k ")"
	all[name]++
	total++
}
END {
	split("translated dispatch translating memory interpreter host library",
		kinds, " ")
	printf "| row |"
	for (i = 1; i <= 7; i++) printf " %s |", kinds[i]
	printf "\n|---|--:|--:|--:|--:|--:|--:|--:|\n"
	for (r = 1; r <= rows; r++) {
		printf "| %s |", order[r]
		for (i = 1; i <= 7; i++)
			printf " %.1f |", 100 * n[order[r], kinds[i]] / sum[order[r]]
		print ""
	}
	print "\n| function | percent of all |\n|---|--:|"
	for (i = 1; i <= top; i++) {
		best = ""
		for (name in all)
			if (best == "" || all[name] > all[best]) best = name
		if (best == "") break
		printf "| %s | %.1f |\n", best, 100 * all[best] / total
		delete all[best]
	}
}' "$tmp/samples"
