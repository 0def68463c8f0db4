#!/bin/sh
# imports.sh - fails on an include that goes up.
#
# base <- {mem, block, net} <- {cpu, dev} <- {machine, image} <- state <- vmm
#	<- {daemon, cli}
#
# A directory may include itself and any of a lower rank, but no sibling.
set -u
cd "${1:-$(dirname "$0")/..}" || exit 99

grep -rnE --include='*.[ch]' --include='*.S' '^[[:space:]]*#[[:space:]]*include "' src |
awk '
BEGIN {
	rank["base"] = 0; rank["mem"] = 1
	rank["block"] = rank["net"] = 1
	rank["cpu"] = rank["dev"] = 2
	rank["machine"] = rank["image"] = 3; rank["state"] = 4; rank["vmm"] = 5
	rank["daemon"] = rank["cli"] = 6
}
{
	split($0, part, ":")
	split(part[1], from, "/")
	split($0, quoted, "\"")
	# A name alone is a file of the same directory.
	if (split(quoted[2], to, "/") == 1)
		next
	where = part[1] ":" part[2] ": "
	if (!(from[2] in rank)) {
		print where "src/" from[2] " has no rank here"; bad++
	} else if (!(to[1] in rank)) {
		print where "\"" quoted[2] "\" is not named from src/"; bad++
	} else if (from[2] != to[1] && rank[to[1]] >= rank[from[2]]) {
		print where from[2] " must not include " to[1]; bad++
	}
}
END {
	if (NR < 50) { print "only " NR " includes found"; bad++ }
	exit bad > 0
}'
