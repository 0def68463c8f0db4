#!/bin/sh
# disk_verbs.sh - `hostel disk`: each verb does what it says, as qemu-img sees
# it too, and refuses with one sentence what it cannot do.
. "$(dirname "$0")/lib.sh"
cd "$tmp" || exit 99

# disk VERB...; leaves $status, $out and $err.
disk()
{
	timeout -k 5 "$LIMIT" "$HOSTEL" disk "$@" >"$out" 2>"$err" </dev/null
	status=$?
	last_run="hostel disk $*"
}

refuses()
{
	disk "$@"
	ok "refused" is "$status" 125
	ok "one sentence" is "$(wc -l <"$err")" 1
}

sentence()
{
	grep -q -- "$1" "$err"
}

works()
{
	disk "$@"
	ok "works" is "$status" 0
	ok "without words" test ! -s "$err"
}

same()
{
	qemu-img compare -q "$@"
}

sound()
{
	qemu-img check -q "$1"
}

# create, info
works create a.qcow2 32M
works info a.qcow2
ok "info tells the size" said '^size .*33554432 bytes'
works info --json a.qcow2
ok "info is JSON" python3 -c 'import json,sys
i = json.load(open(sys.argv[1]))
assert i["format"] == "qcow2" and i["virtual-size"] == 32 << 20' "$out"
refuses create a.qcow2 32M
ok "says that it is there" sentence 'a.qcow2 exists already.*--force'
works create --force --variant v2 --cluster-size 4K a.qcow2 32M
ok "qemu sees version 2" grep -q 'compat: 0.10' <<X
$(qemu-img info a.qcow2)
X
for how in thin metadata thick-lazy thick-eager; do
	works create --provision $how --force p.qcow2 8M
	ok "qemu finds nothing wrong with $how" sound p.qcow2
	works create --provision $how --format raw --force p.raw 8M
done
ok "thick takes its space" test "$(du -k p.raw | cut -f1)" -ge 8192
refuses create b.qcow2
refuses create b.qcow2 x
refuses create --provision fat b.qcow2 1M
refuses create --cluster-size 3000 b.qcow2 1M
refuses create --format vdi b.qcow2 1M
refuses create --backing none b.qcow2
refuses create nodir/b.qcow2 1M
ok "nothing half made is left" test ! -e b.qcow2

# convert: bytes, holes, compression, formats
works create --force a.qcow2 32M
qemu-io -c 'write -P 3 1M 5M' -c 'write -P 4 20M 100k' -c 'write -z 2M 64k' \
	a.qcow2 >/dev/null
works convert a.qcow2 b.qcow2
ok "convert keeps the bytes" same a.qcow2 b.qcow2
works convert --format raw a.qcow2 b.raw
ok "to raw" same -f qcow2 -F raw a.qcow2 b.raw
ok "holes stay holes" test "$(du -k b.raw | cut -f1)" -lt 8192
for c in zlib zstd; do
	works convert --force --compress --compression $c b.raw c.qcow2
	ok "from raw, packed with $c" same -F raw c.qcow2 b.raw
	ok "it is smaller" test "$(du -k c.qcow2 | cut -f1)" -lt 1024
	ok "qemu finds nothing wrong" sound c.qcow2
done
refuses convert a.qcow2 b.qcow2
refuses convert --force a.qcow2 a.qcow2
ok "says that it is the same file" sentence 'source and target'
refuses convert none d.qcow2
refuses convert --compress --format raw a.qcow2 d.raw
ok "no part is left" test -z "$(find . -name '*.part')"
works convert --backing a.qcow2 b.raw d.qcow2
ok "what the base has is not written again" \
	test "$(du -k d.qcow2 | cut -f1)" -lt 1024
ok "and it reads the same" same -F raw d.qcow2 b.raw

# map
works map --json a.qcow2
ok "map agrees with qemu" python3 - "$out" <<'X'
import json, subprocess, sys
def data(l):
	return [(e["start"], e["length"], e["offset"]) for e in l if e["data"]]
ours = json.load(open(sys.argv[1]))
theirs = json.loads(subprocess.check_output(
	["qemu-img", "map", "--output=json", "a.qcow2"]))
assert sum(e["length"] for e in ours) == 32 << 20
assert [d[0] for d in data(ours)] == [d[0] for d in data(theirs)]
assert [d[2] for d in data(ours)] == [d[2] for d in data(theirs)]
X
works map a.qcow2
ok "map names the file" said '^0x100000 .*a.qcow2'

# resize
works resize a.qcow2 +8M
ok "it grew" grep -q 41943040 <<X
$(qemu-img info a.qcow2)
X
refuses resize a.qcow2 30M
ok "says how to shrink" sentence '--shrink'
works resize --shrink a.qcow2 -10M
ok "it shrank" grep -q 31457280 <<X
$(qemu-img info a.qcow2)
X
ok "qemu finds nothing wrong" sound a.qcow2
refuses resize a.qcow2 -100G

# snapshot
works snapshot create a.qcow2 one
qemu-io -c 'write -P 9 0 3M' a.qcow2 >/dev/null
works convert a.qcow2 later.qcow2
works snapshot apply a.qcow2 one
works convert a.qcow2 earlier.qcow2
ok "it went back" test "$(same later.qcow2 earlier.qcow2; echo $?)" = 1
works snapshot list a.qcow2
ok "it is listed" said ' one '
works snapshot delete a.qcow2 one
refuses snapshot apply a.qcow2 one
refuses snapshot create b.raw one
ok "raw has none" sentence 'hold no snapshots'
ok "qemu finds nothing wrong" sound a.qcow2

# check, repair
works check a.qcow2
at=$(od -An -tu8 --endian=big -j48 -N8 a.qcow2 | tr -d ' ')
at=$(od -An -tu8 --endian=big -j"$at" -N8 a.qcow2 | tr -d ' ')
printf '\0\3' | dd of=a.qcow2 bs=1 seek=$((at + 2000)) conv=notrunc 2>"$err"
disk check a.qcow2
ok "a leak is status 3" is "$status" 3
printf '\0\0' | dd of=a.qcow2 bs=1 seek=$((at + 10)) conv=notrunc 2>"$err"
disk check a.qcow2
ok "an error is status 2" is "$status" 2
works repair a.qcow2
works check a.qcow2
ok "qemu agrees" sound a.qcow2
refuses check b.raw

# commit, rebase
works create --backing a.qcow2 top.qcow2
ok "the base's format is kept" grep -q 'backing file format: qcow2' <<X
$(qemu-img info top.qcow2)
X
qemu-io -c 'write -P 7 4M 2M' -c 'write -z 1M 1M' top.qcow2 >/dev/null
works convert top.qcow2 want.qcow2
works create --force new.qcow2 16M
works rebase --backing new.qcow2 top.qcow2
ok "rebase changes nothing" same top.qcow2 want.qcow2
works rebase --backing '' top.qcow2
ok "nor without a base" same top.qcow2 want.qcow2
works create --force --backing a.qcow2 top.qcow2
qemu-io -c 'write -P 7 4M 2M' -c 'write -z 1M 1M' top.qcow2 >/dev/null
works commit top.qcow2
ok "the base has it" same a.qcow2 want.qcow2
ok "the top reads the same" same top.qcow2 want.qcow2
works map top.qcow2
ok "and is empty" test "$(grep -c top.qcow2 "$out")" = 0
refuses commit a.qcow2
ok "says why" sentence 'no backing file'
mv a.qcow2 moved.qcow2
refuses info --chain top.qcow2
works rebase --unsafe --backing moved.qcow2 --backing-format qcow2 top.qcow2
ok "found again" same top.qcow2 want.qcow2

# a loop, an image in use
works rebase --unsafe --backing top.qcow2 --backing-format qcow2 moved.qcow2
refuses map top.qcow2
ok "says that it is a loop" sentence 'loop'
refuses nothing
refuses create --nothing
disk --help
ok "help" is "$status" 0
finish
