#!/bin/sh
# balloon.sh - a stock kernel gives memory up when it is asked to, takes it
# back, says what it counts, and returns what it has freed.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/running.sh"

need_kernel amd64
need_modules amd64
cat >"$tmp/guest" <<'END'
free_mib()
{
	awk '/^MemFree/ { print int($2 / 1024) }' /proc/meminfo
}
# Touch 200 MiB and let it go.
head -c 200m /dev/zero >/tmp/big
echo "T touched"
read -r line
rm /tmp/big
echo "T start $(free_mib)"
read -r line
echo "T small $(free_mib)"
head -c 60m /dev/zero | sha256sum
read -r line
head -c 190m /dev/zero >/tmp/big && echo "T oom $(wc -c </tmp/big)"
rm /tmp/big
read -r line
echo "T large $(free_mib)"
END
guest_initrd "$tmp/guest"
start --kernel "$KERNELS/vmlinuz-amd64" --initrd "$tmp/initrd" \
	--memory 512M --append "console=ttyS0 quiet hostel.script=test"

balloon()
{
	last_run="hostel balloon one $*"
	"$HOSTEL" balloon one "$@" >"$tmp/answer" 2>&1 9>&-
	status=$?
}
# A number of the last answer, in MiB.
mib()
{
	sed -n "s/^ *\"$1\": \([0-9]*\),*\$/\1/p" "$tmp/answer" |
		awk '{ print int($1 / 1048576) }'
}
has()
{
	balloon
	[ -n "$(mib "$1")" ] && [ "$(mib "$1")" "$2" "$3" ]
}

ok "the guest comes up" until_ said '^T touched'
balloon
ok "200 MiB are touched" test "$(mib touched)" -ge 250
touched=$(mib touched)
ok "all memory is its own" is "$(mib memory)" 512
ok "it counts its memory" test "$(mib total)" -ge 400
ok "and what is free" test "$(mib free)" -lt 260
echo >&9
ok "it frees" until_ said '^T start'
ok "free pages are reported, and go" until_ has touched -le $((touched - 150))
balloon 200M
ok "a target is taken" is "$status" 0
ok "it shrinks to it" until_ has memory -eq 200
echo >&9
ok "it lives" until_ said '^T small'
ok "its memory is less: $(value small)" test "$(value small)" -lt 150
ok "it works" until_ said '  -'
echo >&9
ok "out of memory it takes some back" until_ said '^T oom 199229440'
ok "which shows" has memory -gt 205
balloon reclaim
ok "free pages can be asked for" is "$status" 0
ok "and come" test "$(mib reclaimed)" -ge 50
"$HOSTEL" stats one >"$tmp/answer" 9>&-
ok "stats show it" test "$(mib reclaimed)" -ge 50
ok "and what is counted" test "$(mib total)" -ge 200
balloon 512M
ok "it grows again" until_ has memory -eq 512
echo >&9
ok "it ends" until_ said '^T large'
ok "its memory is back: $(value large)" test "$(value large)" -gt 300
balloon 513M
ok "more than there is is refused" is "$status" 125
balloon 0
ok "nothing, too" is "$status" 125
balloon lots
ok "and what is no size" is "$status" 125
end
status=$?
ok "power-off is status 0" is "$status" 0
finish
