# table.awk - from rows.txt and the raw results to one table and a verdict.

function best(key, value)
{
	if (!(key in least) || value < least[key])
		least[key] = value
}

function time(ns)
{
	if (ns < 1000) return sprintf("%.1f ns", ns)
	if (ns < 1e6) return sprintf("%.2f µs", ns / 1e3)
	if (ns < 1e9) return sprintf("%.2f ms", ns / 1e6)
	return sprintf("%.2f s", ns / 1e9)
}

function cell(side, name)
{
	return (side, name) in least ? time(least[side, name]) : "n/a"
}

function ratio(a, b, name)
{
	if (!((a, name) in least) || !((b, name) in least))
		return 0
	return least[a, name] / least[b, name]
}

function show(r)
{
	if (!r) return "n/a"
	return sprintf(r < 10 ? "%.2f" : "%.1f", r)
}

function floor_met(what, value, met)
{
	printf "- %s: %s: %s\n", what, value, met ? "met" : "MISSED"
}

# Differing checksums of one row are wrong results somewhere.
function sums_differ(name)
{
	return index(sums[name], " ") != 0
}

BEGIN {
	n = split("cold shell gzip tcc lua python sqlite", w, " ")
	for (i = 1; i <= n; i++)
		whole[w[i]]
}

FNR == NR {
	if ($0 ~ /^#/ || NF < 3)
		next
	names[++count] = $1
	title = $0
	sub(/^[^ ]+ +[^ ]+ +/, "", title)
	titles[$1] = title
	next
}

$2 == "cpu" && clock == "cpu" { best($1 SUBSEP $3, $4) }
$2 == "row" {
	if (clock != "cpu" || !($3 in whole))
		best($1 SUBSEP $3, $4)
	if (index(" " sums[$3] " ", " " $5 " ") == 0)
		sums[$3] = sums[$3] (sums[$3] == "" ? "" : " ") $5
	who[$3, $5] = who[$3, $5] " " $1
	next
}
$2 == "failed" { bad[++nbad] = $1 ": row " $3 " failed" }
$2 == "init" { best($1 SUBSEP "poweron", $3 * 1e9) }
# Guests are hardly ever idle: less than one processor is others' load.
$2 == "exit" && cpus == 1 { wall[$1] += $4; busy[$1] += $5 }
$2 == "exit" && $3 != 0 { bad[++nbad] = $1 ": ended with status " $3 }
# A line may wait for a busy host before drive.c sees it.
$2 == "clock" && ($3 - $4)^2 > (0.3 + $4 / 50)^2 {
	bad[++nbad] = $1 ": its clock counted " $3 " s in " $4 " s"
}
# Memory is that of the last guest with one processor.
$2 == "boot" { cpus = $3 }
$2 == "memory" && cpus == 1 { pss[$1] = $3; peak[$1] = $4; ram[$1] = $5 }
$2 == "touched" && cpus == 1 { touched[$1] = $3 / 1024 }

END {
	names[++count] = "poweron"
	titles["poweron"] = "power-on to /init, wall time"
	print "| row | what | native | QEMU | Hostel | Hostel : QEMU |" \
		" Hostel : native |"
	print "|---|---|--:|--:|--:|--:|--:|"
	for (i = 1; i <= count; i++) {
		n = names[i]
		if (only != "" && index("," only ",", "," n ",") == 0)
			continue
		speedup = ratio("qemu", "hostel", n)
		printf "| %s | %s | %s | %s | %s | **%s** | %s |%s\n", n,
			titles[n], cell("native", n), cell("qemu", n),
			cell("hostel", n), show(speedup),
			show(ratio("native", "hostel", n)),
			sums_differ(n) ? " WRONG RESULT" : ""
		if (sums_differ(n)) {
			m = split(sums[n], s, " ")
			for (k = 1; k <= m; k++)
				bad[++nbad] = n ": result " s[k] " by" \
					who[n, s[k]]
		}
		if (n == "poweron")
			continue
		if (!speedup) {
			bad[++nbad] = n ": no result"
			continue
		}
		product += log(speedup)
		rows++
		if (!low || speedup < low) {
			low = speedup
			lowest = n
		}
		to_native += log(ratio("native", "hostel", n))
	}
	print ""
	print "Ratios are of speed: above 1, Hostel is faster."
	if (clock == "cpu")
		print "Of whole programs, processor time is compared."
	for (side in wall)
		printf "%s had %.2f of a processor.\n", side,
			busy[side] / wall[side]
	for (side in pss)
		printf "Memory of %s after the benchmark: %.0f MiB" \
			" (VmHWM %.0f), of it the guest's %.0f.\n", side,
			pss[side] / 1024, peak[side] / 1024,
			(side in touched ? touched[side] : ram[side]) / 1024
	print ""
	if (rows) {
		mean = exp(product / rows)
		printf "Geometric mean of %d rows: %.2f times QEMU's speed," \
			" %.2f of native.\n\n", rows, mean,
			exp(to_native / rows)
		floor_met("geometric mean, at least 4", sprintf("%.2f", mean),
			mean >= 4)
		floor_met("every row, at least 1.5",
			sprintf("%.2f (%s)", low, lowest), low >= 1.5)
	}
	if (up = ratio("qemu", "hostel", "poweron"))
		floor_met("power-on in at most half of QEMU's time",
			sprintf("%.2f", 1 / up), up >= 2)
	if ("hostel" in touched) {
		extra = (pss["hostel"] - touched["hostel"]) / 1024
		floor_met("at most 48 MiB beyond the guest's memory",
			sprintf("%.0f", extra), extra <= 48)
	}
	for (i = 1; i <= nbad; i++)
		print "- WRONG: " bad[i]
	exit nbad > 0
}
