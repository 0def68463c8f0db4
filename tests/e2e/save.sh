#!/bin/sh
# save.sh - hostel save ends a guest into a file, hostel run --restore goes on
# with it, on another engine (ENGINES, in turn, MOVES times), and its programs
# notice nothing (sums.sh).  Files that are not whole are refused.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/running.sh"

ENGINES=${ENGINES:-translator interpreter}
MOVES=${MOVES:-4}
need_kernel amd64
sh "$top/tools/initramfs.sh" add "$tmp/sums.gz" "$KERNELS/initramfs.cpio.gz" \
	hostel/sums="$here/sums.sh" || exit 1

next_engine
start --kernel "$KERNELS/vmlinuz-amd64" --memory 192M \
	--initrd "$tmp/sums.gz" --append "console=ttyS0 hostel.script=sums"
ok "it computes" until_ turned
for i in $(seq "$MOVES"); do
	go_on 1
done
kill "$pid"
end

status=
refuses()
{
	"$HOSTEL" run "$@" </dev/null >"$out" 2>"$err"
	status=$?
	refused "$tmp/\(state\|part\)"
}
ok "another size is refused" refuses --restore "$tmp/state" --memory 256M
head -c 100000 "$tmp/state" >"$tmp/part"
ok "half a file is refused" refuses --restore "$tmp/part"
head -c 5 "$tmp/state" >"$tmp/part"
ok "less is refused" refuses --restore "$tmp/part"
finish
