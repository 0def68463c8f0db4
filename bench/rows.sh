#!/bin/sh
# rows.sh ROOT ROWS SCALE - runs measurements, in a guest (ROOT empty) or, with
# the very same files, natively.  ROWS: names with commas; SCALE: percent.
root=$1
rows=$2
scale=$3
programs=$root/bench/programs
data=$root/bench/data
busybox=$root/bin/busybox
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

# Debian's programs, by their own loader and libraries in both worlds.
lib=$root/lib/x86_64-linux-gnu
libs=$lib:$root/usr/lib/x86_64-linux-gnu
loader="$lib/ld-linux-x86-64.so.2 --library-path $libs"

# row_times N: how often a command runs, by the scale, at least once.
row_times()
{
	n=$(($1 * scale / 100))
	[ "$n" -gt 0 ] || n=1
	echo "$n"
}

# command_row NAME TIMES COMMAND...
command_row()
{
	name=$1
	n=$(row_times "$2")
	shift 2
	"$programs" run "$name" "$n" "$@"
}

python_row()
{
	PYTHONHOME=$root/usr PYTHONDONTWRITEBYTECODE=1 PYTHONHASHSEED=0 \
		command_row "$1" "$2" $loader "$root/usr/bin/python3.11" -S \
		"$data/work.py"
}

one_row()
{
	case $1 in
	shell)
		command_row shell 2 "$busybox" sh "$data/starts.sh" "$busybox"
		;;
	gzip)
		"$programs" data 1000000 >"$tmp/text"
		command_row gzip 3 "$busybox" gzip -c "$tmp/text"
		;;
	tcc)
		command_row tcc 2 sh -c '"$@" && cat "$0"' "$tmp/out.o" \
			$loader "$root/usr/bin/tcc" -c "$data/generated.c" \
			-o "$tmp/out.o"
		;;
	lua) command_row lua 2 $loader "$root/usr/bin/lua5.4" "$data/work.lua" ;;
	cold) python_row cold 1 ;;
	python) python_row python 2 ;;
	sqlite)
		command_row sqlite 2 $loader "$root/usr/bin/sqlite3" \
			-init "$data/work.sql" :memory: .exit
		;;
	*) "$programs" "$1" "$scale" ;;
	esac
}

for row in $(echo "$rows" | tr , ' '); do
	one_row "$row" || echo "failed $row"
done
